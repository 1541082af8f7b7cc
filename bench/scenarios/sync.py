"""Devices that were offline meet."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import msgpack
import zstandard

from fitai.bench import profiles
from fitai.bench.crew import Member
from fitai.bench.device import Device
from fitai.bench.lifter import Lifter
from fitai.bench.pace import Done
from fitai.bench.scenarios.base import Scenario

Json = dict[str, Any]

MSGPACK = "application/msgpack"
ASK_S = 30.0


class Sync(Scenario):
    """A phone and a watch of one user each wrote a session or two apart, and meet through the server.

    The phone pushes its batch over REST (msgpack in zstd), the watch over its socket, neither having seen the
    other's; then both pull what they lack. `meeting` is all of it. The control: both logs are the same from
    the first record on, and every op that was acknowledged stands in them once, at the place that the ack
    named.
    """

    name: ClassVar[str] = "sync"
    question: ClassVar[str] = (
        "Two devices of a user were offline and meet: how long until both have everything?"
    )
    main: ClassVar[str] = "meeting"
    users: ClassVar[int] = 20
    foreign: ClassVar[int] = 5
    window: ClassVar[int | None] = 1

    async def prepare(self) -> None:
        """The watches connect; the phones have no socket and are known by their requests."""
        self._phones = {id(member): Phone(member) for member in self.crew.members}
        self._turns = {id(member): asyncio.Lock() for member in self.crew.members}
        await self.connect_all()

    async def connect_all(self) -> None:
        for member in self.crew.members:
            await Device(member, member.passes[1]).connect()

    def work(self, member: Member, intended: float, done: Done) -> None:
        self.spawned(self._meet(member, intended), done)

    async def _meet(self, member: Member, intended: float) -> None:
        async with self._turns[id(member)]:  # one who still meets does not meet again
            crew, watch, phone = self.crew, member.devices[0], self._phones[id(member)]
            now = crew.now_ms()
            least, most = profiles.OFFLINE_OPS
            theirs = phone.write(crew.rng.randint(least, most), now)
            settled = asyncio.Event()
            began = crew.clock()
            # Numbered before the phone's are known: the two are concurrent.
            written = member.lifter.offline(crew.rng.randint(least, most), now)
            sent = watch.prepare(written, "push by socket", began, settled.set)
            acked = await phone.push(theirs)
            sent()
            async with asyncio.timeout(ASK_S):
                await settled.wait()
            await phone.pull()
            await self._pull(member, phone)
            crew.spent("meeting", intended)
            if any(phone.log.get(one["seq"]) != (phone.device, one["n"]) for one in acked):
                member.ledger.failures["lost"] += 1
            phone.forget()

    async def _pull(self, member: Member, phone: Phone) -> None:
        """The watch reads all that the phone has, by its socket, and both must have read the same."""
        crew, began = self.crew, self.crew.clock()
        records = await ask_all(member.devices[0], phone.before)
        crew.spent("pull by socket", began)
        for record in records:
            member.ledger.at(record["seq"], (record["device"], record["n"]))
            if phone.log.get(record["seq"], (record["device"], record["n"])) != (
                record["device"],
                record["n"],
            ):
                member.ledger.failures["different"] += 1
        places = [record["seq"] for record in records]
        if places != list(range(phone.before + 1, phone.before + 1 + len(places))):
            member.ledger.failures["lost"] += 1


class Phone:
    """A device without a socket: it pushes and pulls over REST. `log` is what it pulled since `before`, as
    {seq: (device, n)}."""

    def __init__(self, member: Member) -> None:
        self.device = member.passes[0].device
        self.before = 0
        self.log: dict[int, tuple[int, int]] = {}
        self._member = member
        self._cursor = 0
        self._next = 1
        self._lifter = Lifter(f"{member.crew.plan.seed} {member.person.number} phone")
        self._zstd = zstandard.ZstdCompressor()

    def write(self, count: int, at: int) -> list[Json]:
        """At least so many ops of this device, up to `at` (Unix ms)."""
        ops = []
        for act in self._lifter.offline(count, at):
            op: Json = {"n": self._next, "base": self._cursor, "at": act.at}
            op |= {"kind": act.kind, "workout": act.workout, "value": act.value}
            ops.append(op if act.entity is None else {**op, "entity": act.entity})
            self._next += 1
        return ops

    async def push(self, ops: list[Json]) -> list[Json]:
        """Push a batch; its results."""
        crew, began = self._member.crew, self._member.crew.clock()
        headers = {**self._member.header(), "Content-Type": MSGPACK, "Content-Encoding": "zstd"}
        body = self._zstd.compress(msgpack.packb({"ops": ops}))
        async with crew.http.post("/sync/push", data=body, headers=headers) as response:
            answer = msgpack.unpackb(await response.read())
        if not answer["ok"] or len(answer["results"]) < len(ops):
            raise RuntimeError(f"push refused: {answer.get('code', 'limit')}")
        crew.spent("push by REST", began)
        results: list[Json] = answer["results"]
        for result in results:
            crew.totals.counts[result["verdict"]] += 1
            if result["verdict"] == "void":
                self._member.ledger.failures["void"] += 1
            self._member.ledger.at(result["seq"], (self.device, result["n"]))
        return results

    async def pull(self) -> None:
        """Read the log from the cursor to its head."""
        crew, began = self._member.crew, self._member.crew.clock()
        headers = {**self._member.header(), "Accept": MSGPACK}
        more = True
        while more:
            query = {"after": str(self._cursor)}
            async with crew.http.get("/sync/pull", params=query, headers=headers) as response:
                response.raise_for_status()
                page = msgpack.unpackb(await response.read())
            for record in page["records"]:
                if record["seq"] != self._cursor + 1:
                    self._member.ledger.failures["lost"] += 1
                self._cursor = record["seq"]
                dot = record["device"], record["n"]
                self.log[self._cursor] = dot
                self._member.ledger.at(self._cursor, dot)
            more = page["more"]
        crew.spent("pull by REST", began)

    def forget(self) -> None:
        """What both have seen need not be kept."""
        self.before = self._cursor
        self.log.clear()


async def ask_all(device: Device, after: int) -> list[Json]:
    """The records after a place, page by page, over the device's socket."""
    records: list[Json] = []
    more = True
    while more:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        device.ask("pull", {"after": after}, answer.set_result)
        async with asyncio.timeout(ASK_S):
            page = await answer
        if not page["ok"]:
            raise RuntimeError(f"pull refused: {page['code']}")
        records += page["records"]
        more = page["more"]
        after = records[-1]["seq"] if records else after
    return records
