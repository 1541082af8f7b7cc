"""A device of the load: connects, pushes, resumes, and holds everything it is told against the ledger.

It behaves as the protocol asks of a client: ops are numbered, kept until they are acknowledged, and sent
again in their order after a refusal or a new connection. A latency runs from the moment at which a work was
intended, through refusals and reconnections, to the answer that settles it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import aiohttp

from fitai.bench.crew import Crew, Member
from fitai.bench.ledger import Seat
from fitai.bench.lifter import Act
from fitai.bench.link import NotConnected, Socket, connect
from fitai.bench.plan import Pass
from fitai.bench.wire import CODECS
from fitai.gateways.tasks import spawn

Op = dict[str, Any]
Done = Callable[[], None]

AGAIN = frozenset({"later", "gap", "unavailable"})  # refusals after which the same ops are sent once more
AGAIN_MS = 200
BACK_S = (0.1, 0.5)  # after a connection that was lost unasked


class Sent:
    """A push on its way: its ops that are not settled yet, what it is counted as, and when it was
    intended."""

    __slots__ = ("done", "intended", "operation", "ops")

    def __init__(self, ops: list[Op], operation: str, intended: float, done: Done | None) -> None:
        self.ops = ops
        self.operation = operation
        self.intended = intended
        self.done = done


class Device:
    """One device of a member. `seat` is its connection in the ledger while it is online; `others` hear, by
    name, the events that are not of the user's own stream."""

    def __init__(self, member: Member, way: Pass) -> None:
        self.member = member
        self.way = way
        self.seat: Seat | None = None
        self.epoch = ""
        self.position = 0
        self.others: dict[str, Callable[[Any], None]] = {}
        self._crew: Crew = member.crew
        self._socket: Socket | None = None
        self._ready: asyncio.Future[Any] | None = None
        self._next = 1
        self._outbox: dict[int, Sent] = {}
        self._held = False
        self._leaving = False
        self._resumed: float | None = None  # when the present resumption was intended
        self._tail = 0  # where it is complete
        member.devices.append(self)

    @property
    def online(self) -> bool:
        """Whether it is connected and was told `ready`."""
        return self.seat is not None

    @property
    def received(self) -> int:
        """Bytes of frames that came on the present connection."""
        return 0 if self._socket is None else self._socket.received

    @property
    def waiting(self) -> int:
        """Pushes that are not settled."""
        return len(self._outbox)

    # -- connections -------------------------------------------------------------------------------------

    async def connect(self, *, resume: bool = False, intended: float | None = None) -> None:
        """Connect, with its cursor if it resumes, and wait for `ready`; raises NotConnected."""
        crew = self._crew
        operation = "resume" if resume else "connect"
        intended = crew.clock() if intended is None else intended
        auth: dict[str, Any] = {"token": self.way.token}
        if resume:
            auth["cursor"] = {"epoch": self.epoch, "seq": self.position}
        self._leaving = False
        self._resumed = intended if resume else None
        self._ready = asyncio.get_running_loop().create_future()
        try:
            self._socket = await connect(
                crew.url,
                CODECS[crew.plan.codec],
                auth,
                memory=self.member.memory,
                hear=self._hear,
                gone=self._gone,
            )
            async with asyncio.timeout(20):
                ready = await self._ready
        except (NotConnected, TimeoutError) as error:
            why = str(error) or "no `ready` came"
            crew.totals.failed("not connected", why)
            raise NotConnected(why) from error
        crew.spent(operation, intended)
        if resume and not ready["resumed"]:
            crew.totals.failures["not resumed"] += 1

    def cut(self) -> None:
        """Lose the connection."""
        self._leave()
        if self._socket is not None:
            self._socket.cut()

    def close(self) -> None:
        """Go offline politely."""
        self._leave()
        if self._socket is not None:
            self._socket.close()

    def _leave(self) -> None:
        self._leaving = True
        if self.seat is not None:
            self.position = self.seat.position
            self.member.ledger.leave(self.seat)
            self.seat = None

    def _gone(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(NotConnected("the connection ended before `ready`"))
        if self._leaving or self.seat is None:
            return
        self._leave()
        self._crew.totals.failures["connection lost"] += 1
        if not self._crew.over:
            spawn("bench.back", self._back())

    async def _back(self) -> None:
        while not self._crew.over:
            await asyncio.sleep(self._crew.rng.uniform(*BACK_S))
            try:
                await self.connect(resume=True)
            except NotConnected:
                continue
            return

    # -- what comes --------------------------------------------------------------------------------------

    def _hear(self, event: str, payload: Any) -> None:
        if event == "ops":
            self._ops(payload)
        elif event == "ready":
            self._begin(payload)
        elif event == "bye":
            self._crew.totals.counts[f"bye {payload['code']}"] += 1
        elif event == "auth:expiring" and self.way.refresh is not None:
            spawn("bench.refresh", self._refresh())
        elif event in self.others:
            self.others[event](payload)
        else:
            self._crew.totals.counts[event] += 1

    def _begin(self, ready: dict[str, Any]) -> None:
        self.epoch = ready["epoch"]
        if not ready["resumed"]:
            self.position = ready["head"]
        self._next = max(self._next, ready["next_n"])
        self.member.ledger.head = max(self.member.ledger.head, ready["head"])
        self.seat = self.member.ledger.sit(self.way.device, self.position)
        assert self._ready is not None
        if not self._ready.done():
            self._ready.set_result(ready)
        self._tail = ready["head"]
        self._caught_up(self.seat)
        self._resend()

    def _caught_up(self, seat: Seat) -> None:
        if self._resumed is not None and seat.position >= self._tail:
            self._crew.spent("caught up", self._resumed)
            self._resumed = None

    def _ops(self, payload: dict[str, Any]) -> None:
        if self.seat is None:
            return
        member, crew = self.member, self._crew
        now = crew.clock()
        for dot in self.seat.ops(payload["from"], payload["to"], payload["records"]):
            intended = member.intended(dot)
            if intended is not None:
                crew.recorder.record(member.delivery, now - intended)
        self._caught_up(self.seat)

    async def _refresh(self) -> None:
        body = {"refresh_token": self.way.refresh}
        try:
            async with self._crew.http.post("/auth/refresh", json=body) as response:
                response.raise_for_status()
                session = await response.json()
        except (aiohttp.ClientError, TimeoutError):
            self._crew.totals.failures["not refreshed"] += 1
            return
        self.way = Pass(self.way.device, session["access_token"], session["refresh_token"])
        if self.online and self._socket is not None:
            self._socket.emit("auth", {"token": self.way.token}, lambda _: None)

    # -- what goes ---------------------------------------------------------------------------------------

    def push(self, acts: Sequence[Act], operation: str, intended: float, done: Done | None = None) -> None:
        """Push ops, counted as `operation` from `intended` on; `done` is called when they are settled."""
        self.prepare(acts, operation, intended, done)()

    def prepare(
        self, acts: Sequence[Act], operation: str, intended: float, done: Done | None = None
    ) -> Callable[[], None]:
        """A push, written now and sent when what is returned is called, before any later one."""
        ops = self._write(acts, intended)
        sent = self._outbox[ops[0]["n"]] = Sent(ops, operation, intended, done)

        def send() -> None:
            if self.online and not self._held:
                self._send(sent)

        return send

    def _write(self, acts: Sequence[Act], intended: float) -> list[Op]:
        base = self.position if self.seat is None else self.seat.position
        ops = []
        for act in acts:
            op = {"n": self._next, "base": base, "kind": act.kind, "workout": act.workout, "value": act.value}
            op["at"] = act.at
            if act.entity is not None:
                op["entity"] = act.entity
            self.member.intends((self.way.device, self._next), intended)
            self._next += 1
            ops.append(op)
        return ops

    def tell(self, event: str, payload: dict[str, Any]) -> None:
        """Send an event that nobody answers."""
        if self.online and self._socket is not None:
            self._socket.emit(event, payload)

    def ask(self, event: str, payload: Any, answered: Callable[[Any], None]) -> None:
        """Send an event that has an ack."""
        if self.online and self._socket is not None:
            self._socket.emit(event, payload, answered)

    def _send(self, sent: Sent) -> None:
        assert self._socket is not None, "online"
        self._socket.emit("push", {"ops": sent.ops}, partial(self._answered, sent))

    def _answered(self, sent: Sent, answer: dict[str, Any]) -> None:
        if not answer["ok"]:
            self._refused(sent, answer)
            return
        results = answer["results"]
        if self.seat is not None:
            self.seat.acked(results)
        known = self._outbox.get(sent.ops[0]["n"]) is sent
        if not known:
            return  # it was sent twice, and the first answer has settled it
        for result in results:
            self._crew.totals.counts[result["verdict"]] += 1
        if len(results) < len(sent.ops):
            self._cut_short(sent, len(results))
            return
        self._settle(sent)

    def _settle(self, sent: Sent) -> None:
        del self._outbox[sent.ops[0]["n"]]
        self._crew.spent(sent.operation, sent.intended)
        if sent.done is not None:
            sent.done()

    def _cut_short(self, sent: Sent, taken: int) -> None:
        """A limit took the first ops only: the rest once more, in its place before all that follow."""
        rest = Sent(sent.ops[taken:], sent.operation, sent.intended, sent.done)
        self._outbox = {
            push.ops[0]["n"]: push for push in (rest if one is sent else one for one in self._outbox.values())
        }
        self._crew.totals.failures["refused: limit"] += 1
        self._hold(AGAIN_MS)

    def _refused(self, sent: Sent, answer: dict[str, Any]) -> None:
        code = answer["code"]
        if code == "gap" and self._held:
            return  # it follows one that was refused, and is sent again with it
        self._crew.totals.failed(f"refused: {code}", answer.get("message"))
        if code in AGAIN:
            self._hold(answer.get("retry_after_ms", AGAIN_MS))
        elif self._outbox.pop(sent.ops[0]["n"], None) is not None and sent.done is not None:
            sent.done()

    def _hold(self, ms: int) -> None:
        if not self._held:
            self._held = True
            asyncio.get_running_loop().call_later(ms / 1000, self._resend)

    def _resend(self) -> None:
        self._held = False
        if self.online:
            for sent in list(self._outbox.values()):
                self._send(sent)
