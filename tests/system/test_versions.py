"""Releases side by side: what a newer one says is kept and passed on by an older one, word for word, and
after an upgrade it counts as if it had always been understood.

The server is a process of its own, so that it may be of another release than the clients in this one.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from sqlalchemy import select

from fitai.engine.workout import digest
from fitai.gateways.client.client import Client
from fitai.gateways.client.core import Patience
from fitai.gateways.client.messages import Json
from fitai.persistence.database import Database
from fitai.persistence.models import RecordRow, Snapshot
from fitai.sync import version
from tests.gateways.conftest import Wire
from tests.system import newer
from tests.system.conftest import Process, now_ms, people

NEWER = (Path(newer.__file__),)
W = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
ENTRY, FIRST, SECOND = (f"0192f3c4-7b1a-7c3e-9d2f-{letter * 12}" for letter in "abc")
AT = 1_780_000_000_000
PATIENCE_S = 30.0

pytestmark = pytest.mark.timeout(240)

STRANGE = {
    "why": {"🙂": [1, 2.5, 60.0, None, {}, [], ""], "tiny": 1e-9, "most": 2**53 - 1, "b": 1, "a": 2},
    "seen": False,
}

# (kind, value, more fields of the op) of a device of the newer release, in its order.
SAID: list[tuple[str, Json, Json]] = [
    ("workout.create", {"title": "Legs"}, {}),
    ("workout.start", {}, {}),
    ("exercise.add", {"exercise": "squat", "position": "a"}, {"entity": ENTRY}),
    ("note.set", {"text": "warm\nup"}, {"entity": ENTRY}),
    ("set.log", {"exercise_entry": ENTRY, "type": "working", "reps": 5}, {"entity": FIRST}),
    ("workout.rate", {"stars": 2, **STRANGE}, {"tags": ["x", 60.0], "Mood": None}),
    ("note.set", {"lines": ["left knee", "slow"], **STRANGE}, {"v": 2}),
    ("set.log", {"exercise_entry": ENTRY, "type": "working", "reps": 3}, {"entity": SECOND}),
    ("workout.rate", {"stars": 4}, {}),
    ("workout.rate", {"stars": 99}, {}),  # nonsense, for who understands it
    ("workout.rate", {"stars": 1}, {"v": 2}),  # of a release that is newer still
    ("workout.complete", {}, {}),
]
OURS_ALREADY = {"workout.create", "workout.start", "workout.complete", "exercise.add", "set.log"}


def said() -> list[Json]:
    """The ops of SAID. Their times lie in the past, so that every server gives them the same."""
    return [
        {"n": n, "base": 0, "kind": kind, "workout": W, "value": value, "at": AT + n * 1000, **more}
        for n, (kind, value, more) in enumerate(SAID, 1)
    ]


def understood(op: Json) -> bool:
    """Whether today's release knows kind and schema."""
    return op["kind"] in OURS_ALREADY or (op["kind"] == "note.set" and "v" not in op)


class Caller:
    """A device on a connection."""

    def __init__(self, process: Process, user: str, device: int, codec: str = "json") -> None:
        self._wire = Wire(process, user, device, codec)  # type: ignore[arg-type]

    async def __aenter__(self) -> Wire:
        await self._wire.connect()
        return self._wire

    async def __aexit__(self, *_: object) -> None:
        await self._wire.close()


async def told(process: Process, user: str, device: int, codec: str = "json") -> list[Json]:
    """The log as a device pulls it."""
    async with Caller(process, user, device, codec) as wire:
        return list((await wire.call("pull", {"after": 0, "limit": 500}))["records"])


