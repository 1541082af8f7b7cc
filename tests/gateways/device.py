"""A device as the protocol wants it, and strict: it believes nothing that breaks the protocol's promises.

What survives a crash of the device: its counter, the ops that nobody acknowledged (`outbox`), and the
records that it knows (`log`, by seq), of which the contiguous run up to `cursor` counts. What lives as
long as a connection: `told`, the position up to which that connection was told of everything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.gateways.conftest import Wire

PAGE = 100
MOST = 400  # ops in a push


class Device:
    """One device of a user, and the connection that it has at the moment."""

    def __init__(self, user: str, id: int) -> None:
        self.user = user
        self.id = id
        self.epoch: str | None = None
        self.cursor = 0
        self.log: dict[int, dict[str, Any]] = {}
        self.next_n = 1
        self.outbox: list[dict[str, Any]] = []
        self.acked: dict[int, int] = {}  # n -> seq
        self.counts: Counter[str] = Counter()
        self.wire: Wire | None = None
        self.told = 0
        self._read = 0
        self._here: set[int] = set()  # seqs acknowledged on this connection
        self._pushes: dict[int, list[dict[str, Any]]] = {}

    # -- the connection ----------------------------------------------------------------------------

    @property
    def place(self) -> dict[str, Any] | None:
        """The cursor to resume from, or None before the first connection."""
        return None if self.epoch is None else {"epoch": self.epoch, "seq": self.cursor}

    async def connect(self, server: Any, codec: str = "json", cursor: Any = None) -> dict[str, Any]:
        """Connect, and pull what the server will not send by itself; returns `ready`."""
        self.wire = Wire(server, self.user, self.id, codec)
        self._read, self._here, self._pushes = 0, set(), {}
        ready = await self.wire.connect(cursor)
        assert self.epoch in (None, ready["epoch"]), "the log began anew"
        self.epoch = ready["epoch"]
        self.told = cursor["seq"] if ready["resumed"] else ready["head"]
        self.counts["resumed" if ready["resumed"] else "not resumed"] += 1
        while not ready["resumed"] and self.cursor < ready["head"]:
            answer = await self.wire.call("pull", {"after": self.cursor, "limit": PAGE})
            assert answer["ok"], answer
            for record in answer["records"]:
                self._learn(record)
        self.read()
        return ready

    async def cut(self) -> None:
        """Lose the transport without a word; what was not read yet is lost with it."""
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.ws._writer.transport.abort()
            await wire.close()

    async def crash_unread(self) -> None:
        """Die after the server has answered everything, before reading any of it."""
        assert self.wire is not None
        for id in self._pushes:
            await self.wire.ack(id)
        await self.cut()

    def cursor_was(self, seq: int) -> None:
        """Forget all records after a position, as a device does that was restored from an older copy of
        its view; its own counter and outbox are kept apart and are not older."""
        self.log = {known: self.log[known] for known in range(1, seq + 1)}
        self.cursor = seq

    # -- writing -----------------------------------------------------------------------------------

    def write(
        self, kind: str, workout: str, value: Any = None, entity: str | None = None, at: int = 0
    ) -> None:
        """Make an op; it waits in the outbox until it is acknowledged."""
        op = {"n": self.next_n, "base": self.cursor, "kind": kind, "workout": workout, "at": at}
        op["value"] = value or {}
        self.outbox.append(op if entity is None else {**op, "entity": entity})
        self.next_n += 1

    async def push(self, first: int = 0) -> None:
        """Send the outbox from its `first` op on, as much as one push takes, and wait for nothing."""
        ops = self.outbox[first : first + MOST]
        if ops:
            assert self.wire is not None
            self._pushes[await self.wire.emit("push", {"ops": ops, "epoch": self.epoch})] = ops
            self.counts["pushes"] += 1

    async def settled(self) -> None:
        """Wait until every push of this connection is answered."""
        assert self.wire is not None
        for id in list(self._pushes):
            await self.wire.ack(id)
        self.read()

    async def flush(self) -> None:
        """Push until the outbox is empty."""
        await self.settled()
        while self.outbox:
            await self.push()
            await self.settled()

    async def reach(self, seq: int) -> None:
        """Wait until all up to `seq` is known."""

        def there() -> bool:
            self.read()
            return self.cursor >= seq

        assert self.wire is not None
        await self.wire.until(there)

    # -- reading -----------------------------------------------------------------------------------

    def read(self) -> None:
        """Take in what has come on this connection, in its order."""
        assert self.wire is not None
        while self._read < len(self.wire.packets):
            packet = self.wire.packets[self._read]
            self._read += 1
            match packet:
                case ["event", "ops", frame]:
                    self._told(frame)
                case ["ack", id, answer] if id in self._pushes:
                    self._answered(self._pushes.pop(id), answer)
                case ["event", "bye", bye] if bye["code"] != "draining":
                    raise AssertionError(f"closed by the server: {bye}")

    def _told(self, frame: dict[str, Any]) -> None:
        seqs = [record["seq"] for record in frame["records"]]
        assert frame["epoch"] == self.epoch
        assert seqs == sorted(set(seqs)), "out of order"
        assert frame["from"] <= self.told + 1, f"{frame['from']}..{frame['to']} after {self.told}: a hole"
        assert seqs[0] > self.told, f"{seqs[0]} was told or acknowledged before: told up to {self.told}"
        assert seqs[-1] <= frame["to"], "more records than the frame covers"
        left_out = set(range(frame["from"], frame["to"] + 1)) - set(seqs)
        assert left_out <= self._here, f"left out, and not acknowledged here: {left_out - self._here}"
        self.told = frame["to"]
        for record in frame["records"]:
            self._learn(record)
        self.counts["foreign"] += sum(record["device"] != self.id for record in frame["records"])
        self.counts["own told"] += sum(record["device"] == self.id for record in frame["records"])

    def _answered(self, ops: list[dict[str, Any]], answer: dict[str, Any]) -> None:
        if not answer["ok"]:
            assert answer["code"] in ("gap", "later"), answer
            self.counts[answer["code"]] += 1
            return
        results = answer["results"]
        assert [result["n"] for result in results] == [op["n"] for op in ops[: len(results)]]
        for op, result in zip(ops, results, strict=False):
            self._acknowledged(op, result)
        assert answer["head"] >= max(result["seq"] for result in results)

    def _acknowledged(self, op: dict[str, Any], result: dict[str, Any]) -> None:
        n, seq = op["n"], result["seq"]
        if result["verdict"] == "duplicate":
            assert seq <= self.told, f"the ack of {seq} overtook what lies below it: told up to {self.told}"
            result = {**result, **result["first"]}
            self.counts["duplicates"] += 1
        else:
            assert seq == self.told + 1, f"the ack of {seq} came when told up to {self.told}"
            self.told = seq
        self._here.add(seq)
        assert self.acked.setdefault(n, seq) == seq, f"op {n} has two places"
        self.counts["acked"] += 1
        self.outbox = [waiting for waiting in self.outbox if waiting["n"] != n]
        self._learn({**op, "device": self.id, "seq": seq, "verdict": result["verdict"]})

    def _learn(self, record: dict[str, Any]) -> None:
        known = self.log.get(record["seq"])
        if known is None or "rev" not in known:  # a whole record says more than an own ack
            self.log[record["seq"]] = {**(known or {}), **record}
        assert known is None or same(known, record), f"two records at {record['seq']}"
        while self.cursor + 1 in self.log:
            self.cursor += 1


def same(known: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether two accounts of one place in the log agree in all that both tell."""
    return all(known[key] == record[key] for key in known.keys() & record.keys())


async def settle_all(devices: Sequence[Device]) -> int:
    """Empty every outbox and bring every device to the head; returns it."""
    for device in devices:
        await device.flush()
    head = max(max(device.log, default=0) for device in devices)
    await asyncio.gather(*(device.reach(head) for device in devices))
    return head
