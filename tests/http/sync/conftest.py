"""A server with REST and sockets, devices that push over REST, and the sockets beside them."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tests.gateways.conftest import Wire
from tests.http.conftest import Answer, Api, MakeApi, Person


@pytest.fixture
async def api(make_api: MakeApi) -> Api:
    """A server on SQLite, with sockets."""
    return await make_api(live=True)


@dataclass
class RestDevice:
    """A device that syncs over REST: its counter, and the ops that it makes."""

    person: Person
    next_n: int = 1
    base: int = 0
    counter: Any = field(default_factory=itertools.count)

    def op(self, kind: str, workout: str, value: Any = None, **more: Any) -> dict[str, Any]:
        """The next op of this device."""
        op = {
            "n": self.next_n,
            "base": self.base,
            "kind": kind,
            "workout": workout,
            "value": value or {},
            "at": self.person.api.clock() + next(self.counter),
            **more,
        }
        self.next_n += 1
        return op

    async def push(self, *ops: dict[str, Any], **more: Any) -> Answer:
        return await self.person.call("POST", "/sync/push", {"ops": list(ops), **more})

    async def pushed(self, *ops: dict[str, Any], taken: int | None = None) -> dict[str, Any]:
        """A push of which the first `taken` ops must be taken, or all."""
        answer = await self.push(*ops)
        assert answer.status == 200, answer.body
        assert len(answer.body["results"]) == (len(ops) if taken is None else taken)
        body: dict[str, Any] = answer.body
        self.base = body["head"]
        return body

    async def get(self, path: str, **query: Any) -> Answer:
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return await self.person.call("GET", f"/sync/{path}?{text}" if text else f"/sync/{path}")

    async def pull(self, **query: Any) -> dict[str, Any]:
        answer = await self.get("pull", **query)
        assert answer.status == 200, answer.body
        body: dict[str, Any] = answer.body
        return body


async def send(person: Person, body: Any, kind: str = "application/json", **headers: str) -> Answer:
    """A push with a body as it is."""
    sent = {"Authorization": f"Bearer {person.token}", "Content-Type": kind}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    async with person.api.client.post("/sync/push", data=body, headers=sent) as response:
        raw = await response.read()
        read = json.loads(raw) if response.content_type.endswith("json") else raw
        return Answer(response.status, response.headers.copy(), read)


def new_id() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def phone(ada: Person) -> RestDevice:
    """Ada's phone."""
    return RestDevice(ada)


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[Person], Awaitable[Wire]]]:
    """Connects a socket with a person's token; all are closed at the end."""
    wires: list[Wire] = []

    async def open(person: Person, cursor: Any = None) -> Wire:
        api = person.api
        server: Any = SimpleNamespace(port=api.client.port, clock=api.clock, tokens=api.tokens)
        wire = Wire(server, person.id, person.device)
        wires.append(wire)
        wire.ready = await wire.connect(cursor, person.token)  # type: ignore[attr-defined]
        return wire

    yield open
    for wire in wires:
        await wire.close()
