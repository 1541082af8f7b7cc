"""A real Chromium without a window, driven over its own protocol: what a page does in a browser.

Where there is none the tests that want it are skipped, except in CI.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

START_S = 30.0
NAMES = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """One page. `said` is what the browser said about it since the last `open`: violations, errors."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._calls = 0
        self.said: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._calls += 1
        await self._socket.send_json({"id": self._calls, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=START_S)
            if message.get("id") == self._calls:
                return dict(message.get("result", {}))
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        told = message.get("params", {})
        if message["method"] == "Log.entryAdded" and told["entry"]["level"] in ("warning", "error"):
            self.said.append(told["entry"]["text"])
        elif message["method"] == "Runtime.exceptionThrown":
            self.said.append(str(told["exceptionDetails"]))
        elif message["method"] == "Audits.issueAdded" and "ContentSecurityPolicy" in told["issue"]["code"]:
            self.said.append(str(told["issue"]))

    async def open(self, url: str) -> None:
        self.said.clear()
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return result["result"].get("value")

    async def until(self, condition: str) -> None:
        async with asyncio.timeout(START_S):
            while not await self.run(f"Boolean({condition})"):
                await asyncio.sleep(0.05)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "needs Chromium (Debian: apt-get install chromium)"
        )
    with tempfile.TemporaryDirectory(prefix="fitai-browser-", ignore_cleanup_errors=True) as folder:
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ]
        process = subprocess.Popen(
            [found, *options, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            async with aiohttp.ClientSession() as http:
                port = await _port(Path(folder) / "DevToolsActivePort")
                async with http.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    pages = [each for each in await answer.json() if each["type"] == "page"]
                async with http.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    page = Browser(socket)
                    for domain in ("Page", "Log", "Runtime", "Audits"):
                        await page.call(f"{domain}.enable")
                    yield page
        finally:
            process.terminate()
            process.wait(START_S)


async def _port(file: Path) -> int:
    async with asyncio.timeout(START_S):
        while not file.exists() or not (text := file.read_text()):
            await asyncio.sleep(0.05)
    return int(text.split()[0])
