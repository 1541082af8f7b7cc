"""A stand-in that has one group: it tells ticks, and gets wrong what it is told to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from fitai.bench import wire
from fitai.engine.groups import ticks
from tests.bench.standin import StandIn, listening

TICK_S = 0.05


class GroupStandIn(StandIn):
    """The newest group is the only one; members are numbered as they join. `deaf` is the place among the
    sockets of one that is told no tick any more from the third with a set on; `mute` are cheers that are not
    told; `combine` lets the first socket be told two ticks as one, always; `forget` is a record of
    the group's stream that is told to nobody."""

    def __init__(
        self, *, deaf: int | None = None, mute: int = 0, combine: bool = False, forget: int = 0
    ) -> None:
        super().__init__()
        self.deaf = deaf
        self.mute = mute
        self.combine = combine
        self.forget = forget
        self.head = 2
        self.ticks = 0
        self.told_sets = 0
        self.members: dict[str, int] = {}
        self.seats: list[web.WebSocketResponse] = []
        self.view: dict[int, dict[str, Any]] = {}
        self.before: dict[int, dict[str, Any]] = {}
        self.cheers: Counter[tuple[int, str]] = Counter()
        self.waiting: dict[str, Any] | None = None

    def routes(self) -> list[web.RouteDef]:
        rest = [web.post("/groups", self._create), web.route("*", "/groups/{id}/{act}", self._act)]
        return [*super().routes(), *rest]

    async def _create(self, request: web.Request) -> web.Response:
        self.head = 2
        self.members, self.view, self.before = {}, {}, {}
        return web.json_response({"id": "g", "code": "ABC"}, status=201)

    async def _act(self, request: web.Request) -> web.Response:
        if request.match_info["act"] == "start":
            await self._record()
        return web.json_response({})

    async def _record(self) -> None:
        self.head += 1
        if self.head == self.forget:
            return
        records = [{"seq": self.head, "device": 99, "n": self.head}]
        payload = {"group": "g", "epoch": "e", "from": self.head, "to": self.head, "records": records}
        for seat in self.seats:
            await self.send(seat, wire.EVENT, ["group:ops", payload])

    async def event(self, socket: web.WebSocketResponse, user: str, device: int, packet: wire.Packet) -> None:
        name, payload = packet.data
        if name == "group:join":
            await self._join(socket, user, packet)
        elif name == "group:leave":
            self.seats.remove(socket)
            await self.send(socket, wire.ACK, [{"ok": True}], packet.ack)
        elif name == "group:cheer":
            self.cheers[payload.get("to", 0), payload["kind"]] += 1
        elif name == "telemetry":
            self._fields(user)["hr"] = payload["hr"]
        else:
            await super().event(socket, user, device, packet)
            for op in payload["ops"]:
                if op["kind"] == "set.log":
                    self._set(user, op["value"])

    async def _join(self, socket: web.WebSocketResponse, user: str, packet: wire.Packet) -> None:
        await self._record()
        no = self.members[user] = len(self.members) + 1
        view = {str(other): fields for other, fields in self.before.items()}
        answer = {"ok": True, "group": "g", "member": no, "device": no, "head": self.head, "view": view}
        await self.send(socket, wire.ACK, [answer], packet.ack)
        self.seats.append(socket)
        self.view[no] = {"here": True, "amount": 0}

    def _fields(self, user: str) -> dict[str, Any]:
        no = self.members[user]
        self.view[no] = dict(self.view[no])
        return self.view[no]

    def _set(self, user: str, value: dict[str, Any]) -> None:
        fields = self._fields(user)
        fields["sets"] = fields.get("sets", 0) + 1
        fields["reps"] = fields["amount"] = fields.get("reps", 0) + value["reps"]
        load = round(value["load"]["value"] * 1e9)
        fields["volume_ug"] = fields.get("volume_ug", 0) + load * value["reps"]
        fields["last"] = {"exercise": "squat", **{key: value[key] for key in ("reps", "load", "rpe")}}
        for other in self.view:
            amount = self.view[other]["amount"]
            if amount:
                rank = 1 + sum(one["amount"] > amount for one in self.view.values())
                self.view[other] = {**self.view[other], "rank": rank}

    async def tick(self) -> None:
        """Tell what changed."""
        change, self.before = ticks.changes(self.before, self.view), dict(self.view)
        cheers: dict[str, dict[str, int]] = {}
        for (to, kind), count in self.cheers.items():
            if self.mute:
                self.mute -= 1
            else:
                cheers.setdefault(str(to), {})[kind] = count
        self.cheers.clear()
        if not change and not cheers:
            if self.waiting is not None:
                last, self.waiting = self.waiting, None
                await self.send(self.seats[0], wire.EVENT, ["group:tick", last])
            return
        self.ticks += 1
        self.told_sets += any("sets" in fields for fields in change.values())
        members = {str(no): fields for no, fields in change.items()}
        payload = {"group": "g", "at": 1, "members": members, "cheers": cheers}
        for place, seat in enumerate(self.seats):
            if place == self.deaf and self.told_sets >= 3:
                continue
            told = self._combined(payload) if self.combine and place == 0 else payload
            if told is not None:
                await self.send(seat, wire.EVENT, ["group:tick", told])

    def _combined(self, payload: dict[str, Any]) -> dict[str, Any] | None:
        if self.waiting is None:
            self.waiting = payload
            return None
        first, self.waiting = self.waiting, None
        return {
            **payload,
            "members": ticks.combine(first["members"], payload["members"]),
            "cheers": ticks.cheered(first["cheers"], payload["cheers"]),
        }


@asynccontextmanager
async def standing_in_for_a_group(**does: Any) -> AsyncIterator[GroupStandIn]:
    """A stand-in that listens and ticks."""
    async with listening(GroupStandIn(**does)) as server:

        async def tick() -> None:
            while True:
                await asyncio.sleep(TICK_S)
                await server.tick()

        ticking = asyncio.ensure_future(tick())
        try:
            yield server
        finally:
            ticking.cancel()
