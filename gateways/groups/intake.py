"""What a room takes in of a push: at the pace that its author may keep, and past moderation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from fitai.engine.ops import Op
from fitai.gateways.groups.limits import Pace
from fitai.sync.wire import Push, Refusal

if TYPE_CHECKING:
    from fitai.gateways.groups.room import Room
    from fitai.gateways.groups.rooms import Rooms
    from fitai.gateways.groups.seat import Seat

MESSAGE: Final = 500  # characters of a message that can stand


class Intake:
    """The intake of one room."""

    def __init__(self, room: Room, rooms: Rooms) -> None:
        self._room = room
        self._rooms = rooms
        self._pace = Pace(rooms.bounds)

    # -- pace --------------------------------------------------------------------------------------

    def ops(self, device: int, wanted: int) -> int:
        """How many of `wanted` ops a device may write now; they count as written."""
        if not self._room.limits.rates:
            return wanted
        now = self._room.now_ms()
        return self._pace.ops(device, now).take(wanted, now)

    def wait_ms(self, device: int) -> int:
        """Milliseconds until a device may write again."""
        now = self._room.now_ms()
        return self._pace.ops(device, now).wait_ms(now)

    def charge(self, device: int) -> None:
        """A device has written an op without asking here."""
        now = self._room.now_ms()
        self._pace.ops(device, now).charge(1, now)

    def paced(self, push: Push, seat: Seat) -> Push:
        """A push up to the first new message that is one too many; raises Refusal where that is the first
        op."""
        first = self._room.position(seat.device).next_n
        messages = [op.n for op in push.ops if op.kind == "chat.say" and op.n >= first]
        if not messages or not self._room.limits.rates:
            return push
        now = self._room.now_ms()
        bucket = self._pace.chat(seat.member, now)
        may = bucket.take(len(messages), now)
        if may == len(messages):
            return push
        ops = [op for op in push.ops if op.n < messages[may]]
        if not ops:
            raise Refusal("later", "too many messages", retry_after_ms=bucket.wait_ms(now))
        return push._replace(ops=ops)

    def forget(self) -> None:
        """Let go of those who wrote nothing lately."""
        self._pace.forget(self._room.now_ms())

    # -- moderation --------------------------------------------------------------------------------

    def reviews(self, push: Push, seat: Seat) -> bool:
        """Whether moderation has to look at something in it first."""
        return self._rooms.moderated and bool(self._texts(push, seat))

    async def review(self, push: Push, seat: Seat) -> tuple[dict[int, str], dict[int, str]]:
        """What moderation says of a push's messages: those that are held, those that are dropped."""
        texts = self._texts(push, seat)
        asked = [self._rooms.moderation.review(self._room.id, seat.member, text) for text in texts.values()]
        reviews = dict(zip(texts, await asyncio.gather(*asked), strict=True))
        held = {n: review.reason or "held" for n, review in reviews.items() if review.action == "hold"}
        return held, {n: review.reason or "" for n, review in reviews.items() if review.action == "drop"}

    def _texts(self, push: Push, seat: Seat) -> dict[int, str]:
        """The messages that are new, by counter."""
        first = self._room.position(seat.device).next_n
        return {op.n: text for op in push.ops if op.n >= first and (text := _said(op)) is not None}


def _said(op: Op) -> str | None:
    """The text of a message that could stand."""
    text = op.value.get("text") if op.kind == "chat.say" else None
    return text if isinstance(text, str) and 0 < len(text) <= MESSAGE else None
