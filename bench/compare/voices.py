"""One client for all: the same sets, the same sockets, and for each kind of server only its words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from fitai.bench import wire
from fitai.bench.crew import Crew, Member
from fitai.bench.lifter import Act
from fitai.bench.link import HANDSHAKE_S, NotConnected, Socket, connect
from fitai.bench.plan import Pass

WAKING_S = 5.0

Op = dict[str, Any]
Answered = Callable[[bool], None]
"""Told of each answer whether it was a yes."""


class Count:
    """The sets in what all devices of a member are told, counted once for all of them: what is sent to many
    is decoded once too, and is then the same object."""

    def __init__(self) -> None:
        self._seen: Any = None
        self._sets = 0

    def sets(self, ops: Sequence[Op]) -> int:
        """How many of these ops are sets."""
        if ops is not self._seen:
            self._seen = ops
            self._sets = sum(op["kind"] == "set.log" for op in ops)
        return self._sets


class Voice:
    """One device. `told(sets)` is called for what others did; a subclass has the words of a server."""

    codec: ClassVar[wire.Codec]
    event: ClassVar[str]  # that carries {ops: […]} to the server

    def __init__(self, member: Member, way: Pass, count: Count, told: Callable[[int], None]) -> None:
        self.position = 0
        self._crew: Crew = member.crew
        self._member = member
        self._way = way
        self._count = count
        self._told = told
        self._next = 1
        self._closing = self._ended = False
        self._late = 0  # sets that came after a sleep
        self._socket: Socket | None = None
        member.devices.append(self)

    @property
    def socket(self) -> Socket:
        """Its connection, once it was made."""
        assert self._socket is not None, "it is connected"
        return self._socket

    async def connect(self) -> None:
        """Connect and have everything that belongs to it; raises NotConnected."""
        self._socket = await connect(
            self._crew.url,
            self.codec,
            self._auth(),
            memory=self._member.memory,
            hear=self._hear,
            gone=self._gone,
        )

    def say(self, acts: Sequence[Act], answered: Answered) -> None:
        """Tell the server of acts in one event, before any later one."""
        ops = []
        for act in acts:
            op = {"n": self._next, "base": self.position, "kind": act.kind, "workout": act.workout}
            op |= {"value": act.value, "at": act.at}
            if act.entity is not None:
                op["entity"] = act.entity
            self._next += 1
            ops.append(op)
        self.socket.emit(self.event, {"ops": ops}, lambda answer: answered(self._stands(answer)))

    def sleep(self) -> None:
        """Read nothing more; whatever the server does about it is no failure."""
        self._closing = True
        self._told = self._oversleep
        self.socket.stall()

    async def missed(self, sets: int) -> bool:
        """Wake up, and return whether not all of so many sets have waited for it."""
        self.socket.wake()
        seen, since = self._late, self._crew.clock()
        while not self._ended and self._late < sets and self._crew.clock() < since + WAKING_S:
            await asyncio.sleep(0.02)
            if self._late > seen:
                seen, since = self._late, self._crew.clock()
        return self._late < sets

    def close(self) -> None:
        """Go."""
        self._closing = True
        if self._socket is not None:
            self._socket.close()

    def _oversleep(self, sets: int) -> None:
        self._late += sets

    def _gone(self) -> None:
        self._ended = True
        if not self._closing:
            self._crew.totals.failures["connection lost"] += 1

    def _auth(self) -> dict[str, Any]:
        raise NotImplementedError

    def _hear(self, event: str, payload: Any) -> None:
        raise NotImplementedError

    def _stands(self, answer: dict[str, Any]) -> bool:
        """Whether an answer says that all was taken."""
        raise NotImplementedError


class Ours(Voice):
    """The words of FitAI: a `push` into the log, `ops` out of it."""

    codec = wire.Json()
    event = "push"

    async def connect(self) -> None:
        self._ready = asyncio.Event()
        await super().connect()
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await self._ready.wait()
        except TimeoutError:
            raise NotConnected("no `ready` came") from None

    def _auth(self) -> dict[str, Any]:
        return {"token": self._way.token}

    def _hear(self, event: str, payload: Any) -> None:
        if event == "ops":
            self.position = payload["to"]
            self._told(self._count.sets(payload["records"]))
        elif event == "ready":
            self._next, self.position = payload["next_n"], payload["head"]
            self._ready.set()

    def _stands(self, answer: dict[str, Any]) -> bool:
        if not answer["ok"]:
            self._crew.totals.failed(f"refused: {answer['code']}", answer.get("message"))
            return False
        results = answer["results"]
        self.position = max(self.position, results[-1]["seq"])
        return all(result["verdict"] in ("applied", "merged") for result in results)


class Peer(Voice):
    """The words of the peers: a `set` that comes back to the others in the room. The room is the member."""

    codec = wire.Json("/")
    event = "set"

    def _auth(self) -> dict[str, Any]:
        return {"room": self._member.person.user}

    def _hear(self, event: str, payload: Any) -> None:
        self.position += len(payload["ops"])
        self._told(self._count.sets(payload["ops"]))

    def _stands(self, answer: dict[str, Any]) -> bool:
        return answer["ok"] is True
