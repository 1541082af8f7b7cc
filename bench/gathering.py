"""A group of the load: its members' connections, what they are told of it, and what that took."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

from fitai.bench import growth
from fitai.bench.crew import Crew, Member
from fitai.bench.device import Device
from fitai.bench.ledger import Ledger, Seat
from fitai.bench.scenarios.base import AT_ONCE, gather
from fitai.bench.shown import Expected, Receivers, Shown

RACE = {"type": "race", "measure": {"of": "reps"}, "limit_ms": 3_600_000}
START_MS = 1_000  # of countdown, the shortest
ASK_S = 30.0
EXACT = 50  # receivers at most that record how long each change took; all do, how long the oldest of a tick
HEARTS = (60, 200)


class Gathering:
    """One group, from its first member to its end. `counts` are those of a `growth.Stretch`."""

    def __init__(self, crew: Crew, size: int) -> None:
        self.crew = crew
        self.size = size
        self.id = ""
        self.expected = Expected()
        self.receivers = Receivers(self.expected.tells)
        self.ledger = Ledger()
        self.counts: Counter[str] = Counter()
        self.joined_s = 0.0
        self.participants = [
            Participant(self, member, exact=place % -(-size // EXACT) == 0)
            for place, member in enumerate(crew.members[:size])
        ]
        self.names = {what: growth.operation(what, size) for what in ("heart", "set", "oldest")}

    async def create(self) -> str:
        """The first member makes the group, over REST, and shows everything as those who join do; its
        code."""
        made = await self._ask("POST", "/groups", {"title": "Bench", "format": RACE, "capacity": self.size})
        self.id = made["id"]
        await self._ask("PATCH", f"/groups/{self.id}/you", self.participants[0].shows)
        code: str = made["code"]
        return code

    async def join(self, code: str) -> None:
        """Everybody joins, `AT_ONCE` on the way."""
        began = self.crew.clock()
        await gather([partial(one.join, code) for one in self.participants], AT_ONCE)
        self.joined_s = self.crew.clock() - began

    async def start(self) -> None:
        """The race begins; returns when it has."""
        await self._ask("POST", f"/groups/{self.id}/start", {"in_ms": START_MS})
        await asyncio.sleep(START_MS / 1000 + 0.2)
        for one in self.participants:
            one.shown = self.receivers.again(one.shown)

    async def end(self) -> None:
        """The race is over; everybody closes the room."""
        await self._ask("POST", f"/groups/{self.id}/finish", {})
        await asyncio.gather(*(one.leave() for one in self.participants))

    async def _ask(self, method: str, path: str, body: dict[str, Any]) -> Any:
        header = self.participants[0].member.header()
        async with self.crew.http.request(method, path, json=body, headers=header) as response:
            if not response.ok:
                raise RuntimeError(f"{method} {path} was answered {response.status}: {await response.text()}")
            return await response.json()

    @property
    def received(self) -> int:
        """Bytes that came to all participants so far."""
        return sum(one.device.received for one in self.participants)

    @property
    def unsettled(self) -> bool:
        """Somebody has not been told everything."""
        return self.ledger.behind > 0 or any(self._wrong().values())

    def check(self) -> None:
        """Take what the control finds into the totals."""
        totals = self.crew.totals
        self.ledger.close()
        totals.failures.update({kind: n for kind, n in self.ledger.failures.items() if n})
        totals.counts["checked"] += self.ledger.told
        wrong = self._wrong()
        for one in self.participants:
            if why := wrong[one.shown]:
                totals.failed("shown wrong", f"to {one.no}: {why}")
        totals.counts["views checked"] += len(self.participants)

    def _wrong(self) -> dict[Shown, str]:
        """By what the participants were shown: the first thing in it that is wrong, else ''."""
        return {
            shown: next(self.expected.wrong(shown), "") for shown in {one.shown for one in self.participants}
        }


class Participant:
    """A member of the group, as their connection knows it."""

    def __init__(self, gathering: Gathering, member: Member, *, exact: bool) -> None:
        self.member = member
        self.device: Device = member.devices[0]
        self.no = 0
        self.shown = Shown({}, {})
        self._gathering = gathering
        self._exact = exact
        self._seat: Seat | None = None
        self._beats = 0

    @property
    def shows(self) -> dict[str, Any]:
        """What they show: everything of their present workout."""
        return {"share": "everything", "workout": self.member.lifter.workout}

    async def join(self, code: str) -> None:
        """Join by a code."""
        await self._ask("group:join", {"code": code, **self.shows}, self._joined)

    async def leave(self) -> None:
        """Close the room, and stay a member."""
        await self._ask("group:leave", {"group": self._gathering.id, "stay": True}, lambda _: None)
        self.device.others.clear()

    def _joined(self, answer: dict[str, Any]) -> None:
        # Within the ack, before the next frame: what follows goes on from here.
        gathering = self._gathering
        self.no = answer["member"]
        self._seat = gathering.ledger.sit(answer["device"], answer["head"])
        self.shown = gathering.receivers.begin(answer["view"])
        gathering.expected.joined(self.no)
        self.device.others.update({"group:tick": self._tick, "group:ops": self._ops})

    async def _ask(self, event: str, payload: Any, answered: Any) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def take(answer: dict[str, Any]) -> None:
            if answer["ok"]:
                answered(answer)
                done.set_result(None)
            else:
                done.set_exception(RuntimeError(f"{event} was refused: {answer['code']}"))

        self.device.ask(event, payload, take)
        async with asyncio.timeout(ASK_S):
            await done

    # -- what goes ---------------------------------------------------------------------------------------

    def log_set(self, intended: float, done: Any) -> None:
        """The next set of their workout."""
        gathering, member = self._gathering, self.member
        act = member.lifter.log_set(gathering.crew.now_ms())
        gathering.expected.logged(self.no, act.value, intended)
        gathering.counts["sent"] += 1
        self.device.push([act], f"set, {gathering.size} participants", intended, done)

    def beat(self, intended: float) -> None:
        """A heart rate, another one than the last."""
        gathering = self._gathering
        rate = HEARTS[0] + self._beats % (HEARTS[1] - HEARTS[0])
        self._beats += 1
        gathering.expected.beat(self.no, rate, intended)
        gathering.counts["sent"] += 1
        self.device.tell("telemetry", {"workout": self.member.lifter.workout, "hr": rate})

    def cheer(self, kind: str, to: int | None) -> None:
        """A cheer for another one, or for all."""
        gathering = self._gathering
        cheer = {"group": gathering.id, "kind": kind}
        gathering.expected.cheered(to or 0, kind)
        gathering.counts["sent"] += 1
        self.device.tell("group:cheer", cheer if to is None else {**cheer, "to": to})

    # -- what comes --------------------------------------------------------------------------------------

    def _tick(self, tick: dict[str, Any]) -> None:
        gathering, crew = self._gathering, self._gathering.crew
        step = gathering.receivers.after(self.shown, tick)
        self.shown = step.shown
        counts = gathering.counts
        counts["ticks"] += 1
        counts["tick_bytes"] += len(self.member.memory.frame)
        counts["fields"] += step.fields
        if step.oldest is None:
            return
        now = crew.clock()
        crew.recorder.record(gathering.names["oldest"], now - step.oldest)
        if self._exact:
            for what, intended in step.news:
                crew.recorder.record(gathering.names[what], now - intended)

    def _ops(self, payload: dict[str, Any]) -> None:
        assert self._seat is not None, "joined"
        self._seat.ops(payload["from"], payload["to"], payload["records"])
