"""A storm: three devices of one user write one workout through everything that a network does to them.

Each seed is one storm. The devices (see device.py) refuse at once whatever breaks the order of a connection;
afterwards each device's view must be the log, the log must hold every acknowledged op once, and the fold of
what the devices know must be the state that the server tells.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
import structlog

from fitai.engine.workout import digest, state
from fitai.gateways.bus.memory import MemoryHub
from fitai.sync.fold import fold
from fitai.sync.wire import decode_record
from tests.gateways.conftest import Server, Wire
from tests.gateways.device import Device, settle_all

WRITES = 7  # how often each device just writes in one storm, besides its faults
CODECS = ("json", "msgpack")

STORMS = [("sqlite", seed) for seed in range(20)] + [("postgresql", seed) for seed in range(20, 24)]
PAIRS = [("sqlite", 100), ("sqlite", 101), ("postgresql", 102), ("postgresql", 103)]


@pytest.fixture(autouse=True)
def nothing_goes_wrong_inside() -> Iterator[None]:
    """A storm is no reason for the server to log a warning."""
    with structlog.testing.capture_logs() as logs:
        yield
    wrong = [entry for entry in logs if entry["log_level"] in ("warning", "error", "critical")]
    assert not wrong, wrong


class Person:
    """Makes ops as people make them: mostly sets, corrections of one's own sets, now and then an edge."""

    def __init__(self, rng: random.Random, workouts: Sequence[str], entries: Sequence[str]) -> None:
        self._rng = rng
        self._workouts = workouts
        self._entries = entries
        self._sets: list[tuple[str, str]] = []

    def starts(self, device: Device) -> None:
        """Begin the first workout."""
        first = self._workouts[0]
        device.write("workout.create", first, {"title": "Legs"})
        device.write("workout.start", first)
        for place, entry in enumerate(self._entries):
            value = {"exercise": f"lift-{place}", "position": f"a{place}"}
            device.write("exercise.add", first, value, entity=entry)

    def acts(self, device: Device) -> None:
        """Write one op."""
        kinds = ("set", "set", "set", "edit", "rest", "edge", "note", "create")
        act = self._rng.choice(kinds)
        workout = self._rng.choice(self._workouts)
        if act == "set":
            self._logs_a_set(device, workout)
        elif act == "edit" and self._sets:
            workout, entity = self._rng.choice(self._sets)
            value = {"field": "reps", "value": self._rng.randint(1, 12)}
            device.write("set.edit", workout, value, entity=entity)
        elif act == "rest":
            device.write("rest.start", workout, {"seconds": self._rng.randint(30, 180)})
        elif act == "edge":
            edge = self._rng.choice(["workout.start", "workout.pause", "workout.resume", "workout.complete"])
            device.write(edge, workout)  # often illegal: the log takes it as void
        elif act == "create":
            device.write("workout.create", workout, {"title": f"by {device.id}"})
        else:
            device.write("note.set", workout, {"text": f"{device.id}.{device.next_n}"})

    def _logs_a_set(self, device: Device, workout: str) -> None:
        entity = _uuid(self._rng)
        load = {"value": self._rng.choice([60, 82.5, 100.125]), "unit": self._rng.choice(["kg", "lb"])}
        value = {"exercise_entry": self._rng.choice(self._entries), "type": "working", "load": load}
        device.write("set.log", workout, {**value, "reps": self._rng.randint(1, 12)}, entity=entity)
        self._sets.append((workout, entity))


class Weather:
    """What happens to one device, by its own dice."""

    def __init__(self, rng: random.Random, servers: Sequence[Server], device: Device, person: Person) -> None:
        self._rng = rng
        self._servers = servers
        self._device = device
        self._person = person
        self.happened: Counter[str] = Counter()

    async def blow(self, *, flickers: bool) -> None:
        """The whole storm of this device: every fault at least once, in any order."""
        await self._connect("sane")
        faults = [self._push_twice, self._drop, self._lose_ack, self._die_unread, self._forget_place]
        plan = [*faults, self._rng.choice(faults), self._settle, *[self._write] * WRITES]
        if flickers:
            plan.append(self._flicker)
        self._rng.shuffle(plan)
        for act in plan:
            await act()
            self.happened[act.__name__.strip("_")] += 1
            self._device.read()

    async def _connect(self, how: str) -> None:
        device = self._device
        known: Any = device.place
        if known is not None and how == "old":
            device.cursor_was(self._rng.randint(0, device.cursor))
            known = device.place
        if known is not None and how == "strange":
            known = self._rng.choice([None, {**known, "epoch": "strange"}, {**known, "seq": -1}, 7])
        ready = await device.connect(self._rng.choice(self._servers), self._rng.choice(CODECS), cursor=known)
        assert ready["resumed"] is (how != "strange" and known is not None)
        assert ready["next_n"] <= device.next_n
        await device.push()  # what nobody has acknowledged, whether or not the server has it

    async def _write(self) -> None:
        """One op, or several at once, without waiting for the answer."""
        before = len(self._device.outbox)
        for _ in range(self._rng.choice([1, 1, 1, 2, 5, 9])):
            self._person.acts(self._device)
        await self._device.push(before)

    async def _push_twice(self) -> None:
        await self._write()
        await self._device.push()

    async def _drop(self) -> None:
        await self._device.cut()
        await self._connect("sane")

    async def _lose_ack(self) -> None:
        """The transport goes while the push is on its way: nobody knows whether it arrived."""
        await self._write()
        await self._drop()

    async def _die_unread(self) -> None:
        """The op is in the log, its acknowledgement is lost: the next push of it can only be a duplicate."""
        await self._write()
        await self._device.crash_unread()
        await self._connect("sane")

    async def _flicker(self) -> None:
        for _ in range(10):
            await self._drop()

    async def _forget_place(self) -> None:
        await self._device.cut()
        await self._connect(self._rng.choice(["old", "strange"]))

    async def _settle(self) -> None:
        await self._device.flush()


