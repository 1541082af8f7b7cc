"""What the tests of the command share: a person's log written without a server, and the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fitai.engine.ops import Op, Record
from fitai.engine.workout import Limits
from fitai.persistence.append import Append, Appender
from fitai.persistence.database import Database
from fitai.persistence.devices import Devices
from fitai.persistence.log import Log
from fitai.persistence.users import Users
from fitai.sync.fold import Folded, fold
from fitai.sync.log import Context
from fitai.sync.place import Placer
from fitai.sync.wire import WireLimits, decode_op

NOW = 1_780_000_000_000  # 2026-05-28, 20:26:40 UTC
PATIENCE_S = 40.0
WORKOUT = "0198b6a0-0000-7000-8000-000000000001"


@dataclass
class Person:
    """An account with a phone (device 1), whose ops go straight into the log."""

    db: Database
    appender: Appender
    email: str
    user: str = ""
    stream: int = 0
    epoch: str = ""
    head: int = 0
    positions: dict[int, Any] = field(default_factory=dict)
    folds: dict[str, Folded] = field(default_factory=dict)

    async def join(self) -> Person:
        async with self.db.write() as session:
            row = await Users(session).create(email=self.email, password_hash="-", display_name=None, now=NOW)
            await Devices(session).enrol(
                row.id, name="Phone", platform="ios", install_id=None, now=NOW, limit=8
            )
        async with self.db.read() as session:
            stream = await Log(session).stream_of(row.id)
        assert stream is not None
        self.user, self.stream, self.epoch = row.id, stream.id, stream.epoch
        return self

    async def log(self, workout: str, *ops: tuple[str, dict[str, Any]], device: int = 1) -> list[Record]:
        """Append ops (kind, value, and `entity` in the value's place `_entity`), a second apart."""
        self.folds.setdefault(workout, fold(workout, self.user, []))
        placer = Placer(self.head, 0, self.positions, self.folds, Limits())
        for kind, value in ops:
            op = self._op(placer, workout, kind, dict(value), device)
            placer.place(device, op, Context(placer.head, None), op.at, 0)
        await self.appender.append(Append(self.stream, self.epoch, placer.seen, placer.records))
        self.head, self.positions = placer.head, placer.positions
        return placer.records

    def _op(self, placer: Placer, workout: str, kind: str, value: dict[str, Any], device: int) -> Op:
        raw = {
            "n": placer.position(device).next_n,
            "base": placer.head,
            "kind": kind,
            "workout": workout,
            "at": NOW + 1000 * placer.head,
        }
        if "_entity" in value:
            raw["entity"] = value.pop("_entity")
        return decode_op({**raw, "value": value}, WireLimits())[0]


@pytest.fixture
async def person(db: Database) -> AsyncIterator[Callable[..., Any]]:
    """Make people on this test's database."""
    appender = Appender(db)
    await appender.start()

    async def make(email: str = "ada@example.com") -> Person:
        return await Person(db, appender, email).join()

    yield make
    await appender.close()


class Command:
    """The installed command in processes of its own, with a data folder of this test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {k: v for k, v in os.environ.items() if not k.upper().startswith("FITAI_")}
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "fitai.app.command", *arguments],
            cwd=self.folder,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        process = self.start(*arguments, **environ)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    def serve(self, *arguments: str, **environ: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """A server that listens, and what it announced."""
        file = self.folder / "announced.json"
        file.unlink(missing_ok=True)
        process = self.start("serve", "--port", "0", "--announce", str(file), *arguments, **environ)
        until = time.monotonic() + PATIENCE_S
        while not file.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.02)
        return process, json.loads(file.read_text())

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE_S)
            for pipe in (process.stdout, process.stderr):
                with suppress(OSError):
                    if pipe is not None:
                        pipe.close()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """Run the real command; what still runs at the end is killed."""
    made = Command(tmp_path)
    yield made
    made.end()


@dataclass
class Stream:
    """A person's stream, empty, and a first record for it."""

    id: int
    epoch: str
    record: Record


@pytest.fixture
async def log_of(db: Database) -> Callable[..., Any]:
    """Make somebody's empty stream on this test's database."""

    async def make(name: str) -> Stream:
        person = await Person(db, Appender(db), f"{name}@example.com").join()
        folds = {WORKOUT: fold(WORKOUT, person.user, [])}
        placer = Placer(0, 0, {}, folds, Limits())
        raw = {"n": 1, "base": 0, "kind": "workout.create", "workout": WORKOUT, "at": NOW, "value": {}}
        placer.place(1, decode_op(raw, WireLimits())[0], Context(0, None), NOW, 0)
        return Stream(person.stream, person.epoch, placer.records[0])

    return make
