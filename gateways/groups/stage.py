"""The stage of a room: what is derived of a group, live, and never in a log.

Who is here, how far each is, who is ahead, cheers and telemetry: folded into one `group:tick` per node and
group, at most four a second, with only what changed.

    seats ──────▶ presence ─┐                        ┌─▶ ticker ──▶ group:tick to the seats
    workouts ───▶ watches ──┼─▶ scene: views of the ─┤
    other nodes ▶ cheers … ─┘   members who changed  └─▶ one word a turn to the other nodes (kind `live`)

One timer serves all of it. On it hangs as well what is due in the group when nobody does it (`duties`):
another host, the final table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from fitai.engine.groups.ticks import Fields
from fitai.engine.ops import Record
from fitai.gateways.groups import results
from fitai.gateways.groups.cheers import Cheers
from fitai.gateways.groups.duties import Duties
from fitai.gateways.groups.presence import WORD_MS, Presence
from fitai.gateways.groups.scene import Scene, concerned
from fitai.gateways.groups.ticker import Ticker
from fitai.gateways.groups.watches import Watches
from fitai.persistence.group_results import Result
from fitai.sync.wire import Refusal

if TYPE_CHECKING:
    from fitai.gateways.groups.room import Room
    from fitai.gateways.groups.seat import Seat

TICK_MS: Final = 250
ASK_MS: Final = 1_000  # how often another node is asked who is there, when something it said is missing


class Stage:
    """The derived side of one room on this node."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._hosts = room.hosts
        now = room.now_ms()
        self.presence = Presence(
            next(self._hosts.words), int(self._hosts.limits.presence_grace_s * 1000), now
        )
        self.watches = Watches(self._hosts, self._moved, self._measured)
        self.scene = Scene(self.watches.workout, room.body, self.presence.is_here)
        self.ticker = Ticker(room.id)
        self.cheers = Cheers(self._hosts.limits.rates)
        self.duties = Duties(room, self.presence)
        self._following = False
        self._closed = False
        self._ticked_at = now - TICK_MS
        self._turned_at = now
        self._asked_at = now - ASK_MS
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0

    # -- seats -------------------------------------------------------------------------------------

    def joined(self, seat: Seat) -> None:
        """A connection took its seat: from now on it is told ticks."""
        now = self._room.now_ms()
        if not self._following:
            self._begin(now)
        self.presence.joined(seat.member, now)
        self._soon()

    def view(self, seat: Seat) -> dict[str, Fields]:
        """All that a seat is shown now, whole, by number; ticks go on from it."""
        if self._is_time(self._room.now_ms()):
            self._turn()
        return self.ticker.begin(seat, frozenset(self._room.hidden(seat.member)))

    def left(self, seat: Seat) -> None:
        """A connection's seat is empty."""
        self.ticker.end(seat)
        self.presence.left(seat.member, self._room.now_ms())
        self._soon()

    def cheer(self, seat: Seat, to: int | None, kind: str) -> None:
        """Count a cheer; it is told with the next tick. Raises Refusal."""
        member = None if to is None else self._room.group.members.get(to)
        if to is not None and (member is None or not member.here or to in self._room.hidden(seat.member)):
            raise Refusal("not_found", "there is no such member")
        self.cheers.count(seat.member, to, kind, self._room.now_ms())
        self._soon()

    # -- the log -----------------------------------------------------------------------------------

    def changed(self, records: Sequence[Record]) -> None:
        """These records are in the group's log, by whomever; `room.group` holds them."""
        g = self._room.group
        members = concerned(g, records)
        if members and self._following:
            self.scene.moved(members)
            self._follow(members)
        self._soon()

    def weighed(self, members: Iterable[int]) -> None:
        """These tell something else of their bodies than before."""
        for no in members:
            self._moved(no)

    def hide(self, member: int) -> None:
        """Others than before are hidden from a member: somebody blocked somebody, or does no longer."""
        hidden = frozenset(self._room.hidden(member))
        for seat in self._room.seats.values():
            if seat.member == member:
                self.ticker.hide(seat, hidden, self._room.now_ms())

    def tick(self) -> None:
        """The clock moved the machine, or a deadline of the group has come."""
        self._turn()

    async def results(self) -> list[Result]:
        """The final table, see `fitai.gateways.groups.results`."""
        return await results.results(self._room)

    # -- presence ----------------------------------------------------------------------------------

    def present(self) -> Mapping[int, int]:
        """Since when each member is connected, on any node, Unix ms."""
        return self.presence.present()

    @property
    def busy(self) -> bool:
        """Somebody is connected here, or something is still to be done."""
        return self.presence.busy or self.duties.busy

    # -- other nodes -------------------------------------------------------------------------------

    def heard(self, message: Mapping[str, Any]) -> None:
        """Another node's stage of this room says something (kind `live`)."""
        node, now = message["node"], self._room.now_ms()
        if node == self._hosts.node:
            return
        self._hosts.heard(node)
        if message.get("ask") and self._following:
            self._tell(self.presence.whole(now))
        if "word" in message and not self.presence.heard(node, message["word"], now):
            self._ask(now)
        if self._following:
            self.cheers.heard(message.get("cheers", ()))
            self._soon()

    def lost(self, node: str) -> None:
        """Another node is no more."""
        self.presence.lost(node, self._room.now_ms())
        self._soon()

    def anew(self) -> None:
        """This node may have missed anything: nobody's silence means something, and all are asked."""
        now = self._room.now_ms()
        self.presence.was_away(now)
        if self._following:
            self._tell(self.presence.whole(now))
            self._ask(now)

    def _ask(self, now: int) -> None:
        if not 0 <= now - self._asked_at < ASK_MS:
            self._asked_at = now
            self._room.hints.tell("live", ask=True)

    def _tell(self, word: Mapping[str, Any]) -> None:
        self._room.hints.tell("live", word=word, cheers=self.cheers.told())

    # -- coming and going --------------------------------------------------------------------------

    def _begin(self, now: int) -> None:
        """Somebody is here: follow everybody, and hear who is elsewhere."""
        self._following = True
        self._turned_at = now
        self.scene.moved(self._room.group.members)
        self._follow(self._room.group.members)
        self._ask(now)

    def _rest(self, now: int) -> None:
        """Nobody is here any more."""
        self._following = False
        self._tell(self.presence.farewell(now))
        for no in self._room.group.members:
            self.watches.follow(no, None, None)

    def close(self) -> None:
        """No more of this."""
        if self._following:
            self._tell(self.presence.farewell(self._room.now_ms()))
        self._following, self._closed = False, True
        self.watches.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def quiet(self) -> None:
        """After `close`: return when no question is under way any more."""
        await self.watches.quiet()
        await self.duties.quiet()

    def _follow(self, members: Iterable[int]) -> None:
        users, g = self._room.users, self._room.group
        for no in members:
            member = g.members.get(no)
            if member is not None:
                seen = member.role != "stranger" or member.gone == "left"
                self.watches.follow(no, users.get(no) if seen else None, member.workout)

    def _moved(self, member: int) -> None:
        """A member's workout has changed, or their body."""
        self.scene.moved((member,))
        self.duties.moved(self._room.now_ms())
        self._soon()

    def _measured(self, member: int, payload: Mapping[str, Any]) -> None:
        """A member's newest measurements."""
        of = self._room.group.members.get(member)
        if of is not None and self.scene.measured(of, payload, self._room.now_ms()):
            self._soon()

    # -- the timer ---------------------------------------------------------------------------------

    def _soon(self) -> None:
        """Something is to be told: at once after a quiet moment, else when the next tick is due."""
        self._wake(self._ticked_at + TICK_MS)

    def _wake(self, at: int) -> None:
        """Take a turn at `at`, Unix ms, or before."""
        if self._closed or (self._timer is not None and self._timer_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        wait_ms = min(max(0, at - self._room.now_ms()), WORD_MS)  # the clock may be set
        self._timer_at = at
        self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._turn)

    def _is_time(self, now: int) -> bool:
        return not 0 <= now - self._ticked_at < TICK_MS

    def _turn(self) -> None:
        """Do all that is due."""
        if self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._room.now_ms()
        try:
            self._do(now)
        finally:
            self._arm(now)

    def _do(self, now: int) -> None:
        if now - self._turned_at > 2 * WORD_MS:
            self.presence.was_away(now)  # this node was paused
        self._turned_at = now
        self.presence.pass_time(now)
        self.scene.pass_time(now)
        if self._following and self._is_time(now):
            self._tick(now)
        self.duties.turn(now)
        if self._following and not self.presence.busy:
            self._rest(now)

    def _tick(self, now: int) -> None:
        """Tell the seats and the other nodes what is new."""
        self._ticked_at = now
        self.scene.touched(self.presence.changed)
        self.presence.changed.clear()
        self.ticker.tick(self.scene.refresh(self._room.group), self.cheers.taken(), now)
        if self.presence.news or self.cheers.news or now >= self.presence.word_at():
            self._tell(self.presence.word(now))

    def _arm(self, now: int) -> None:
        """Take the next turn when something is due next."""
        moments = [self.duties.due_at(now)]
        if self._following:
            moments += [self.presence.due_at(), self.presence.word_at(), self.scene.due_at()]
            if self.scene.stale or self.cheers or self.presence.changed or self.ticker.behind:
                moments.append(self._ticked_at + TICK_MS)
        known = [at for at in moments if at is not None]
        if known:
            self._wake(min(known))
