"""Several nodes on one database and one bus: what one device does, the others see, whichever nodes they are
on and whatever becomes of the hints between them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import delete, update

from fitai.engine import kinds
from fitai.engine.ops import Record
from fitai.gateways.bus.frames import pack, unpack
from fitai.gateways.bus.memory import MemoryHub
from fitai.gateways.bus.topics import user_topic
from fitai.gateways.live.hints import WHOLE_BYTES
from fitai.gateways.live.host import Host
from fitai.gateways.live.hosts import Hosts
from fitai.gateways.live.neighbours import Neighbours
from fitai.gateways.live.nodes import Nodes
from fitai.gateways.live.worker import BATCH
from fitai.persistence.append import Append
from fitai.persistence.database import Database, Unavailable
from fitai.persistence.devices import Devices
from fitai.persistence.log import Log, record_of, row_of
from fitai.persistence.models import Stream, User
from fitai.persistence.opening import Opening, read_opening
from fitai.sync.wire import Refusal, decode_record
from tests.gateways.conftest import PATIENCE, CutBus, Server, Wire, new_id
from tests.gateways.device import Device, settle_all
from tests.gateways.test_live import log_set, started
from tests.gateways.test_storm import BadHub

Connect = Callable[..., Awaitable[Wire]]
MakeServer = Callable[..., Awaitable[Server]]

MINUTE = 60_000
DAY = 86_400_000
QUICK: dict[str, Any] = {"heartbeat_s": 0.1, "look_s": 0.3}
SELDOM: dict[str, Any] = {"look_s": 600.0}  # nothing is healed by looking, but by what the test does
VECTORS = Path(__file__).parent.parent / "vectors"


@pytest.fixture(autouse=True)
def nothing_is_logged(no_exception_is_logged: None) -> None:
    """None of this is an error."""


@pytest.fixture
async def devices() -> AsyncIterator[Callable[..., Awaitable[list[Device]]]]:
    """Connected devices of one user, one on each of the given nodes; each refuses what breaks the order."""
    made: list[Device] = []

    async def make(*servers: Server) -> list[Device]:
        user = await servers[0].user()
        mine = [Device(user, await servers[0].enrol(user)) for _ in servers]
        made.extend(mine)
        for index, (device, server) in enumerate(zip(mine, servers, strict=True)):
            await device.connect(server, codec=("json", "msgpack")[index % 2])
        return mine

    yield make
    for device in made:
        await device.cut()


async def pair(make_server: MakeServer, hub: MemoryHub | None = None, **limits: Any) -> list[Server]:
    """Two nodes that hear each other."""
    hub = hub or MemoryHub()
    return [
        await make_server(hub=hub, alone=False, bus_class=CutBus, limits={**SELDOM, **limits})
        for _ in range(2)
    ]


async def phone_and_watch(here: Server, there: Server, connect: Connect) -> tuple[Wire, Wire]:
    """Two devices of one user, each on its node, which know of each other."""
    user = await here.user()
    phone = await connect(here, user, await here.enrol(user, "phone"))
    watch = await connect(there, user, await there.enrol(user, "watch"))
    for wire in (phone, watch):
        await wire.event("presence", both)
    return phone, watch


def both(presence: dict[str, Any]) -> bool:
    return [entry["name"] for entry in presence["devices"]] == ["phone", "watch"]


def here_now(wire: Wire) -> list[str]:
    """Who is here, by the last that this connection was told."""
    return [entry["name"] for entry in wire.events("presence")[-1]["devices"]]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.01)


def cut(server: Server) -> CutBus:
    assert isinstance(server.bus, CutBus)
    server.bus.cut()
    return server.bus


def count_reads(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions after which the node's hosts read the log, from now on."""
    asked: list[int] = []
    read = server.hosts.log.read

    async def counting(stream: int, after: int, limit: int) -> list[Record]:
        asked.append(after)
        return await read(stream, after, limit)

    monkeypatch.setattr(server.hosts.log, "read", counting)
    return asked