async def storm(seed: int, *servers: Server) -> None:
    """Let a storm blow, then hold everything that is left of it against the log."""
    rng = random.Random(seed)
    user = await servers[0].user()
    workouts, entries = [_uuid(rng) for _ in range(2)], [_uuid(rng) for _ in range(3)]
    devices = [Device(user, await servers[0].enrol(user)) for _ in range(3)]
    people = [Person(random.Random(f"{seed}.{d.id}"), workouts, entries) for d in devices]
    people[0].starts(devices[0])
    weathers = [
        Weather(random.Random(f"{seed}:{device.id}"), servers, device, person)
        for device, person in zip(devices, people, strict=True)
    ]
    try:
        async with asyncio.TaskGroup() as all_at_once:
            for weather in weathers:
                all_at_once.create_task(weather.blow(flickers=weather is weathers[seed % 3]))
        head = await settled(devices, workouts[0], servers)
        await check(user, devices, head)
        assert_it_blew(weathers, devices, head)
    finally:
        for device in devices:
            await device.cut()


async def settled(devices: Sequence[Device], workout: str, servers: Sequence[Server]) -> int:
    """Everything is pushed and known to everyone; returns the head."""
    for server in servers:
        if isinstance(server.hub, BadHub):
            server.hub.calm = True
    for device in devices:
        device.write("note.set", workout, {"text": "after the storm"})  # every node hears of one more head
    return await settle_all(devices)


async def check(user: str, devices: Sequence[Device], head: int) -> None:
    """Every view is the log; every acknowledged op is in it once; the fold of the log is the state."""
    log = await pulled(devices[0], head)
    assert [record["seq"] for record in log] == list(range(1, head + 1))
    dots = [(record["device"], record["n"]) for record in log]
    assert len(dots) == len(set(dots))
    for device in devices:
        own = {record["n"]: record["seq"] for record in log if record["device"] == device.id}
        assert list(own) == list(range(1, device.next_n)), "an op is missing, doubled or out of order"
        assert device.acked == own
        assert device.cursor == device.told == head
        for record in log:
            known = device.log[record["seq"]]
            assert {key: record[key] for key in known} == known
    for workout in {record["workout"] for record in log}:
        await check_workout(user, devices, workout, log)


async def check_workout(
    user: str, devices: Sequence[Device], workout: str, log: list[dict[str, Any]]
) -> None:
    mine = [record for record in log if record["workout"] == workout]
    assert [record["rev"] for record in mine] == list(range(1, len(mine) + 1))
    folded = state(fold(workout, user, map(decode_record, mine)).workout)
    for device in devices:
        assert device.wire is not None
        told = await device.wire.call("workout:get", {"workout": workout})
        if not folded["created"]:
            assert told["code"] == "not_found"
            continue
        assert told["seq"] == len(log)
        assert told["state"]["rev"] == folded["rev"]
        assert digest(told["state"]) == digest(folded)


async def pulled(device: Device, head: int) -> list[dict[str, Any]]:
    """The whole log, by pull."""
    log: list[dict[str, Any]] = []
    while len(log) < head:
        assert device.wire is not None
        answer = await device.wire.call("pull", {"after": len(log)})
        assert answer["head"] == head, "somebody writes after the storm"
        log += answer["records"]
    return log


def assert_it_blew(weathers: Sequence[Weather], devices: Sequence[Device], head: int) -> None:
    """A storm without faults, or without work, shows nothing."""
    happened = sum((weather.happened for weather in weathers), Counter[str]())
    counts = sum((device.counts for device in devices), Counter[str]())
    for fault in ("push_twice", "drop", "lose_ack", "die_unread", "forget_place"):
        assert happened[fault] >= 3, f"{fault} did not happen"
    assert happened["flicker"] == 1
    assert head > 60
    assert counts["duplicates"] > 0
    assert counts["resumed"] > 10
    assert counts["not resumed"] >= 3
    assert counts["foreign"] > 50
    assert counts["own told"] > 0


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


