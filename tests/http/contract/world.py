"""A server, people on it, and requests to it: what the tables of the contract are told with."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

from fitai.engine.groups.judgement import GroupLimits
from fitai.gateways.counts import MemoryCounts
from fitai.gateways.groups.limits import GroupBounds
from fitai.gateways.live.limits import LiveLimits
from fitai.http.frame import Route
from fitai.http.limits.rates import Rates
from fitai.persistence.personal_tokens import PersonalTokens
from tests.http.conftest import Api, Clock, MakeApi, Person

OPS = 12  # that a workout or a group takes, so that it is soon full
BODY_BYTES = 64 * 1024
BODY_S = 0.5
RATES = Rates()
NOWHERE = "198.51.100.0"  # an address that has had its share


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as it will be sent. `token` None: without one; `raw` is a body as it is."""

    path: str
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    raw: bytes | io.BytesIO | None = None

    def but(self, **changed: Any) -> Ask:
        return replace(self, **changed)

    def with_headers(self, **headers: str | None) -> Ask:
        """Other headers; None takes one away. `If_Match` is If-Match."""
        mine = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return replace(self, headers={name: value for name, value in mine.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Told:
    """What came back."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str | None:
        """The problem's code, None for none."""
        return self.body.get("code") if self.status >= 400 else None


Way = Callable[["World", Person], Awaitable[Ask]]


@dataclass
class World:
    """A running server with sockets, rates and small bounds; another on its database has no time at all."""

    api: Api
    hurried: Api
    counts: MemoryCounts
    numbers: Any = field(default_factory=itertools.count)

    @property
    def clock(self) -> Clock:
        return self.api.clock

    async def person(self, **device: Any) -> Person:
        return await self.api.register(**device)

    async def personal_token(self, person: Person, *scopes: str) -> str:
        """A token that the person has made for an integration."""
        async with self.api.db.write() as session:
            made = await PersonalTokens(session).create(
                person.id, name="integration", scopes=scopes, now=self.clock(), expires_at=None
            )
        return made.token

    async def send(self, route: Route, ask: Ask, api: Api | None = None) -> Told:
        """Send a request and read the answer, whatever it is."""
        headers = dict(ask.headers)
        if ask.token is not None:
            headers["Authorization"] = f"Bearer {ask.token}"
        raw = ask.raw
        if raw is None and ask.json is not None:
            raw = json.dumps(ask.json).encode()
            headers.setdefault("Content-Type", "application/json")
        client = (api or self.api).client
        async with client.request(route.method, ask.path, data=raw, headers=headers) as response:
            text = await response.text()
            body = json.loads(text) if response.content_type.endswith("json") else text
            return Told(response.status, body, dict(response.headers))

    async def trickle(self, route: Route, ask: Ask) -> Told:
        """Send a request whose body never comes whole."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.api.client.port)
        head = [f"{route.method} {ask.path} HTTP/1.1", "Host: x", "Content-Length: 100"]
        head += [f"{name}: {value}" for name, value in ask.headers.items()]
        head += [] if ask.token is None else [f"Authorization: Bearer {ask.token}"]
        writer.write("\r\n".join([*head, "Content-Type: application/json", "", "{"]).encode())
        async with asyncio.timeout(20):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            told = dict(line.split(": ", 1) for line in lines if line)
            body = json.loads(await reader.readexactly(int(told["Content-Length"])))
        writer.close()
        await writer.wait_closed()
        return Told(int(first.split()[1]), body, told)

    async def exhaust(self, kind: str) -> None:
        """NOWHERE has called routes of this class as often as it may."""
        item = RATES.of(kind, RATES.people)
        key = item.key_for(kind, "address", NOWHERE)
        expiry, amount = item.get_expiry(), item.amount
        await self.counts.ask(lambda s: s.acquire_sliding_window_entry(key, amount, expiry, amount))

    # -- what people have ------------------------------------------------------------------------------

    async def workout(self, person: Person, *, started: bool = False, sets: int = 0) -> dict[str, Any]:
        """A workout's state, with an exercise and so many sets."""
        state = await person.workout(title="Legs")
        path = f"/workouts/{state['id']}"
        if started:
            state = await person.post(f"{path}/start")
        if sets:
            state = await person.put(f"{path}/exercise/0", {"exercise": "squat"}, state["rev"])
        for n in range(sets):
            state = await person.put(f"{path}/set/{n}", {"reps": 5}, state["rev"])
        return state

    async def full(self, person: Person, workout: dict[str, Any]) -> int:
        """Write to a workout until it takes no more; returns its revision."""
        rev: int = workout["rev"]
        while True:
            ask = {"title": f"Legs {next(self.numbers)}"}
            answer = await person.call("PUT", f"/workouts/{workout['id']}", ask, If_Match=f'"{rev}"')
            if answer.code == "limit":
                return int((await person.call("GET", f"/workouts/{workout['id']}")).body["rev"])
            rev = answer.body["rev"]

    def op(self, n: int = 1, **more: Any) -> dict[str, Any]:
        """An op of a device, as it is pushed."""
        kind = {"kind": "workout.create", "workout": str(uuid.UUID(int=n)), "value": {"title": "Legs"}}
        return {"n": n, "base": 0, "at": 1_767_225_600_000, **kind, **more}


async def open_world(make_api: MakeApi) -> World:
    """A world of its own."""
    clock = Clock()
    counts = MemoryCounts(clock)
    limits = LiveLimits(ops_per_workout=OPS)
    bounds = GroupBounds(rules=GroupLimits(ops=OPS))
    api = await make_api(
        live=True,
        limits=limits,
        bounds_of_groups=bounds,
        counts=counts,
        rates=RATES,
        body_bytes=BODY_BYTES,
        body_s=BODY_S,
        clock=clock,
        trusted_proxies=[ip_network("127.0.0.0/8")],
    )
    hurried = await make_api(answer_s=1e-9, clock=clock)
    return World(api, hurried, counts)
