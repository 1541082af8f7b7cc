"""One connection, one order: acks and `ops` leave in `seq` order and leave no hole between them.

Every device here (see device.py) checks at each packet that a foreign record below an acknowledged seq came
before that ack and none above it, so that it is enough to write a lot, in every way that could cross.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from fitai.engine.ops import Record
from fitai.gateways.bus.memory import MemoryHub
from fitai.gateways.live.jobs import Intent, Key
from tests.gateways.conftest import Server, new_id
from tests.gateways.device import Device, settle_all

MakeServer = Callable[..., Awaitable[Server]]

OLD = 700  # records that a connection has to catch up with: several pages


@pytest.fixture
async def make_devices() -> AsyncIterator[Callable[..., Awaitable[list[Device]]]]:
    """Connected devices of one user, one on each of the given nodes."""
    made: list[Device] = []

    async def make(*servers: Server) -> list[Device]:
        user = await servers[0].user()
        devices = [Device(user, await servers[0].enrol(user)) for _ in servers]
        made.extend(devices)
        for index, (device, server) in enumerate(zip(devices, servers, strict=True)):
            await device.connect(server, codec=("json", "msgpack")[index % 2])
        return devices

    yield make
    for device in made:
        await device.cut()


def note(device: Device, workout: str, count: int) -> None:
    """Write so many small ops; every third is an edge that is illegal here, and void."""
    for _ in range(count):
        if device.next_n % 3 == 0:
            device.write("workout.resume", workout)
        else:
            device.write("note.set", workout, {"text": f"{device.id}.{device.next_n}"})


async def write_in_bursts(device: Device, workout: str, seed: int, pushes: int) -> None:
    """Push again and again without waiting for answers, sometimes the same twice."""
    rng = random.Random(seed)
    for _ in range(pushes):
        waiting = len(device.outbox)
        note(device, workout, rng.randint(1, 6))
        await device.push(rng.choice([0, waiting, waiting]))
        if rng.random() < 0.4:
            device.read()
        if rng.random() < 0.3:
            await asyncio.sleep(0)  # let others in between


async def written(server: Server, device: Device) -> list[tuple[int, int]]:
    """The dots of the log, in its order."""
    assert device.wire is not None
    head, dots = 1, []
    while len(dots) < head:
        answer = await device.wire.call("pull", {"after": len(dots)})
        head = answer["head"]
        assert [r["seq"] for r in answer["records"]] == list(
            range(len(dots) + 1, len(dots) + 1 + len(answer["records"]))
        )
        dots += [(r["device"], r["n"]) for r in answer["records"]]
    return dots


async def check(server: Server, devices: list[Device]) -> None:
    """All devices know the same records at the same places, each once, and these are the log's."""
    head = await settle_all(devices)
    dots = await written(server, devices[0])
    assert len(dots) == len(set(dots)) == head
    for device in devices:
        assert [(device.log[seq]["device"], device.log[seq]["n"]) for seq in range(1, head + 1)] == dots
        assert device.told == device.cursor == head


async def test_pushes_of_several_devices_that_cross_leave_each_connection_in_order(
    server: Server, make_devices: Any
) -> None:
    devices = await make_devices(server, server, server)
    workout = new_id()
    devices[0].write("workout.create", workout)
    await devices[0].flush()
    await asyncio.gather(*(write_in_bursts(device, workout, device.id, 25) for device in devices))
    await check(server, devices)
    assert all(device.counts["acked"] > 25 and device.counts["foreign"] > 50 for device in devices)
    assert any(device.counts["duplicates"] for device in devices)


async def test_nodes_that_race_for_the_head_leave_each_connection_in_order(
    make_server: MakeServer, make_devices: Any
) -> None:
    hub = MemoryHub()
    here, there = await make_server(hub=hub, alone=False), await make_server(hub=hub, alone=False)
    devices = await make_devices(here, there, there)
    workout = new_id()
    devices[0].write("workout.create", workout)
    await devices[0].flush()
    for device in devices[1:]:
        await device.reach(1)
    await asyncio.gather(*(write_in_bursts(device, workout, device.id, 15) for device in devices))
    await check(here, devices)
    assert all(device.counts["acked"] > 15 and device.counts["foreign"] > 30 for device in devices)


