"""What a client may ask over its socket: one function per event, each decoding its payload strictly.

A request that can not be read or granted is answered with a code; the connection survives it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import Any

import orjson
import structlog

from fitai.gateways import meters
from fitai.gateways.groups import events as groups
from fitai.gateways.groups.rooms import Rooms
from fitai.gateways.identity import Authenticator, NotAuthenticated
from fitai.gateways.live import schemas
from fitai.gateways.live.connection import PENDING, Connection
from fitai.gateways.live.decoding import decode
from fitai.gateways.live.limits import LiveLimits
from fitai.persistence.database import Unavailable
from fitai.sync.wire import Refusal, decode_push, uuid_of

_log = structlog.get_logger(__name__)

JOIN_SCOPE = "sync:read"  # to be connected at all: whoever is hears what happens
SCOPES = {
    "push": "sync:write",
    "pull": "sync:read",
    "workout:get": "sync:read",
    "telemetry": "sync:write",
    "clock": JOIN_SCOPE,
    "auth": JOIN_SCOPE,
    **groups.SCOPES,
}
"""What a personal token has to be allowed to send an event. Who has signed in may send them all."""

_PUSHES = frozenset({"push", "group:push"})


class Events:
    """Handles the events of all connections; called with one event of a connection after another."""

    def __init__(
        self,
        authenticator: Authenticator,
        limits: LiveLimits,
        now_ms: Callable[[], int],
        rooms: Rooms | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._limits = limits
        self._now_ms = now_ms
        self._known: dict[str, groups.Handler] = {
            "push": self._push,
            "pull": self._pull,
            "workout:get": self._workout_get,
            "telemetry": self._telemetry,
            "clock": self._clock,
            "auth": self._auth,
        }
        if rooms is not None:
            self._known |= groups.GroupEvents(rooms).known
        assert self._known.keys() <= SCOPES.keys(), "each event has its scope"

    def handle(self, connection: Connection, event: str, args: list[Any], ack: int | None) -> Any:
        """The acknowledgement's payload, PENDING when it will leave at its place in the order, or a coroutine
        that returns one of the two."""
        known = self._known.get(event)
        try:
            self._allow(connection, event)
            if known is None:
                raise Refusal("bad_request", f"there is no event {event[:64]!r}")
            if not connection.identity.may(SCOPES[event]):
                _log.info("event_refused", live_event=event, code="forbidden")
                raise Refusal("forbidden", f"this token lacks the scope {SCOPES[event]}", scope=SCOPES[event])
            answer = known(connection, args[0] if args else None, ack)
            return self._awaited(answer) if isinstance(answer, CoroutineType) else answer
        except Refusal as refusal:
            if event in _PUSHES:
                meters.PUSHES_REFUSED.labels(refusal.code).inc()
            return refusal.answer()

    async def _awaited(self, answer: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await answer
        except Refusal as refusal:
            return refusal.answer()
        except Unavailable:
            return Refusal("later", "the log is out of reach", retry_after_ms=1000).answer()

    def _allow(self, connection: Connection, event: str) -> None:
        now = self._now_ms()
        if self._limits.rates and event != "push" and not connection.events.take(1, now):
            raise Refusal("later", "too many events", retry_after_ms=connection.events.wait_ms(now))

    def _push(self, connection: Connection, payload: Any, ack: int | None) -> Any:
        received = self._now_ms()
        push = decode_push(payload, self._limits.wire)
        if connection.pending >= self._limits.pushes_in_flight:
            raise Refusal("later", "too many pushes at once; wait for their answers", retry_after_ms=1000)
        connection.pending += 1
        connection.host.push(push, connection, ack, received)
        return PENDING

    async def _pull(self, connection: Connection, payload: Any, _: int | None) -> Any:
        ask = decode(payload, schemas.Pull)
        return await connection.host.page(ask.after, ask.limit or self._limits.pull_records)

    async def _workout_get(self, connection: Connection, payload: Any, _: int | None) -> Any:
        ask = decode(payload, schemas.WorkoutGet)
        found = await connection.host.state(uuid_of(ask.workout, "workout"))
        if found is None:
            raise Refusal("not_found", "there is no such workout")
        return {"ok": True, "seq": found.seq, "state": found.document}

    def _telemetry(self, connection: Connection, payload: Any, _: int | None) -> Any:
        tick = decode(payload, schemas.Telemetry)
        if len(orjson.dumps(payload)) > self._limits.telemetry_bytes:
            raise Refusal("too_large", f"at most {self._limits.telemetry_bytes} bytes")
        workout = uuid_of(tick.workout, "workout")
        connection.host.telemetry(connection, {**payload, "workout": workout})
        return {"ok": True}

    def _clock(self, connection: Connection, payload: Any, _: int | None) -> Any:
        return {"t0": decode(payload, schemas.Clock).t0, "t1": self._now_ms()}

    async def _auth(self, connection: Connection, payload: Any, _: int | None) -> Any:
        ask = decode(payload, schemas.Auth)
        try:
            identity = await self._authenticator.authenticate(ask.token)
        except NotAuthenticated as error:
            return {"ok": False, "code": error.code, "message": error.message}
        mine = connection.identity
        if (identity.user, identity.device) != (mine.user, mine.device):
            return {
                "ok": False,
                "code": "unauthorized",
                "message": "this token is another user's or device's",
            }
        connection.identity = identity  # of another sign-in, maybe
        connection.expires(identity.expires_at)
        return {"ok": True, "expires_at": identity.expires_at}
