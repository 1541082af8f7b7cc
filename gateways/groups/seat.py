"""A seat: one connection in one group's room, with its place in the group's stream.

What it is told, and in which order, is as on a connection for its user's stream
(`fitai.gateways.live.reader`). A device has one seat in a room, on each of its connections; phone and watch
are seats of one member."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from fitai.gateways.identity import Identity
from fitai.gateways.live.frames import Frame, OpsFrame
from fitai.gateways.live.outbox import LOW
from fitai.gateways.live.reader import Page, Reader
from fitai.gateways.tasks import spawn
from fitai.sync.wire import Push

if TYPE_CHECKING:
    from fitai.gateways.groups.room import Room
    from fitai.gateways.live.connection import Connection


class GroupOpsFrame(OpsFrame):
    """The `group:ops` event for a run of records."""

    __slots__ = ()

    def __init__(self, group: str, epoch: str, first: int, last: int, records: list[dict[str, Any]]) -> None:
        payload = {"group": group, "epoch": epoch, "from": first, "to": last, "records": records}
        Frame.__init__(self, "group:ops", payload)
        self.first = first
        self.last = last


class Seat(Reader):
    """Made by a room, when a connection enters. `member` and `device` are numbers of the group's stream."""

    __slots__ = ("_line", "connection", "device", "member", "room")

    def __init__(self, room: Room, connection: Connection, member: int, device: int) -> None:
        super().__init__()
        self.room = room
        self.connection = connection
        self.member = member
        self.device = device
        self._line: deque[tuple[Push, int | None]] | None = None  # pushes that wait for moderation

    @property
    def identity(self) -> Identity:
        """Whose connection it is."""
        return self.connection.identity

    def push(self, push: Push, ack: int | None) -> None:
        """Append ops, in the order in which they came: a message that has to be looked at keeps those that
        come after it waiting, of this seat only."""
        if self._line is not None:
            self._line.append((push, ack))
        elif self.room.intake.reviews(push, self):
            self._line = deque([(push, ack)])
            spawn("groups.review", self._review())
        else:
            self.room.append(push, self, ack)

    async def _review(self) -> None:
        while self._line:
            push, ack = self._line[0]
            held, dropped = await self.room.intake.review(push, self)
            self.room.append(push, self, ack, held, dropped)
            self._line.popleft()
        self._line = None

    def leave(self) -> None:
        """Nothing more is told here; what waits for its place in the order is answered without it."""
        if self.closed:
            return
        self.closed = True
        for _, _, answer, ack in self._settling:
            self.answer(ack, answer)
        for _, answer, ack in self._retries:
            self.answer(ack, answer)
        self._settling, self._retries = [], []
        self.room.left(self)

    # -- as a reader -------------------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        self.connection.send(frame)

    def answer(self, ack: int | None, payload: Any) -> None:
        self.connection.answer(ack, payload)

    def settle(self, ack: int | None, answer: dict[str, Any], first: int, last: int) -> None:
        if self.closed:
            self.refuse(ack, answer)
        else:
            super().settle(ack, answer, first, last)

    def settle_retry(self, ack: int | None, answer: dict[str, Any], last: int) -> None:
        if self.closed:
            self.refuse(ack, answer)
        else:
            super().settle_retry(ack, answer, last)

    @property
    def ready(self) -> bool:
        """The client has taken most of what was sent: it may be told a tick."""
        return self.connection.ready

    def slow(self) -> None:
        """It has taken nothing for so long that it has to begin anew."""
        self.connection.bye("slow")

    async def drained(self) -> None:
        await self.connection.drained()

    def _head(self) -> int:
        return self.room.head

    def _frame(self, first: int, last: int, records: list[dict[str, Any]]) -> OpsFrame:
        return GroupOpsFrame(self.room.id, self.room.epoch, first, last, records)

    async def _read(self, after: int, limit: int) -> Page:
        return await self.room.read(self.member, after, limit, LOW)

    def _lost(self) -> None:
        self.connection.bye("overload")
