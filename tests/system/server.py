"""A real server process: started, killed, started again on the same data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0


class Process:
    """`fitai serve` in a folder of its own. `environ` adds to a clean environment."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.url = ""
        self._announced = folder / "server.json"
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith("FITAI_")} | environ
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Process:
        """Start and wait until it listens."""
        self._announced.unlink(missing_ok=True)
        fitai = Path(sys.executable).with_name("fitai")
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [fitai, "serve", "--port", "0", "--announce", self._announced],
                cwd=self.folder,
                env=self._environ,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self._announced.exists():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.02)
        self.url = json.loads(self._announced.read_text())["url"]
        return self

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(PATIENCE_S)

    def stop(self) -> None:
        """Ask it to end, and insist on a clean end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            assert self._process.wait(15) == 0, self.log()

    def rss(self) -> int:
        """Bytes of memory that the process holds."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        [kib] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
        return int(kib) * 1024

    def log(self) -> str:
        """What it said."""
        return (self.folder / "server.log").read_text(errors="replace")

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST JSON, get JSON."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def register(self) -> dict[str, Any]:
        """A new account on a first device; the answer, with the credentials beside it."""
        account = {"email": f"{uuid.uuid4().hex}@example.org", "password": "correct horse battery"}
        body = {**account, "device": {"name": "phone", "platform": "test"}}
        return {**account, **self.post("/auth/register", body)}

    def enrol(self, account: dict[str, Any], name: str) -> dict[str, Any]:
        """Another device of the account."""
        credentials = {key: account[key] for key in ("email", "password")}
        body = {**credentials, "device": {"name": name, "platform": "test"}}
        return {**credentials, **self.post("/auth/login", body)}
