"""What must hold at the end of every story."""

from __future__ import annotations

from collections import Counter
from itertools import count
from random import Random

from fitai.engine.ops import Record, Verdict
from fitai.engine.workout import digest, state
from fitai.sync.fold import fold
from tests.simulation.world import World
from tests.sync.oracle import Oracle, clocks_of


def check(world: World) -> None:
    """Raise AssertionError, with what is wrong, unless the story ended well."""
    records = world.server.log()
    _counters(records)
    _once(world, records)
    _agreement(world, records)
    _quarantine(world, records)
    _any_order(world, records)
    _promise(records)


def _counters(records: list[Record]) -> None:
    """Places and counters have no gaps."""
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    for key in ("device", "workout"):
        numbers = {}
        for record in records:
            name, n = (record.device, record.op.n) if key == "device" else (record.op.workout, record.rev)
            expected = numbers.setdefault(name, count(1))
            assert n == next(expected), f"{key} {name} has a gap at seq {record.seq}"


def _once(world: World, records: list[Record]) -> None:
    """What was acknowledged is in the log once; what was written is there, or its person sees it refused."""
    there = Counter(record.op.raw["tag"] for record in records if record.device)
    assert there.keys() <= world.written.keys()
    refused = {tag for device in world.devices for tag in device.quarantined()}
    missing = world.written.keys() - there.keys() - refused - world.lost
    assert not missing, f"vanished: {[world.written[tag] for tag in sorted(missing)[:3]]}"
    vanished = world.acked - there.keys() - world.lost - refused
    assert not vanished, f"acknowledged and gone: {sorted(vanished)}"
    doubled = {tag for tag, times in there.items() if times > 1} - world.twice
    assert not doubled, f"twice in the log: {[world.written[tag] for tag in sorted(doubled)[:3]]}"
    for record in records:
        if record.device:
            said, came = world.written[record.op.raw["tag"]], record.op.raw
            assert all(came[key] == said[key] for key in ("kind", "workout", "at")), (said, came)


def _agreement(world: World, records: list[Record]) -> None:
    """Every device shows what the server has, byte for byte, and has nothing left to do."""
    names = sorted({record.op.workout for record in records})
    states = world.server.states(names)
    served = {name: digest(states[name] or {}) for name in names}
    for device in world.devices:
        assert device.held.cursor == len(records), f"{device.path} stands at {device.held.cursor}"
        assert device.held.outbox == device.store.outbox() == []
        for name, theirs in device.digests().items():
            assert theirs == served[name], difference(device.state(name) or {}, states[name] or {})


def difference(mine: object, theirs: object, where: str = "") -> str:
    """Where two documents differ first."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in sorted(mine.keys() | theirs.keys()):
            if mine.get(key) != theirs.get(key):
                return difference(mine.get(key), theirs.get(key), f"{where}.{key}")
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        for i, (one, other) in enumerate(zip(mine, theirs, strict=True)):
            if one != other:
                return difference(one, other, f"{where}[{i}]")
    return f"{where}: the device has {mine!r}, the server {theirs!r}"


def _quarantine(world: World, records: list[Record]) -> None:
    """What a device's server refused of it is what that device shows as refused."""
    void = {
        record.dot: record.op.raw["tag"]
        for record in records
        if record.verdict is Verdict.VOID and record.device
    }
    listed = {record["tag"] for record in world.server.voids() if record["device"]}
    assert listed == set(void.values())
    shown = {tag for device in world.devices for tag in device.quarantined()}
    authors = {device.held.author for device in world.devices}
    for (author, _), tag in void.items():
        assert tag in shown or author not in authors, f"{tag} of {author} was refused unseen"
    for device in world.devices:
        shown = {each.op["tag"] for each in device.store.void()}
        if not world.struck["server restored"]:
            assert shown <= set(void.values()), f"{shown - set(void.values())} stand in the log"


def _any_order(world: World, records: list[Record]) -> None:
    """The state depends on the set of records alone."""
    for name in sorted({record.op.workout for record in records}):
        own = [record for record in records if record.op.workout == name]
        shuffled = [*own, *own[::3]]
        Random(len(own)).shuffle(shuffled)
        once = digest(state(fold(name, world.server.user, own).workout))
        assert digest(state(fold(name, world.server.user, shuffled).workout)) == once, (
            f"order matters in {name}"
        )


def _promise(records: list[Record]) -> None:
    """No accepted value is lost in silence, and none is made up."""
    clocks = clocks_of(records)
    for name in sorted({record.op.workout for record in records}):
        own = [record for record in records if record.op.workout == name]
        told = state(fold(name, "", own).workout)
        complaints = Oracle(name, own, clocks).complaints(told)
        assert not complaints, f"{name}: {complaints}"