# -- hints -----------------------------------------------------------------------------------------


def all_vectors() -> list[dict[str, Any]]:
    cases = [case for path in sorted(VECTORS.glob("*.json")) for case in orjson.loads(path.read_bytes())]
    rest = {**cases[0]["records"][0], "kind": "rest.start", "value": {"seconds": 90}}
    return [*cases, {"records": [rest]}]


def test_a_hint_that_was_cut_off_or_is_of_another_release_is_no_record() -> None:
    record = decode_record(all_vectors()[0]["records"][0])
    row = row_of(1, record)
    for other in (row[:-1], (*row, 1), (*row[:-1], b"{"), (*row[:-1], b"{}"), ()):
        with pytest.raises((ValueError, TypeError, KeyError)):
            record_of(other)


async def test_a_record_in_a_hint_is_the_one_that_the_log_gives(server: Server) -> None:
    """For every record of the vectors: all kinds, void, deferred, raised contexts, clocks."""
    seen: Counter[str] = Counter()
    for case in all_vectors():
        told = [decode_record(told) for told in case["records"]]
        async with server.db.read() as session:
            stream = await Log(session).stream_of(await server.user())
        assert stream is not None
        records = [
            Record(**{**{f: getattr(r, f) for f in r.__struct_fields__}, "seq": seq, "rt": r.te + 7})
            for seq, r in enumerate(told, 1)
        ]
        await server.appender.append(Append(stream.id, stream.epoch, 0, records))
        async with server.db.read() as session:
            stored = await Log(session).read(stream.id, 0, 1000)
        hinted = unpack(pack({"records": [row_of(stream.id, record) for record in records]}))["records"]
        assert [record_of(row) for row in hinted] == stored
        for record in stored:
            seen[record.op.kind] += 1
            seen[record.verdict] += 1
            seen["beyond"] += bool(record.beyond)
            seen["raised"] += record.op.base is not None and record.base != record.op.base
            seen["detail"] += record.detail is not None
    wanted = {*kinds.KINDS, "applied", "merged", "void", "deferred", "beyond", "raised", "detail"}
    assert not wanted - {what for what, times in seen.items() if times}