class Pages:
    """The log as a server reads it that is in no hurry: page by page, as the test allows."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.allowed = asyncio.Semaphore(0)
        self.asked = asyncio.Semaphore(0)
        self._read = server.hosts.log.read
        monkeypatch.setattr(server.hosts.log, "read", self.read)

    async def read(self, stream: int, after: int, limit: int) -> list[Record]:
        self.asked.release()
        await self.allowed.acquire()
        return await self._read(stream, after, limit)


async def has_a_log(device: Device, workout: str, count: int) -> None:
    device.write("workout.create", workout)
    note(device, workout, count - 1)
    await device.flush()


async def comes_back(device: Device, server: Server, codec: str, seq: int) -> None:
    """Reconnect with a cursor that is old, as a restored copy of the device would."""
    await device.cut()
    device.cursor_was(seq)
    await device.connect(server, codec, cursor=device.place)
    assert device.told == seq


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_connection_that_catches_up_while_it_and_others_push_gets_acks_in_their_places(
    server: Server, make_devices: Any, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, watch, late = await make_devices(server, server, server)
    workout = new_id()
    await has_a_log(phone, workout, OLD)
    await late.reach(OLD)
    pages = Pages(server, monkeypatch)
    await comes_back(late, server, codec, 3)
    for turn in range(4):
        await asyncio.wait_for(pages.asked.acquire(), 5)
        await asyncio.gather(*(write_in_bursts(d, workout, d.id + turn, 4) for d in (phone, watch, late)))
        await phone.flush()
        await watch.flush()  # they are acknowledged while the late one's own acks wait for their places
        assert late.told < phone.told
        pages.allowed.release()
    assert late.counts["acked"] == 0
    for _ in range(100):
        pages.allowed.release()
    await check(server, [phone, watch, late])
    assert late.counts["foreign"] >= OLD
    assert late.counts["acked"] > 12


async def test_a_retry_is_answered_only_when_what_lies_below_it_was_told(
    server: Server, make_devices: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, watch = await make_devices(server, server)
    workout = new_id()
    await has_a_log(phone, workout, 250)
    await watch.reach(250)
    note(watch, workout, 20)
    unread = list(watch.outbox)
    await watch.push()
    await watch.crash_unread()
    assert watch.outbox == unread
    pages = Pages(server, monkeypatch)
    await comes_back(watch, server, "json", 0)
    await watch.push()
    note(phone, workout, 1)
    await phone.flush()  # in the same queue behind the retry: the retry has been judged
    watch.read()
    assert watch.counts["duplicates"] == watch.told == 0
    for _ in range(100):
        pages.allowed.release()
    await watch.settled()
    assert watch.counts["duplicates"] == watch.counts["own told"] == 20
    await check(server, [phone, watch])


async def test_changes_over_rest_take_their_place_among_pushes(server: Server, make_devices: Any) -> None:
    devices = await make_devices(server, server)
    user, workout = devices[0].user, new_id()
    api = await server.enrol(user, "api")
    devices[0].write("workout.create", workout)
    await devices[0].flush()
    host = await server.hosts.open(user)

    async def over_rest() -> None:
        for index in range(15):
            intents = [Intent("note.set", {"text": f"rest {index}"})]
            done = await host.command(api, workout, lambda _, intents=intents: intents)  # type: ignore[misc]
            assert done.results[0]["verdict"] == "applied"

    await asyncio.gather(
        over_rest(), *(write_in_bursts(device, workout, device.id, 15) for device in devices)
    )
    await check(server, devices)
    assert sum(record["device"] == api for record in devices[1].log.values()) == 15


async def test_one_key_at_the_same_moment_counts_once(server: Server, make_devices: Any) -> None:
    (phone,) = await make_devices(server)
    workout, api = new_id(), await server.enrol(phone.user, "api")
    host = await server.hosts.open(phone.user)
    asked = [
        host.command(api, workout, lambda _: [Intent("workout.create", {})], key=Key("again", "the same"))
        for _ in range(3)
    ]
    done = await asyncio.gather(*asked)
    assert [one.replayed for one in done] == [False, True, True]
    await phone.reach(1)
    assert host.head == 1


async def test_pages_of_large_records_are_no_reason_to_be_closed_as_slow(
    server: Server, make_devices: Any
) -> None:
    """250 of the longest notes are more than a queue may hold, by catching up as by pulling."""
    phone, watch = await make_devices(server, server)
    await watch.cut()
    workout = new_id()
    phone.write("workout.create", workout)
    for _ in range(10):
        for _ in range(25):
            phone.write("note.set", workout, {"text": "x" * 8000})
        await phone.flush()
    await watch.connect(server, cursor=watch.place)
    await watch.reach(251)
    assert watch.counts["foreign"] == 251
    assert watch.wire is not None
    pulled: list[int] = []
    while len(pulled) < 251:
        answer = await watch.wire.call("pull", {"after": len(pulled), "limit": 500})
        pulled += [record["seq"] for record in answer["records"]]
    assert pulled == list(range(1, 252))
    assert not answer["more"]
    assert not watch.wire.events("bye")