@pytest.mark.parametrize(("database_url", "seed"), STORMS, indirect=["database_url"])
async def test_after_a_storm_every_device_s_view_is_the_server_s_log_and_fold(
    server: Server, seed: int
) -> None:
    await storm(seed, server)


class BadHub(MemoryHub):
    """A bus between nodes that loses, delays, doubles and reorders, until it is told to `calm` down."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._rng = random.Random(f"{seed} hub")
        self._fates: list[str] = []  # dealt like cards, so that few messages meet them all too
        self.calm = False
        self.counts: Counter[str] = Counter()

    def deliver(self, topic: str, message: dict[str, Any]) -> None:
        if not self._fates:
            self._fates = ["kept", "kept", "lost", "late", "doubled"]
            self._rng.shuffle(self._fates)
        fate = "kept" if self.calm else self._fates.pop()
        self.counts[fate] += 1
        if fate == "late":
            later = self._rng.uniform(0.001, 0.02)
            asyncio.get_running_loop().call_later(later, super().deliver, topic, message)
        elif fate != "lost":
            for _ in range(2 if fate == "doubled" else 1):
                super().deliver(topic, message)


@pytest.mark.parametrize(("database_url", "seed"), PAIRS, indirect=["database_url"])
async def test_after_a_storm_over_two_nodes_every_device_s_view_is_the_log_and_the_fold(
    make_server: Callable[..., Awaitable[Server]], seed: int
) -> None:
    hub = BadHub(seed)
    nodes = [await make_server(hub=hub, alone=False) for _ in range(2)]
    await storm(seed, *nodes)
    assert all(hub.counts[fate] > 2 for fate in ("kept", "lost", "late", "doubled"))


@pytest.fixture
async def deaf(make_server: Callable[..., Awaitable[Server]], connect: Any) -> tuple[Server, Wire, str]:
    """A node with a host that knows of an empty log, to which another node has just appended: the node,
    a connection there, and the workout that it does not know."""
    here, there = [await make_server(hub=MemoryHub(), alone=False) for _ in range(2)]
    user = await here.user()
    phone = await connect(here, user, await here.enrol(user))
    watch = await connect(there, user, await there.enrol(user))
    workout = str(uuid.uuid4())
    await phone.push(phone.op("workout.create", workout))
    return there, watch, workout


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_node_that_no_hint_has_reached_resumes_a_cursor_beyond_its_own_head(
    deaf: tuple[Server, Wire, str], connect: Any
) -> None:
    there, watch, _ = deaf
    epoch = watch.events("ready")[0]["epoch"]
    back = await connect(there, watch.user, watch.device, cursor={"epoch": epoch, "seq": 1})
    ready = back.events("ready")[0]
    assert (ready["resumed"], ready["head"]) == (True, 1)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_node_that_no_hint_has_reached_takes_a_base_beyond_its_own_head(
    deaf: tuple[Server, Wire, str],
) -> None:
    _, watch, workout = deaf
    watch.base = 1  # as it may have learnt by REST, from another node
    answer = await watch.push(watch.op("workout.start", workout))
    assert answer["ok"], answer
    [result] = answer["results"]
    assert (result["n"], result["seq"], result["rev"], result["verdict"]) == (1, 2, 2, "applied")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_node_that_no_hint_has_reached_answers_a_pull_from_beyond_its_own_head(
    deaf: tuple[Server, Wire, str],
) -> None:
    _, watch, _ = deaf
    answer = await watch.call("pull", {"after": 1})
    assert (answer["ok"], answer["head"], answer["records"]) == (True, 1, []), answer


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_node_that_no_hint_has_reached_looks_at_the_log_now_and_then(
    deaf: tuple[Server, Wire, str],
) -> None:
    there, watch, _ = deaf
    await there.hosts.look()
    await watch.until(lambda: bool(watch.records()))
    assert [record["kind"] for record in watch.records()] == ["workout.create"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_node_that_no_hint_has_reached_answers_a_retry_of_what_another_node_has_stored(
    deaf: tuple[Server, Wire, str], connect: Any
) -> None:
    """It learnt from the log where the device stands, and waited with the answer for a record that it did not
    know of."""
    there, watch, workout = deaf
    phone = await connect(there, watch.user, 1)
    answer = await phone.push({**phone.op("workout.create", workout), "n": 1, "at": 1})
    assert answer["code"] == "equivocation"
    [record] = (await phone.call("pull", {"after": 0}))["records"]
    again = {key: record[key] for key in ("n", "base", "kind", "workout", "value", "at") if key in record}
    answer = await phone.push(again)
    assert [result["verdict"] for result in answer["results"]] == ["duplicate"]