async def test_what_a_device_writes_reaches_the_other_node_without_a_look_at_the_log(
    make_server: MakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await pair(make_server)
    phone, watch = await phone_and_watch(here, there, connect)
    workout, entry = new_id(), new_id()
    host = await there.hosts.open(phone.user)
    await host.catch_up()
    asked = count_reads(there, monkeypatch)
    await started(phone, workout, entry)
    for _ in range(5):
        await phone.push(log_set(phone, workout, entry))
    await phone.push(phone.op("workout.resume", workout))  # illegal here: void
    await watch.told(9)
    assert [record["seq"] for record in watch.records()] == list(range(1, 10))
    assert watch.records()[-1]["verdict"] == "void"
    assert (asked, there.hosts.gaps_healed) == ([], 0)
    at = await host.state(workout)
    assert at is not None
    assert (at.seq, len(at.document["exercises"][0]["sets"])) == (9, 5)


async def test_records_that_are_too_large_for_a_hint_are_read_from_the_log(
    make_server: MakeServer, connect: Connect
) -> None:
    here, there = await pair(make_server)
    phone, watch = await phone_and_watch(here, there, connect)
    workout = new_id()
    await phone.push(phone.op("workout.create", workout))
    await watch.told(1)
    await phone.push(phone.op("note.set", workout, {"text": "x" * WHOLE_BYTES}))
    await watch.told(2)
    assert there.hosts.gaps_healed == 1


async def test_a_hint_that_is_unreadable_costs_a_look_at_the_log(
    make_server: MakeServer, connect: Connect
) -> None:
    here, there = await pair(make_server)
    phone, watch = await phone_and_watch(here, there, connect)
    bus = cut(here)
    await phone.push(phone.op("workout.create", new_id()))
    bus.rejoin()
    host = await here.hosts.open(phone.user)
    head = {"kind": "head", "epoch": host.epoch, "head": 1, "node": here.hosts.node}
    here.bus.publish(user_topic(phone.user), {**head, "first": 1, "records": [["of", "another", "release"]]})
    await watch.told(1)


# -- order -----------------------------------------------------------------------------------------


async def test_two_devices_on_two_nodes_never_see_opposite_orders(
    make_server: MakeServer, devices: Any
) -> None:
    nodes = await pair(make_server)
    mine = await devices(*nodes)
    workout = new_id()
    mine[0].write("workout.create", workout)
    await mine[0].flush()
    await mine[1].reach(1)
    for round in range(20):
        for device in mine:
            before = len(device.outbox)
            device.write("note.set", workout, {"text": f"{round} by {device.id}"})
            await device.push(before)
    await same_views(mine)


async def same_views(mine: list[Device]) -> int:
    """All devices know the same records at the same places, each once; returns the head."""
    head = await settle_all(mine)
    views = [[(d.log[seq]["device"], d.log[seq]["n"]) for seq in range(1, head + 1)] for d in mine]
    assert all(view == views[0] for view in views)
    assert len(set(views[0])) == head == sum(device.next_n - 1 for device in mine)
    return head


@pytest.mark.parametrize(
    ("database_url", "seeds"),
    [("sqlite", range(40)), ("postgresql", range(40, 50))],
    indirect=["database_url"],
)
async def test_hints_that_are_lost_late_or_doubled_change_nothing_in_what_devices_see(
    make_server: MakeServer, devices: Any, seeds: range
) -> None:
    hub = BadHub(seeds[0])
    nodes = await pair(make_server, hub)
    for seed in seeds:
        rng = random.Random(seed)
        hub.calm = False
        mine = await devices(*nodes, rng.choice(nodes))
        workout = new_id()
        mine[0].write("workout.create", workout)
        for _ in range(rng.randint(5, 15)):
            device = rng.choice(mine)
            before = len(device.outbox)
            for _ in range(rng.randint(1, 3)):
                device.write(
                    "note.set", workout, {"text": f"{device.id}.{device.next_n}" * rng.randint(1, 400)}
                )
            await device.push(before)
            await asyncio.sleep(rng.choice([0, 0, 0.003]))
        for device in mine:
            await device.flush()
        for node in nodes:
            await node.hosts.look()
        await same_views(mine)
    assert all(hub.counts[fate] > 10 for fate in ("kept", "lost", "late", "doubled"))


@pytest.mark.parametrize("heard", [True, False], ids=["with the bus", "without the bus"])
async def test_two_nodes_that_write_as_fast_as_they_can_take_turns(
    make_server: MakeServer, devices: Any, heard: bool
) -> None:
    nodes = await pair(make_server, ops_burst=100_000)
    mine = await devices(*nodes)
    workout = new_id()
    mine[0].write("workout.create", workout)
    await mine[0].flush()
    await mine[1].reach(1)
    buses = [] if heard else [cut(node) for node in nodes]
    await asyncio.gather(*(pushes(device, workout, 500) for device in mine))
    for device in mine:
        await device.flush()
    for bus in buses:
        bus.rejoin()
    await same_views(mine)
    authors = [mine[0].log[seq]["device"] for seq in range(2, 1002)]
    done = min(max(i for i, author in enumerate(authors) if author == device.id) for device in mine)
    shares = Counter(authors[: done + 1])
    lost = [node.hosts.lost_races for node in nodes]
    print("lost races", lost, "when one was done", shares)
    assert all(device.counts["later"] == 0 for device in mine), "somebody was starved"
    assert sum(lost) <= 3 * 1000 / BATCH, "a batch is placed again once or twice, not again and again"
    assert min(shares[device.id] for device in mine) >= 50, "one had the head for itself"


async def pushes(device: Device, workout: str, count: int) -> None:
    """So many pushes of one op, as fast as their number in flight allows."""
    for sent in range(count):
        before = len(device.outbox)
        device.write("note.set", workout, {"text": str(sent)})
        await device.push(before)
        while len(device.outbox) > 200:
            await asyncio.sleep(0.001)
            device.read()


# -- healing ---------------------------------------------------------------------------------------


async def test_a_lost_hint_is_healed_by_a_look_now_and_then(
    make_server: MakeServer, connect: Connect
) -> None:
    here, there = await pair(make_server, look_s=0.3)
    phone, watch = await phone_and_watch(here, there, connect)
    cut(there)
    await phone.push(phone.op("workout.create", new_id()))
    await watch.told(1)


async def test_the_return_of_the_bus_is_a_reason_to_look_at_once(
    make_server: MakeServer, connect: Connect
) -> None:
    here, there = await pair(make_server)
    phone, watch = await phone_and_watch(here, there, connect)
    bus = cut(there)
    await phone.push(phone.op("workout.create", new_id()))
    await watch.call("clock", {"t0": 0})
    assert watch.position() == 0
    bus.rejoin()
    await watch.told(1)


async def test_a_device_that_changes_nodes_before_its_hint_arrives_has_no_gap(
    make_server: MakeServer, connect: Connect
) -> None:
    here, there = await pair(make_server)
    phone, _ = await phone_and_watch(here, there, connect)
    cut(there)
    workout = new_id()
    await phone.push(phone.op("workout.create", workout))
    moved = await connect(there, phone.user, phone.device)
    moved.next_n = 2
    pushed = await moved.push(moved.op("workout.start", workout))
    assert [(result["n"], result["seq"]) for result in pushed["results"]] == [(2, 2)]
    moved.next_n = 9
    refused = await moved.push(moved.op("workout.complete", workout))
    assert (refused["code"], refused["next_n"]) == ("gap", 3)


async def test_all_heads_are_compared_in_one_question(
    make_server: MakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = await pair(make_server)
    for _ in range(5):
        user = await here.user()
        await connect(here, user, await here.enrol(user))
    asked = []
    standings = Log.standings

    async def counting(log: Log, streams: Any) -> dict[int, tuple[str, int]]:
        found = await standings(log, streams)
        asked.append(len(found))
        return found

    monkeypatch.setattr(Log, "standings", counting)
    await here.hosts.look()
    assert asked == [5]


async def test_a_host_is_forgotten_when_its_log_began_anew(make_server: MakeServer, connect: Connect) -> None:
    here, _ = await pair(make_server)
    user = await here.user()
    phone = await connect(here, user, await here.enrol(user))
    await phone.push(phone.op("workout.create", new_id()))
    old = await here.hosts.open(user)
    async with here.db.write() as session:
        await session.execute(update(Stream).where(Stream.owner == user).values(epoch="another"))
    await here.hosts.look()
    await phone.gone()
    [bye] = phone.events("bye")
    assert (bye["code"], bye["reconnect"]) == ("overload", True)
    assert await here.hosts.open(user) is not old
    ready = await (await connect(here, user, phone.device)).event("ready")
    assert ready["epoch"] == "another"


async def test_nothing_is_appended_to_a_log_that_began_anew_though_nobody_has_looked(
    make_server: MakeServer, connect: Connect
) -> None:
    """The restored log ends exactly where this host believes that its own does."""
    here, there = await pair(make_server, **SELDOM)
    phone, watch = await phone_and_watch(here, there, connect)
    await phone.push(phone.op("workout.create", new_id()))
    await watch.told(1)
    old = await here.hosts.open(phone.user)
    async with here.db.write() as session:
        await session.execute(update(Stream).where(Stream.owner == phone.user).values(epoch="another"))
    await phone.emit("push", {"ops": [phone.op("workout.create", new_id())]})
    await phone.gone()
    async with here.db.read() as session:
        assert await Log(session).heads([old.stream]) == {old.stream: 1}
    again = await connect(here, phone.user, phone.device)
    assert (await again.event("ready"))["epoch"] == "another"
    assert (await again.push(again.op("workout.create", new_id())))["ok"]


async def test_whoever_names_a_position_in_a_log_that_began_anew_is_told_later(
    make_server: MakeServer,
) -> None:
    """What the new log holds there is not shown under the epoch of the log before."""
    here, _ = await pair(make_server, **SELDOM)
    user = await here.user()
    host = await here.hosts.open(user)
    async with here.db.write() as session:
        await session.execute(update(Stream).where(Stream.owner == user).values(epoch="another"))
    with pytest.raises(Refusal) as refused:
        await host.page(1, 10)
    assert refused.value.code == "later"
    assert (await (await here.hosts.open(user)).page(0, 10))["epoch"] == "another"


async def test_a_host_is_forgotten_when_its_log_has_lost_its_end(
    make_server: MakeServer, connect: Connect
) -> None:
    """As after the failover to a database that had not got all of it."""
    here, _ = await pair(make_server)
    user = await here.user()
    phone = await connect(here, user, await here.enrol(user))
    await phone.push(phone.op("workout.create", new_id()))
    async with here.db.write() as session:
        await session.execute(update(Stream).where(Stream.owner == user).values(head=0))
    await here.hosts.look()
    await phone.gone()


async def test_a_host_is_forgotten_when_its_user_is_gone_and_what_waits_there_is_told_later(
    make_server: MakeServer, connect: Connect
) -> None:
    here, _ = await pair(make_server)
    user = await here.user()
    phone = await connect(here, user, await here.enrol(user))
    host = await here.hosts.open(user)
    async with here.db.write() as session:
        await session.execute(delete(Stream).where(Stream.owner == user))
        await session.execute(delete(User).where(User.id == user))
    await here.hosts.look()
    await phone.gone()
    assert here.hosts.loaded(user) is None
    with pytest.raises(Exception, match="began anew or is gone"):
        await host.state(new_id())


async def test_a_hint_of_another_epoch_is_a_reason_to_look(make_server: MakeServer, connect: Connect) -> None:
    here, there = await pair(make_server)
    phone, watch = await phone_and_watch(here, there, connect)
    async with here.db.write() as session:
        await session.execute(update(Stream).where(Stream.owner == phone.user).values(epoch="another"))
    hint = {"kind": "head", "epoch": "another", "head": 1, "node": here.hosts.node, "first": 1, "records": []}
    here.bus.publish(user_topic(phone.user), hint)
    await watch.gone()


async def test_a_revocation_is_found_without_its_hint(make_server: MakeServer, connect: Connect) -> None:
    here, there = await pair(make_server, **QUICK)
    phone, watch = await phone_and_watch(here, there, connect)
    async with here.db.write() as session:
        assert await Devices(session).revoke(watch.user, watch.device, here.clock())
    await watch.gone()
    assert watch.events("bye") == [{"code": "revoked", "reconnect": False, "after_ms": 0}]
    assert not phone.events("bye")


# -- presence --------------------------------------------------------------------------------------


async def test_presence_spans_nodes_and_one_that_comes_later_asks_who_is_there(
    make_server: MakeServer, connect: Connect
) -> None:
    here, there = await pair(make_server)
    phone, watch = await phone_and_watch(here, there, connect)
    assert here_now(watch) == ["phone", "watch"]
    third = await make_server(hub=here.hub, alone=False)
    await (await third.hosts.open(phone.user)).catch_up()  # for a request over REST, long before
    tablet = await connect(third, phone.user, await third.enrol(phone.user, "tablet"))
    for wire in (phone, watch, tablet):
        await wire.event("presence", lambda presence: len(presence["devices"]) == 3)
    await watch.close()
    for wire in (phone, tablet):
        await wire.until(lambda wire=wire: here_now(wire) == ["phone", "tablet"])  # type: ignore[misc]


async def test_the_devices_of_a_node_that_died_are_not_here_any_more_until_it_is_back(
    make_server: MakeServer, connect: Connect
) -> None:
    here, there = await pair(make_server, **QUICK)
    phone, watch = await phone_and_watch(here, there, connect)
    bus = cut(there)
    await phone.until(lambda: here_now(phone) == ["phone"])
    await watch.until(lambda: here_now(watch) == ["watch"])
    bus.rejoin()
    for wire in (phone, watch):
        await wire.until(lambda wire=wire: here_now(wire) == ["phone", "watch"])  # type: ignore[misc]


async def test_who_left_while_the_bus_was_away_is_not_here_after_its_return(
    make_server: MakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fitai.gateways.live.presence.ANSWER_S", 0.2)
    here, there = await pair(make_server, heartbeat_s=600.0)
    phone, watch = await phone_and_watch(here, there, connect)
    bus = cut(here)
    await watch.close()
    host = there.hosts.loaded(watch.user)
    assert host is not None
    await until(lambda: not host.presence.busy)
    assert here_now(phone) == ["phone", "watch"]
    bus.rejoin()
    await phone.until(lambda: here_now(phone) == ["phone"])


async def test_a_late_word_about_presence_does_not_replace_a_newer_one(
    make_server: MakeServer, connect: Connect
) -> None:
    here, there = await pair(make_server)
    phone, _ = await phone_and_watch(here, there, connect)
    host = await here.hosts.open(phone.user)
    host.presence.heard("a node", 5, [{"device": 9, "name": "scale", "since": 1}])
    host.presence.heard("a node", 4, [])
    await phone.until(lambda: here_now(phone) == ["phone", "watch", "scale"])
    host.presence.heard("a node", 6, [])
    await phone.until(lambda: here_now(phone) == ["phone", "watch"])


class Watched(Hosts):
    """The hosts of a node, as `Nodes` needs them, and what it asks of them."""

    def __init__(self, server: Server) -> None:
        hosts = server.hosts
        super().__init__(hosts.db, hosts.appender, hosts.bus, limits=hosts.limits, now_ms=hosts.now_ms)
        self.said: list[str] = []

    def lost(self, node: str) -> None:
        self.said.append(f"lost {node}")

    def anew(self) -> None:
        self.said.append("anew")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_node_is_missed_after_its_grace_and_a_pause_of_one_s_own_is_nobody_s_silence(
    make_server: MakeServer,
) -> None:
    server = await make_server(limits={"heartbeat_s": 2.0, "presence_grace_s": 6.0})
    hosts = Watched(server)
    nodes = Nodes(hosts)
    nodes.beat(100.0)
    nodes.heard("young", 100.5, 0)
    assert (nodes.others, hosts.said) == (["young"], [])  # it has told nothing yet that could be missed
    nodes.heard("old", 101.0, 77)
    assert hosts.said == ["anew"]
    for now in (102.0, 104.0, 106.0):
        nodes.beat(now)
        nodes.heard("old", now)
    assert nodes.others == ["young", "old"]
    nodes.beat(108.0)
    assert (nodes.others, hosts.said) == (["old"], ["anew", "lost young"])
    nodes.beat(128.0)  # we were stopped for 20 s
    assert (nodes.others, hosts.said) == (["old"], ["anew", "lost young", "anew"])
    for now in (130.0, 132.0, 134.0, 136.0):
        nodes.beat(now)
    assert (nodes.others, hosts.said[3:]) == ([], ["lost old"])


async def test_a_node_that_was_stopped_is_as_the_others_soon_after_it_wakes(
    make_server: MakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stopped process misses: hints, a lease, its own heartbeats; it hears of nobody meanwhile."""
    here, there = await pair(make_server, heartbeat_s=600.0)
    phone, watch = await phone_and_watch(here, there, connect)
    nodes = there.hosts._nodes
    assert nodes is not None
    bus = cut(there)
    here.hosts.lost(there.hosts.node)  # as the others do after a while
    await phone.until(lambda: here_now(phone) == ["phone"])
    await phone.push(phone.op("workout.create", new_id()))
    bus.away = False  # nobody tells it that it was away
    nodes.beat(asyncio.get_running_loop().time() + 2000)
    await watch.told(1)
    await phone.until(lambda: here_now(phone) == ["phone", "watch"])
    watch.base = 1
    assert (await watch.push(watch.op("workout.create", new_id())))["results"][0]["seq"] == 2
    await phone.told(2)


async def test_a_host_that_could_not_be_opened_hears_nothing(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = MemoryHub()
    here = await make_server(hub=hub, alone=False)
    user = await here.user()

    async def away(host: Host, opening: Opening) -> None:
        raise Unavailable

    monkeypatch.setattr(Host, "open", away)
    with pytest.raises(Unavailable):
        await here.hosts.open(user)
    assert user_topic(user) not in hub


async def test_what_another_node_commits_while_a_host_is_opened_is_not_missed(
    make_server: MakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its reading of the log and its subscription there is nobody here to be told."""
    here, there = await pair(make_server)
    user = await there.user()
    phone = await connect(there, user, await there.enrol(user, "phone"))
    monkeypatch.setattr(Neighbours, "tell", lambda *told, **words: None)  # what was told is over by then

    async def slow(*asked: Any) -> Opening | None:
        opening = await read_opening(*asked)
        await phone.push(phone.op("workout.create", new_id()))
        return opening

    monkeypatch.setattr("fitai.gateways.live.hosts.read_opening", slow)
    opened = await here.hosts.open(user)
    await until(lambda: opened.head == 1)


# -- timers ----------------------------------------------------------------------------------------


async def test_one_node_scans_for_all_and_the_next_one_when_it_is_gone(make_server: MakeServer) -> None:
    nodes = await pair(make_server)
    scans: list[int] = []
    for index, node in enumerate(nodes):
        await node.hosts.timers.close()  # their own scans; those here are the test's

        async def due(until: int, limit: int, index: int = index) -> list[Any]:
            scans.append(index)
            return []

        node.hosts.due = due  # type: ignore[method-assign]
    for node in nodes:
        node.clock.ahead_ms = MINUTE  # whoever has scanned at its start holds nothing any more
    for _ in range(3):
        for node in reversed(nodes):
            await node.hosts.timers.scan()
    assert scans == [1, 1, 1]
    for node in nodes:
        node.clock.ahead_ms += MINUTE
    await nodes[0].hosts.timers.scan()
    await nodes[1].hosts.timers.scan()
    assert scans == [1, 1, 1, 0]


async def test_an_idle_workout_that_two_nodes_hold_is_paused_and_completed_once(
    make_server: MakeServer, connect: Connect
) -> None:
    here, there = await pair(make_server)
    phone, watch = await phone_and_watch(here, there, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    await watch.push(log_set(watch, workout, entry))
    await phone.told(4)
    for hours, head in ((1, 5), (7, 6)):
        for node in (here, there):
            node.clock.ahead_ms = hours * 60 * MINUTE
        for node in (here, there):
            node.hosts.timers.wake()
        for wire in (phone, watch):
            await wire.told(head)
    for node in (here, there):
        await (await node.hosts.open(phone.user)).flush()
    async with here.db.read() as session:
        stream = await Log(session).stream_of(phone.user)
        assert stream is not None
        records = await Log(session).read(stream.id, 0, 100)
    assert [(r.device, r.op.kind) for r in records[4:]] == [(0, "workout.pause"), (0, "workout.complete")]


async def test_the_end_of_a_rest_is_told_to_the_devices_on_both_nodes_once(
    make_server: MakeServer, connect: Connect
) -> None:
    here, there = await pair(make_server)
    phone, watch = await phone_and_watch(here, there, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    await phone.push(phone.op("rest.start", workout, {"seconds": 1}))
    for wire in (phone, watch):
        await wire.event("insight", lambda insight: insight["kind"] == "rest_over")
        over = [insight for insight in wire.events("insight") if insight["kind"] == "rest_over"]
        assert [insight["dot"] for insight in over] == [[phone.device, 4]]


async def test_what_a_dead_node_held_is_met_by_another_after_a_while(
    make_server: MakeServer, connect: Connect
) -> None:
    here, there = await pair(make_server)
    user = await here.user()
    phone = await connect(here, user, await here.enrol(user))
    workout = new_id()
    await phone.push(phone.op("workout.create", workout), phone.op("workout.start", workout))
    await (await here.hosts.open(user)).flush()
    await here.hosts.timers.close()  # it is dead
    there.clock.ahead_ms = 20 * MINUTE
    await there.hosts.timers.scan()
    host = there.hosts.loaded(user)
    assert host is not None
    await until(lambda: host.head == 3)


# -- rates -----------------------------------------------------------------------------------------


async def test_what_a_device_writes_on_one_node_counts_on_the_other(
    make_server: MakeServer, connect: Connect
) -> None:
    here, there = await pair(make_server, ops_burst=20, ops_per_s=0.001)
    user = await here.user()
    device = await here.enrol(user)
    workout = new_id()
    one, other = [await connect(node, user, device) for node in (here, there)]
    assert (await one.push(*(one.op("workout.create", workout) for _ in range(15))))["ok"]
    await other.told(15)
    other.next_n = 16
    answer = await other.push(*(other.op("workout.create", workout) for _ in range(15)))
    assert [result["n"] for result in answer["results"]] == [16, 17, 18, 19, 20]
    await one.told(20)
    one.next_n = 21
    assert (await one.push(one.op("workout.create", workout)))["code"] == "later"


async def test_a_lost_race_is_not_charged_twice(make_server: MakeServer, connect: Connect) -> None:
    here, there = await pair(make_server, ops_burst=20, ops_per_s=0.001)
    phone, watch = await phone_and_watch(here, there, connect)
    cut(there)
    workout = new_id()
    for _ in range(9):
        await phone.push(phone.op("workout.create", workout))
        answer = await watch.push(watch.op("workout.create", workout), watch.op("workout.create", workout))
        assert [result["verdict"] for result in answer["results"]] == ["merged", "merged"]
    assert there.hosts.lost_races > 1, "too few to tell: what is charged twice would still fit"


async def test_a_day_goes_on_where_another_node_left_it(make_server: MakeServer, connect: Connect) -> None:
    limits = {"ops_per_day": 100}
    here = await make_server(limits=limits)
    user = await here.user()
    device = await here.enrol(user)
    wire = await connect(here, user, device)
    workout = new_id()
    await wire.push(*(wire.op("workout.create", workout) for _ in range(60)))
    here.clock.ahead_ms = 2 * DAY
    await wire.push(*(wire.op("workout.create", workout) for _ in range(70)))
    there = await make_server(limits=limits)
    there.clock.ahead_ms = 2 * DAY
    other = await connect(there, user, device)
    answer = await other.push(*(other.op("workout.create", workout) for _ in range(60)))
    assert len(answer["results"]) == 30


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64, 100])
async def test_the_records_since_a_moment_are_counted_by_halving(
    db: Database, server: Server, count: int
) -> None:
    async with db.read() as session:
        stream = await Log(session).stream_of(await server.user())
    assert stream is not None
    record = decode_record(all_vectors()[0]["records"][0])
    rng = random.Random(count)
    times = sorted(rng.randint(1, 50) for _ in range(count))
    if count:
        fields = {f: getattr(record, f) for f in record.__struct_fields__}
        records = [
            Record(**{**fields, "seq": i, "rev": i, "device": i, "rt": rt}) for i, rt in enumerate(times, 1)
        ]
        await server.appender.append(Append(stream.id, stream.epoch, 0, records))
    async with db.read() as session:
        for moment in range(52):
            found = await Log(session).count_since(stream.id, moment)
            assert found == sum(rt > moment for rt in times)
