"""What must be true when the storm is over. `Checks` says what is not, by `world.wrong`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

from fitai.engine.ops import Record
from fitai.engine.workout import digest, state
from fitai.persistence.log import Log
from fitai.sync.fold import fold
from fitai.sync.place import SERVER
from fitai.sync.wire import decode_record
from tests.chaos.phone import Phone
from tests.chaos.roamer import Lost, Roamer
from tests.simulation.checks import difference

if TYPE_CHECKING:
    from tests.chaos.world import World

Json = dict[str, Any]

ASKED_S = 60.0


class Checks:
    """Holds the devices, the nodes and the log in PostgreSQL against each other."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._wrong = world.wrong

    async def check(self) -> None:
        logs = await self._logs()
        for user, records in logs.items():
            self._log(user, records)
        for device in self._world.roamers:
            self._roamer(device, logs[device.user])
        states = {user: states_of(user, records) for user, records in logs.items()}
        for phone in self._world.phones:
            await self._phone(phone, logs[phone.user], states[phone.user])
        for user, theirs in states.items():
            for name, one in theirs.items():
                if one["status"] not in ("paused", "completed"):
                    self._wrong(f"{user[:8]}: workout {name} is left {one['status']}")
        for node in range(len(self._world.stack.nodes)):
            await asyncio.gather(*(self._served(node, user, its) for user, its in states.items()))
        self._nodes()

    async def _logs(self) -> dict[str, list[Record]]:
        logs: dict[str, list[Record]] = {}
        async with self._world.db.read() as session:
            log = Log(session)
            for user in {each.user for its in self._world.devices for each in its}:
                row = await log.stream_of(user)
                assert row is not None
                logs[user] = await log.read(row.id, 0, 1_000_000)
                if len(logs[user]) != row.head:
                    self._wrong(f"{user[:8]}: {len(logs[user])} records, but the head is {row.head}")
        return logs

    def _log(self, user: str, records: Sequence[Record]) -> None:
        """Places and counters have no gaps, and the server acts once on each silence."""
        if [record.seq for record in records] != list(range(1, len(records) + 1)):
            self._wrong(f"{user[:8]}: the log has a hole")
        for key in ("device", "workout"):
            counters: dict[Any, Any] = {}
            for record in records:
                name, n = (record.device, record.op.n) if key == "device" else (record.op.workout, record.rev)
                if n != (expected := next(counters.setdefault(name, count(1)))):
                    self._wrong(f"{user[:8]}: {key} {name} has {n} instead of {expected} at seq {record.seq}")
        for name in {record.op.workout for record in records}:
            own = [record for record in records if record.op.workout == name]
            for one, other in pairwise(own):
                if one.device == other.device == SERVER:
                    self._wrong(f"{user[:8]}: the server acted twice on {name}, at {one.seq} and {other.seq}")

    def _roamer(self, device: Roamer, records: Sequence[Record]) -> None:
        self._own(device.name, device.next_n - 1, device.acked, records, device.id)
        wires = {record.seq: record.wire() for record in records}
        if device.log != wires:
            first = next(seq for seq in count(1) if device.log.get(seq) != wires.get(seq))
            self._wrong(
                f"{device.name}: at {first} it has {device.log.get(first)}, the log {wires.get(first)}"
            )
            return
        mine = states_of(device.user, [decode_record(device.log[seq]) for seq in sorted(device.log)])
        for name, theirs in states_of(device.user, records).items():
            self._same(device.name, name, mine[name], theirs)

    async def _phone(self, phone: Phone, records: Sequence[Record], states: dict[str, Json]) -> None:
        held, told = phone.client.held, await phone.client.records(0, 1_000_000)
        acked = {record["n"]: record["seq"] for record in told if record["device"] == phone.id}
        self._own(phone.name, held.next_n - 1, acked, records, phone.id)
        if told != [record.wire() for record in records]:
            self._wrong(f"{phone.name}: it has another log, {len(told)} records to {len(records)}")
        for name, theirs in states.items():
            self._same(phone.name, name, await phone.client.state(name) or {}, theirs)

    def _own(
        self, name: str, written: int, acked: dict[int, int], records: Sequence[Record], id: int
    ) -> None:
        """All that a device wrote and was told of is there, once, where it was told that it is."""
        own = {record.op.n: record.seq for record in records if record.device == id}
        if sorted(own) != list(range(1, written + 1)):
            self._wrong(f"{name}: wrote {written} ops, the log has {len(own)} of them")
        if lost := acked.items() - own.items():
            self._wrong(f"{name}: acknowledged, and not there: {sorted(lost)[:3]}")

    async def _served(self, node: int, user: str, states: dict[str, Json]) -> None:
        """The node tells the states that the log has."""
        roamer = next(each for each in self._world.roamers if each.user == user)
        try:
            async with asyncio.timeout(ASKED_S):
                await roamer.goes_to(node)
                for name, theirs in states.items():
                    answer = await roamer.ask("workout:get", {"workout": name})
                    if answer["ok"]:
                        self._same(f"node {node}", name, answer["state"], theirs)
                    else:
                        self._wrong(f"node {node} does not tell of {name}: {answer}")
        except (Lost, TimeoutError) as error:
            self._wrong(f"node {node} does not answer {roamer.name}: {error!r}")

    def _same(self, who: str, workout: str, mine: Json, theirs: Json) -> None:
        if digest(mine) != digest(theirs):
            self._wrong(f"{who}: {workout} is another: {difference(mine, theirs)}")

    def _nodes(self) -> None:
        for number, node in enumerate(self._world.stack.nodes):
            if not node.running:
                self._wrong(f"node {number} has ended:\n{node.log()[-2000:]}")
            for line in node.errors():
                self._wrong(f"node {number} logged: {line[:3000]}")


def states_of(user: str, records: Sequence[Record]) -> dict[str, Json]:
    """The state of each workout, folded from the log."""
    names = {record.op.workout for record in records}
    by_name: dict[str, list[Record]] = {name: [] for name in sorted(names)}
    for record in records:
        by_name[record.op.workout].append(record)
    return {name: state(fold(name, user, own).workout) for name, own in by_name.items()}
