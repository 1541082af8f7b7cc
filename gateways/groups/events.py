"""What a client may ask of groups over its socket: one function per event, each decoding its payload
strictly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fitai.engine.ops import Dot
from fitai.gateways.groups import schemas
from fitai.gateways.groups.jobs import JOIN_SCOPE
from fitai.gateways.groups.reports import report
from fitai.gateways.groups.rooms import Rooms
from fitai.gateways.groups.seat import Seat
from fitai.gateways.live.connection import PENDING, Connection
from fitai.gateways.live.decoding import decode
from fitai.sync.wire import Refusal, decode_push, uuid_of

READ_SCOPE = "groups:read"

SCOPES = {
    "group:join": READ_SCOPE,  # who is a member; to become one asks for JOIN_SCOPE
    "group:push": JOIN_SCOPE,
    "group:pull": READ_SCOPE,
    "group:leave": JOIN_SCOPE,
    "group:cheer": JOIN_SCOPE,
    "group:report": JOIN_SCOPE,
}
"""What a personal token has to be allowed to send an event of groups."""

Handler = Callable[[Connection, Any, int | None], Any]


class GroupEvents:
    """Handles the events of groups of all connections."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self.known: Mapping[str, Handler] = {
            "group:join": self._join,
            "group:push": self._push,
            "group:pull": self._pull,
            "group:leave": self._leave,
            "group:cheer": self._cheer,
            "group:report": self._report,
        }

    async def _join(self, connection: Connection, payload: Any, ack: int | None) -> Any:
        ask = decode(payload, schemas.GroupJoin)
        room = await self._rooms.enter(ask, connection.identity, connection.address)
        seats = connection.seats or {}
        most = self._rooms.bounds.rooms_per_connection
        if room.id not in seats and len(seats) >= most:
            raise Refusal("too_many", f"at most {most} rooms on one connection", max=most)
        await room.enter(connection, ask, ack)
        return PENDING

    def _push(self, connection: Connection, payload: Any, ack: int | None) -> Any:
        seat = _seat(connection, payload)
        limits = self._rooms.hosts.limits
        push = decode_push(_of_group(payload, seat.room.id), limits.wire)
        if seat.pending >= limits.pushes_in_flight:
            raise Refusal("later", "too many pushes at once; wait for their answers", retry_after_ms=1000)
        seat.room.push(push, seat, ack)
        return PENDING

    async def _pull(self, connection: Connection, payload: Any, _: int | None) -> Any:
        ask = decode(payload, schemas.GroupPull)
        seat = _seat(connection, payload)
        return await seat.room.page(seat.room.group.members[seat.member], ask.after, ask.limit)

    def _leave(self, connection: Connection, payload: Any, _: int | None) -> Awaitable[Any] | dict[str, Any]:
        ask = decode(payload, schemas.GroupLeave)
        seat = _seat(connection, payload)
        if not ask.stay:
            return seat.room.leave(seat)
        seat.leave()
        return {"ok": True, "next_n": seat.room.position(seat.device).next_n}

    def _cheer(self, connection: Connection, payload: Any, _: int | None) -> Any:
        ask = decode(payload, schemas.GroupCheer)
        seat = _seat(connection, payload)
        seat.room.stage.cheer(seat, ask.to, ask.kind)
        return {"ok": True}

    async def _report(self, connection: Connection, payload: Any, _: int | None) -> Any:
        ask = decode(payload, schemas.GroupReport)
        seat = _seat(connection, payload)
        await report(
            self._rooms.hosts.db,
            seat.room.group,
            seat.room.stream,
            user=connection.identity.user,
            member=seat.member,
            dot=Dot(*ask.dot),
            reason=ask.reason,
            now=self._rooms.hosts.now_ms(),
        )
        return {"ok": True}


def _seat(connection: Connection, payload: Any) -> Seat:
    """The seat in the group that a payload names; raises Refusal."""
    group = payload.get("group") if isinstance(payload, dict) else None
    if not isinstance(group, str):
        raise Refusal("bad_request", "name the group in `group`")
    seat = (connection.seats or {}).get(uuid_of(group, "group"))
    if seat is None:
        raise Refusal("not_joined", "join the group on this connection first")
    return seat


def _of_group(payload: dict[str, Any], group: str) -> dict[str, Any]:
    """The payload as that of a push to a stream in which the group is the only workout."""
    ops = payload.get("ops")
    if not isinstance(ops, list):
        return payload
    return {**payload, "ops": [{**op, "workout": group} if isinstance(op, dict) else op for op in ops]}
