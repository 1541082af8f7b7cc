"""A whole node in the process of a test, on real parts, and what it says in its log."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
import structlog

from fitai.app import logs
from fitai.app.listen import bound
from fitai.app.observed import observed
from fitai.app.runtime import VERSION, Node, now_ms, open_node
from fitai.app.serve import answering
from fitai.app.settings import Settings, load_settings
from tests.gateways.conftest import Wire


@contextmanager
def told(settings: Settings) -> Iterator[io.StringIO]:
    """What this process logs, and the rest of what the settings ask for, while the block lasts."""
    out = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure = logs.configure

    def into_out(its: Settings, _: Any = None) -> None:
        configure(its, out)
        structlog.configure(cache_logger_on_first_use=False)  # the next test has another level

    logs.configure = into_out  # type: ignore[assignment]
    try:
        with observed(settings, VERSION, now_ms):
            yield out
    finally:
        logs.configure = configure
        root.handlers = handlers
        root.setLevel(level)
        structlog.reset_defaults()


@dataclass
class Here:
    """A node that listens, and a client for it."""

    node: Node
    port: int
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def call(self, method: str, path: str, json: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, self.url + path, json=json, headers=sent) as response:
            is_json = response.content_type.endswith("json")
            return response.status, await (response.json(content_type=None) if is_json else response.text())

    async def register(self, password: str = "correct horse battery", **more: Any) -> dict[str, Any]:
        body = {
            "email": f"{uuid.uuid4().hex}@example.org",
            "password": password,
            "device": {"name": "Phone", "platform": "ios"},
            **more,
        }
        status, session = await self.call("POST", "/auth/register", body)
        assert status == 201, session
        return session

    @asynccontextmanager
    async def wire(self, session: dict[str, Any]) -> AsyncIterator[Wire]:
        """A socket of a signed-in device."""
        server = SimpleNamespace(port=self.port, clock=now_ms)
        wire = Wire(server, session["user"]["id"], session["device"]["id"])  # type: ignore[arg-type]
        await wire.connect(token=session["access_token"])
        try:
            yield wire
        finally:
            await wire.close()


def settings_of(folder: Any, **more: Any) -> Settings:
    """Those of a node in a folder, which any client may ask anything."""
    given = {"data_dir": folder, "port": 0, "environment": "production", "log_format": "json", **more}
    return load_settings(env_file=None, **given)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Here]:
    """A node that listens on a free port."""
    async with contextlib.AsyncExitStack() as stack:
        listeners = stack.enter_context(bound(settings))
        node = await stack.enter_async_context(open_node(settings))
        await stack.enter_async_context(answering(node, listeners))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Here(node, listeners.port, http)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    """Each line, all of which must be JSON."""
    return [json.loads(line) for line in out.getvalue().split("\n") if line]