async def served(process: Process, user: str, device: int) -> Json:
    """The state as the server has it, which is the same on all ways."""
    async with Caller(process, user, device) as wire:
        state: Json = (await wire.call("workout:get", {"workout": W}))["state"]
    headers = {"Authorization": f"Bearer {process.tokens.issue(user, device)}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        page = await (await http.get(f"{process.url}/sync/snapshot")).json()
    assert digest(page["workouts"][0]) == digest(state)
    return state


async def stored(url: str, column: Any) -> list[Any]:
    """One column of all rows of a table."""
    db = Database.open(url)
    try:
        async with db.read() as session:
            return list((await session.execute(select(column))).scalars())
    finally:
        await db.close()


async def bodies(url: str) -> list[bytes]:
    return sorted(await stored(url, RecordRow.body))


async def upgraded(process: Process) -> None:
    """The server's node gets the newer release."""
    await process.stop()
    process.program = NEWER
    await process.start()


@pytest.fixture
def learn(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make the clients of this process the newer release."""
    return lambda: newer.learn(monkeypatch.setitem, monkeypatch.setattr)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """`await client(process, user, device)`: a signed-in client; its file is kept for the next one."""
    opened: list[Client] = []

    async def client(process: Process, user: str, device: int, codec: str = "json") -> Client:
        patience = Patience(base_ms=5, cap_ms=200)
        path = tmp_path / f"device-{device}.db"
        made = await Client.open(path, url=process.url, now_ms=now_ms, codec=codec, patience=patience)
        opened.append(made)
        await made.adopt(user, device, process.tokens.issue(user, device))
        return made

    yield client
    for made in opened:
        await made.close()


async def test_what_an_older_server_does_not_know_is_kept_passed_on_and_counts_after_the_upgrade(
    sqlite_url, make_process
):
    ops = said()
    process = await make_process(sqlite_url)
    [(ada, [phone, watch]), (eve, [control, _])] = await people(sqlite_url, 2, devices=2)
    async with Caller(process, ada, watch, "msgpack") as hearing, Caller(process, ada, phone) as wire:
        answer = await wire.push(*ops)
        assert answer["ok"], answer
        await hearing.told(len(ops))
        heard = hearing.records()
    verdicts = [result["verdict"] for result in answer["results"]]
    assert verdicts == ["applied" if understood(op) else "deferred" for op in ops]
    assert heard == await told(process, ada, watch) == await told(process, ada, phone, "msgpack")
    for op, record in zip(ops, heard, strict=True):
        assert orjson.dumps({name: record[name] for name in op}) == orjson.dumps(op)
        assert record.keys() - op.keys() == {"seq", "rev", "device", "te", "verdict"}
    before = await served(process, ada, phone)
    assert (before["rating"], before["note"], before["status"]) == (None, None, "completed")
    assert before["exercises"][0]["note"] == "warm\nup"
    written = await bodies(sqlite_url)

    await upgraded(process)
    after = await served(process, ada, phone)
    assert (after["rating"], after["note"]) == (4, "left knee\nslow")
    assert await bodies(sqlite_url) == written
    assert await told(process, ada, watch) == heard
    async with Caller(process, ada, phone) as wire:
        again = await wire.push(*ops)
    assert [result["first"]["verdict"] for result in again["results"]] == verdicts

    async with Caller(process, eve, control) as wire:
        known = await wire.push(*ops)
    assert [result["verdict"] for result in known["results"]] == [
        {99: "void", 1: "deferred"}.get(op["value"].get("stars"), "applied") for op in ops
    ]
    assert digest(await served(process, eve, control)) == digest(after)


async def test_an_upgraded_server_writes_its_projections_anew_without_being_asked(sqlite_url, make_process):
    process = await make_process(sqlite_url)
    [(ada, [phone])] = await people(sqlite_url, 1)
    async with Caller(process, ada, phone) as wire:
        await wire.push(*said())
    await served(process, ada, phone)  # by now it is projected
    assert await stored(sqlite_url, Snapshot.mark) == [-version.FOLD_VERSION]
    await upgraded(process)
    deadline = time.monotonic() + PATIENCE_S
    while await stored(sqlite_url, Snapshot.mark) != [-version.FOLD_VERSION - 1]:
        assert time.monotonic() < deadline, "the projections are still those of the older release"
        await asyncio.sleep(0.05)
    [document] = await stored(sqlite_url, Snapshot.document)
    assert digest(document) == digest(await served(process, ada, phone))
    assert document["rating"] == 4


async def test_clients_that_are_newer_than_the_server_agree_and_after_its_upgrade_it_agrees_with_them(
    sqlite_url, make_process, client, learn
):
    process = await make_process(sqlite_url)
    [(ada, devices)] = await people(sqlite_url, 1, devices=2)
    learn()
    phone, watch = await client(process, ada, devices[0]), await client(process, ada, devices[1], "msgpack")
    for kind, value, more in SAID[:-2]:
        if kind == "note.set":
            value = {"lines": value["lines"] if "lines" in value else value["text"].split("\n")}
        await phone.log(kind, W, value, more.get("entity"))
    await phone.sync()
    await watch.sync()
    await watch.log("workout.rate", W, {"stars": 5})
    await watch.log("workout.complete", W, {})
    await watch.sync()
    await phone.sync()
    assert (await phone.state(W))["rating"] == (await watch.state(W))["rating"] == 5
    assert await phone.digest(W) == await watch.digest(W)
    assert await phone.records() == await watch.records()
    notes = [record for record in await watch.records() if record["kind"] == "note.set"]
    assert [note["v"] for note in notes] == [2, 2]
    before = await served(process, ada, devices[0])
    assert (before["rating"], before["status"]) == (None, "completed")

    await upgraded(process)
    await phone.sync()
    after = await served(process, ada, devices[0])
    assert digest(after) == await phone.digest(W) == await watch.digest(W)
    assert (after["rating"], after["note"]) == (5, "left knee\nslow")


async def test_a_client_that_is_older_than_the_server_agrees_with_it_once_it_is_upgraded(
    sqlite_url, make_process, client, learn
):
    process = await make_process(sqlite_url, NEWER)
    [(ada, devices)] = await people(sqlite_url, 1, devices=2)
    phone = await client(process, ada, devices[0])
    async with Caller(process, ada, devices[1]) as wire:
        await wire.push(*said()[:9])
    await phone.sync()
    value = {"exercise_entry": ENTRY, "type": "working", "reps": 8}
    await phone.log("set.log", W, value, str(uuid.uuid4()))
    await phone.log("note.set", W, {"text": "old\nschool"}, ENTRY)
    await phone.sync()
    state = await phone.state(W)
    assert (state["rating"], state["note"], len(state["exercises"][0]["sets"])) == (None, None, 3)
    whole = await served(process, ada, devices[1])
    assert (whole["rating"], whole["note"]) == (4, "left knee\nslow")
    assert whole["exercises"][0]["note"] == "old\nschool"
    assert await phone.digest(W) != digest(whole)
    kept = await phone.records()
    assert kept == await told(process, ada, devices[1])

    await phone.close()
    learn()
    phone = await client(process, ada, devices[0])
    assert await phone.digest(W) == digest(whole)
    assert await phone.records() == kept
