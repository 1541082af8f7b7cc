"""`fitai backup` and `fitai restore` as an operator runs them: beside a server, under load, and killed."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from fitai.engine.workout import digest
from fitai.gateways.client.client import Client, Stopped
from fitai.gateways.client.core import Patience
from fitai.persistence.database import Database
from fitai.persistence.log import Log
from tests.gateways.conftest import Wire, new_id
from tests.system import dying
from tests.system.conftest import now_ms, people

pytestmark = pytest.mark.timeout(300)

ANN = ("ann@example.com", "a long enough password")
QUICK = Patience(base_ms=20, cap_ms=300)


@pytest.fixture
def fitai(database_url, tmp_path):
    """`await fitai(*arguments, program=…)`: run the command on the database; what it said."""

    async def run(*arguments, program=("-m", "fitai.app.command"), code=0):
        own = {"FITAI_DATABASE_URL": database_url, "FITAI_DATA_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, *program, *arguments],
            env=own,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


# -- real clients -------------------------------------------------------------------------------------


class Trainer:
    """The reference client, and what its person logged with it."""

    def __init__(self, client: Client, name: str, workout: str) -> None:
        self.client, self.name, self.workout = client, name, workout
        self.entry = str(uuid.uuid4())
        self.sets: list[str] = []

    async def begin(self) -> None:
        await self.client.log("workout.create", self.workout, {"title": self.name})
        await self.client.log("workout.start", self.workout, {})
        await self.client.log(
            "exercise.add", self.workout, {"exercise": "squat", "position": "a"}, self.entry
        )

    async def train(self, sets: int) -> None:
        for _ in range(sets):
            value = {"exercise_entry": self.entry, "type": "working", "reps": 5}
            self.sets.append(str(uuid.uuid4()))
            await self.client.log("set.log", self.workout, value, self.sets[-1])

    async def settle(self) -> None:
        await self.client.until(lambda: self.client.settled)

    async def sign_in(self, how: str) -> None:
        await getattr(self.client, how)(*ANN, name=self.name, platform="test")


class Stock:
    """python-socketio's client and the few lines that the protocol asks of whoever uses it: the ops that it
    wrote are kept, and those that a log which began anew does not have are offered again."""

    def __init__(self, url: str, account: dict[str, Any], workout: str) -> None:
        self.url, self.token, self.workout = url, account["access_token"], workout
        self.written: list[dict[str, Any]] = []
        self.sets: list[str] = []
        self.ready: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.epoch = ""
        # It takes a goodbye with an Engine.IO CLOSE for final, so coming back is its user's business.
        self._client = socketio.AsyncClient(reconnection=False)
        self._client.on("ready", self._is_ready, namespace="/live")
        self._client.on("disconnect", self._is_gone, namespace="/live")
        self._gone = asyncio.Event()

    async def _is_ready(self, ready: dict[str, Any]) -> None:
        await self.ready.put(ready)

    async def _is_gone(self, _reason: str) -> None:
        self._gone.set()

    async def open(self) -> dict[str, Any]:
        """Connect; returns `ready`."""
        await self._client.connect(
            self.url, namespaces=["/live"], auth={"token": self.token}, transports=["websocket"]
        )
        return await asyncio.wait_for(self.ready.get(), 30)

    async def close(self) -> None:
        await self._client.disconnect()

    async def write(self, kind: str, value: Any, entity: str | None = None) -> None:
        op = {"n": len(self.written) + 1, "base": 0, "kind": kind, "workout": self.workout, "value": value}
        op |= {"at": now_ms()} | ({} if entity is None else {"entity": entity})
        self.written.append(op)
        await self._push([op])

    async def train(self, sets: int) -> None:
        entry = self.workout  # a UUID is a UUID
        if not self.written:
            await self.write("workout.create", {"title": "stock"})
            await self.write("exercise.add", {"exercise": "bench", "position": "a"}, entry)
        for _ in range(sets):
            self.sets.append(str(uuid.uuid4()))
            await self.write(
                "set.log", {"exercise_entry": entry, "type": "working", "reps": 8}, self.sets[-1]
            )

    async def comes_back(self) -> None:
        """It was sent away, connects anew, and offers what is not there any more."""
        await asyncio.wait_for(self._gone.wait(), 30)
        ready = await self.open()
        assert (ready["epoch"] != self.epoch, ready["resumed"]) == (True, False)
        self.epoch = ready["epoch"]
        await self._push(self.written[ready["next_n"] - 1 :])

    async def state(self, workout: str) -> Any:
        return (await self._call("workout:get", {"workout": workout}))["state"]

    async def _push(self, ops: list[dict[str, Any]]) -> None:
        answer = await self._call("push", {"ops": ops, "epoch": self.epoch})
        assert answer["ok"], answer
        assert len(answer["results"]) == len(ops)

    async def _call(self, event: str, payload: Any) -> Any:
        return await self._client.call(event, payload, namespace="/live", timeout=30)


@pytest.fixture
async def trainer(tmp_path):
    """`await trainer(process, name, how it signs in, workout)`: connected, its workout begun."""
    made = []

    async def make(process, name, how, workout):
        path = tmp_path / f"{name}.db"
        client = await Client.open(path, url=process.url, now_ms=now_ms, patience=QUICK)
        made.append(Trainer(client, name, workout))
        await made[-1].sign_in(how)
        await client.connect()
        await made[-1].begin()
        return made[-1]

    yield make
    for each in made:
        await each.client.close()


@pytest.fixture
async def stock():
    """`await stock(process, workout)`: connected."""
    made = []

    async def make(process, workout):
        body = {"email": ANN[0], "password": ANN[1], "device": {"name": "stock", "platform": "test"}}
        async with aiohttp.ClientSession() as http:
            account = await (await http.post(f"{process.url}/auth/login", json=body)).json()
        made.append(Stock(process.url, account, workout))
        made[-1].epoch = (await made[-1].open())["epoch"]
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_what_was_acknowledged_after_a_backup_is_there_again_once_the_devices_are_back(
    database_url, make_process, fitai, tmp_path, trainer, stock
):
    """Backed up and restored beside the running server. The watch is away all the while; the tablet was first
    signed in after the backup, which knows nothing of it."""
    process = await make_process(database_url, FITAI_LIMITS="off")
    file = tmp_path / "backup"
    shared, alone = str(uuid.uuid4()), str(uuid.uuid4())
    phone = await trainer(process, "phone", "register", shared)
    watch = await trainer(process, "watch", "login", shared)
    browser = await stock(process, alone)
    trainers = [phone, watch]
    for each in (phone, watch, browser):
        await each.train(5)
    for each in (phone, watch):
        await each.settle()

    training = asyncio.create_task(phone.train(200))
    assert "Backed up 1 accounts" in await fitai("backup", str(file))
    await training

    tablet = await trainer(process, "tablet", "login", str(uuid.uuid4()))
    trainers.append(tablet)
    for each in (phone, watch, tablet, browser):
        await each.train(5)
    for each in trainers:
        await each.settle()
    await watch.client.disconnect()
    await watch.train(3)  # nobody has acknowledged these

    training = asyncio.create_task(phone.train(100))
    assert "data; --yes replaces it" in await fitai("restore", str(file), code=2)
    assert "is whole" in await fitai("backup", "--verify", str(file))
    assert "Restored 1 accounts" in await fitai("restore", str(file), "--yes")
    await training

    await browser.comes_back()
    await watch.client.connect()
    with pytest.raises(Stopped, match="device_revoked"):  # its number means nothing to the restored database
        await tablet.client.until(lambda: False)
    await tablet.sign_in("login")
    await tablet.client.connect()
    for each in [*trainers, *trainers]:
        await each.settle()

    db = Database.open(database_url)
    async with db.read() as session:
        stream = await Log(session).stream_of(phone.client.user)
        records = await Log(session).read(stream.id, 0, 100_000)
    await db.close()
    assert [record.seq for record in records] == list(range(1, stream.head + 1))
    assert not [record for record in records if record.verdict == "void"]
    logged = Counter(record.op.entity for record in records if record.op.kind == "set.log")
    assert logged == Counter([*phone.sets, *watch.sets, *tablet.sets, *browser.sets])
    for workout in (shared, alone, tablet.workout):
        expected = digest(await browser.state(workout))
        assert [await each.client.digest(workout) for each in trainers] == [expected] * 3
    for each in trainers:
        assert await each.client.refused() == []


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_node_that_has_not_heard_of_a_restore_appends_nothing_to_it(
    database_url, make_process, fitai, tmp_path
):
    """Nothing was written since the backup: every host of the running node believes itself at the head."""
    process = await make_process(database_url, FITAI_LIMITS="off")
    wires = []
    for user, (device,) in await people(database_url, 20):
        wire = Wire(process, user, device)
        wires.append(wire)
        await wire.connect()
        assert (await wire.push(wire.op("workout.create", new_id())))["ok"]
    await fitai("backup", str(tmp_path / "backup"))
    epochs, before = await standings(database_url)
    restoring = asyncio.create_task(fitai("restore", str(tmp_path / "backup"), "--yes"))
    deadline = time.monotonic() + 60
    while (await standings(database_url))[0] == epochs:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)
    late = [wire for wire in wires if not wire.events("bye")]
    for wire in late:
        await wire.emit("push", {"ops": [wire.op("workout.create", new_id())]})
    assert len(late) > 10, "the node knew of the restore before anybody could ask it to append"
    await restoring
    for wire in wires:
        await wire.gone()
    assert (await standings(database_url))[1] == before
    for wire in wires:
        await wire.close()
        await wire.connect()
        assert (await wire.push(wire.op("workout.create", new_id())))["ok"]
        await wire.close()
    assert (await standings(database_url))[1] == {stream: head + 1 for stream, head in before.items()}


async def standings(url):
    """(epochs, heads), by streams."""
    db = Database.open(url)
    try:
        async with db.read() as session:
            found = await Log(session).standings(range(1, 100))
    finally:
        await db.close()
    return {s: epoch for s, (epoch, _) in found.items()}, {s: head for s, (_, head) in found.items()}


# -- killed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["while data are written", "before it has its name"])
async def test_a_backup_that_is_killed_leaves_no_file_and_no_harm(database_url, fitai, tmp_path, moment):
    await people(database_url, 5)
    file = tmp_path / "killed.backup"
    program = (str(dying.__file__), moment)
    await fitai("backup", str(file), program=program, code=-9)
    assert not file.exists()
    assert "Backed up 5 accounts" in await fitai("backup", str(file))
    assert "is whole" in await fitai("backup", "--verify", str(file))
    assert [path.name for path in tmp_path.glob("killed*")] == [file.name], "the next one tidies up"


@pytest.mark.parametrize(
    ("database_url", "moment"),
    [
        ("sqlite", "while it is looked at"),
        ("sqlite", "before it is in its place"),
        ("sqlite", "with some pages copied"),
        ("postgresql", "with all rows loaded"),
        ("postgresql", "before the commit"),
    ],
    indirect=["database_url"],
)
async def test_a_restore_that_is_killed_has_changed_nothing_and_can_be_made_again(
    database_url, fitai, tmp_path, moment
):
    await people(database_url, 5)
    file = tmp_path / "backup"
    await fitai("backup", str(file))
    await people(database_url, 3)
    before = await standings(database_url)
    await fitai("restore", str(file), "--yes", program=(str(dying.__file__), moment), code=-9)
    assert await standings(database_url) == before
    assert len(before[0]) == 8
    assert "Restored 5 accounts" in await fitai("restore", str(file), "--yes")
    assert len((await standings(database_url))[0]) == 5
    assert not list(tmp_path.glob("*.restoring*"))


# -- as the documents say ---------------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_the_commands_of_the_page_do_what_it_says(database_url, fitai, tmp_path):
    page = (Path(__file__).parents[2] / "deploy" / "BACKUP.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [line.partition("#")[0].split() for block in blocks for line in block.splitlines()]
    assert [line[1] for line in lines] == ["backup", "backup", "restore", "begin-anew"]
    await people(database_url, 2)
    seen = [(await standings(database_url))[0]]
    for _, *arguments in lines:
        await fitai(*(str(tmp_path / part) if part == "fitai.backup" else part for part in arguments))
        seen.append((await standings(database_url))[0])
    first, backed_up, verified, restored, anew = seen
    assert first == backed_up == verified
    assert not {*first.values()} & {*restored.values()}
    assert not {*restored.values()} & {*anew.values()}
    assert "--yes says that it is meant" in await fitai("begin-anew", code=2)
