"""A server of one's own, for the demo and for load: a real `fitai serve` in a process that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path

START_S = 20.0
STOP_S = 10.0


class ServerFailed(Exception):
    """The server did not start or did not stop; the message holds the end of its log."""


class ServerProcess:
    """Starts, kills and stops `fitai serve` on one data folder, each time on a free port. `settings` are
    variables (FITAI_…) for it; none of this process's own reach it."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._settings = settings or {}
        self._announcement = folder / "server.json"
        self._log = folder / "server.log"
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """The process, once it was started."""
        assert self._process is not None, "it was started"
        return self._process.pid

    async def start(self) -> int:
        """Start it and return its port when it listens; raises ServerFailed."""
        self._announcement.unlink(missing_ok=True)
        arguments = ["-m", "fitai.app.command", "serve", "--host", "127.0.0.1", "--port", "0"]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                "--announce",
                str(self._announcement),
                cwd=self._folder,  # where no .env of somebody else's is found
                env={**_environment(self._folder), **self._settings},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        port: int = json.loads(await self._announced(self._process))["port"]
        return port

    async def kill(self) -> None:
        """SIGKILL: no goodbye, no flush. Does nothing when it is not running."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> tuple[int, float]:
        """SIGTERM; returns its exit code and how long it took, in seconds. Raises ServerFailed."""
        if self._process is None or self._process.returncode is not None:
            raise ServerFailed(f"The server is not running. {self._last_words()}")
        started = time.perf_counter()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            raise ServerFailed(f"The server did not stop in {STOP_S:g} s. {self._last_words()}") from None
        return code, time.perf_counter() - started

    async def _announced(self, process: Process) -> str:
        until = time.perf_counter() + START_S
        while process.returncode is None and time.perf_counter() < until:
            if self._announcement.exists():
                return self._announcement.read_text()
            await asyncio.sleep(0.01)
        raise ServerFailed(f"The server did not start. {self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "Its log ends so:\n" + "\n".join(lines[-15:])


def _environment(folder: Path) -> dict[str, str]:
    """This process's environment with none of its FitAI settings: the demo never touches another's data."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("FITAI_")}
    return {**kept, "FITAI_DATA_DIR": str(folder / "data"), "FITAI_LOG_LEVEL": "warning"}
