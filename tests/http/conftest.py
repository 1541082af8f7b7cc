"""The whole REST surface on real parts: SQLite, session hosts, an in-memory bus, and a clock that is told."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from argon2 import PasswordHasher
from multidict import CIMultiDict

from fitai.gateways.bus.contract import Message
from fitai.gateways.bus.memory import MemoryBus
from fitai.gateways.bus.topics import user_topic
from fitai.gateways.groups.codes import Codes
from fitai.gateways.groups.limits import GroupBounds
from fitai.gateways.groups.moderation import Unmoderated
from fitai.gateways.groups.rooms import Rooms
from fitai.gateways.live.hosts import Hosts
from fitai.gateways.live.limits import LiveLimits
from fitai.gateways.live.server import LiveServer
from fitai.gateways.origins import origins
from fitai.http.app import ROUTES, Deps, build_app
from fitai.http.auth.authority import Authority
from fitai.http.auth.keeper import KeyKeeper
from fitai.http.auth.passwords import Passwords
from fitai.http.auth.tokens import ACCESS_MS, AccessTokens
from fitai.http.connections import Runner
from fitai.persistence.append import Appender
from fitai.persistence.database import Database
from fitai.persistence.sealed import Seal
from tests.http.desk import Desk

SECRET = "a secret for tests, which is long enough"
LIMITS = LiveLimits()
START = 1_767_225_600_000  # 2026-01-01T00:00:00Z

ASYNCAPI: dict[str, Any] = {
    "asyncapi": "3.0.0",
    "info": {"title": "FitAI live", "version": "1", "description": "Events <b>both</b> ways."},
    "servers": {"here": {"host": "127.0.0.1:8080", "protocol": "ws", "pathname": "/socket.io"}},
    "channels": {
        "live": {
            "address": "/live",
            "messages": {
                "push": {"$ref": "#/components/messages/push"},
                "pushed": {"$ref": "#/components/messages/pushed"},
            },
        }
    },
    "operations": {
        "push": {
            "action": "receive",
            "channel": {"$ref": "#/channels/live"},
            "messages": [{"$ref": "#/channels/live/messages/push"}],
            "reply": {"messages": [{"$ref": "#/channels/live/messages/pushed"}]},
        }
    },
    "components": {
        "messages": {
            "push": {
                "name": "push",
                "summary": "Ops of <this> device",
                "payload": {"$ref": "#/components/schemas/Push"},
                "examples": [{"payload": {"ops": [{"n": 1, "kind": "workout.start"}]}}],
            },
            "pushed": {"name": "pushed", "payload": {"type": "object"}},
        },
        "schemas": {
            "Push": {
                "type": "object",
                "required": ["ops"],
                "properties": {
                    "ops": {"type": "array", "items": {"$ref": "#/components/schemas/Op"}},
                    "epoch": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
            },
            "Op": {
                "type": "object",
                "description": "One operation.",
                "required": ["n"],
                "properties": {
                    "n": {"type": "integer", "description": "The device's counter."},
                    "inner": {"$ref": "#/components/schemas/Op"},
                },
            },
        },
    },
}


class Clock:
    """Time as the server sees it: it stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now

    def advance(self, *, seconds: float = 0, days: float = 0) -> None:
        self.now += int((seconds + days * 86_400) * 1000)


@dataclass
class Answer:
    """A response, read whole."""

    status: int
    headers: CIMultiDict[str]
    body: Any

    @property
    def code(self) -> str | None:
        return self.body.get("code") if isinstance(self.body, dict) else None


@dataclass
class Person:
    """A signed-in caller."""

    api: Api
    email: str
    password: str
    session: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.session["user"]["id"])

    @property
    def token(self) -> str:
        return str(self.session["access_token"])

    @property
    def device(self) -> int:
        return int(self.session["device"]["id"])

    @property
    def refresh_token(self) -> str:
        return str(self.session["refresh_token"])

    async def call(self, method: str, path: str, json: Any = None, **headers: str) -> Answer:
        """A request with this person's token; `If_Match="…"` and the like become headers."""
        return await self.api.call(method, path, json, token=self.session["access_token"], **headers)

    async def workout(self, **body: Any) -> dict[str, Any]:
        """A new workout's state."""
        answer = await self.call("POST", "/workouts", body)
        assert answer.status == 201, answer.body
        state: dict[str, Any] = answer.body
        return state

    async def put(self, path: str, json: Any, rev: int) -> dict[str, Any]:
        """A write on a revision, which must succeed."""
        answer = await self.call("PUT", path, json, If_Match=f'"{rev}"')
        assert answer.status == 200, answer.body
        state: dict[str, Any] = answer.body
        return state

    async def post(self, path: str, json: Any = None) -> dict[str, Any]:
        """A POST that must succeed with 200."""
        answer = await self.call("POST", path, json)
        assert answer.status == 200, answer.body
        state: dict[str, Any] = answer.body
        return state


@dataclass
class Api:
    """A running server and its client. Every answer is held to what its route declares."""

    client: TestClient[Any, Any]
    clock: Clock
    db: Database
    hosts: Hosts
    rooms: Rooms
    bus: MemoryBus
    tokens: AccessTokens
    keeper: KeyKeeper
    routes: dict[tuple[str, str], Any] = field(
        default_factory=lambda: {(route.method, route.path): route for route in ROUTES}
    )

    async def call(
        self, method: str, path: str, json: Any = None, *, token: str | None = None, **headers: str
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with self.client.request(method, path, json=json, headers=sent) as response:
            is_json = response.content_type.endswith("json")
            body = await response.json(content_type=None) if is_json else await response.text()
            answer = Answer(response.status, CIMultiDict(response.headers), body)
        self._check(method, path, answer)
        return answer

    def _check(self, method: str, path: str, answer: Answer) -> None:
        """The answer is one that the documents promise: its status, its model, its problem code."""
        route = self._declared(method, path)
        if route is None or answer.headers.get("Content-Type", "").partition(";")[0] in route.also:
            return
        if answer.status < 400:
            assert answer.status in (route.status, 304)
            if route.response is not None and answer.status != 304:
                route.response.model_validate(answer.body)
        else:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.body["code"] in {*route.errors, "internal"}, answer.body

    def _declared(self, method: str, path: str) -> Any:
        parts = path.partition("?")[0].removeprefix("/v1").strip("/").split("/")
        for (known, template), route in self.routes.items():
            names = template.strip("/").split("/")
            if known == method and len(names) == len(parts):
                pairs = zip(names, parts, strict=True)
                if all(name.startswith("{") or name == part for name, part in pairs):
                    return route
        return None

    async def register(self, **device: Any) -> Person:
        """A new person on a phone."""
        email = f"{uuid.uuid4().hex}@example.org"
        return await self.enter("register", email, "correct horse", 201, **device)

    async def login(self, person: Person, **device: Any) -> Person:
        """The same person signs in once more."""
        return await self.enter("login", person.email, person.password, 200, **device)

    async def enter(self, how: str, email: str, password: str, status: int, **device: Any) -> Person:
        body = {
            "email": email,
            "password": password,
            "device": {"name": "Phone", "platform": "ios", **device},
        }
        answer = await self.call("POST", f"/auth/{how}", body)
        assert answer.status == status, answer.body
        return Person(self, email, password, answer.body)

    def listen(self, user: str) -> list[Message]:
        """What is said about a user on the bus from now on."""
        heard: list[Message] = []
        self.bus.subscribe(user_topic(user), heard.append)
        return heard


MakeApi = Callable[..., Awaitable[Api]]


def cheap_passwords() -> Passwords:
    """argon2id as in production, but for a fraction of its cost."""
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


class Served(TestServer):
    """A server on the connections that production has; `bounds` are theirs."""

    def __init__(self, app: web.Application, **bounds: float) -> None:
        super().__init__(app)
        self._bounds = bounds

    async def _make_runner(self, **options: Any) -> Runner:
        return Runner(self.app, **self._bounds, **options)


@pytest.fixture
async def make_api(sqlite_url: str) -> AsyncIterator[MakeApi]:
    """Starts a server, with sockets if `live`; keyword arguments replace parts of its `Deps`."""
    started: list[tuple[TestClient[Any, Any], Rooms, Hosts, Appender, MemoryBus, Database]] = []
    gateways: list[LiveServer] = []

    async def make(
        database_url: str = sqlite_url,
        *,
        live: bool = False,
        limits: LiveLimits = LIMITS,
        bounds_of_groups: GroupBounds = GroupBounds(),
        clock: Clock | None = None,
        bounds: Mapping[str, float] = MappingProxyType({}),
        **parts: Any,
    ) -> Api:
        clock = clock or Clock()
        db = Database.open(database_url)
        bus = MemoryBus()
        appender = Appender(db)
        hosts = Hosts(db, appender, bus, limits=limits, now_ms=clock)
        codes, counts = Codes(SECRET), parts.get("counts")
        rooms = Rooms(hosts, codes, Unmoderated(), counts, bounds_of_groups)
        keeper = KeyKeeper(db, SECRET, clock, life_ms=ACCESS_MS)
        await keeper.tend()
        await bus.start()
        await appender.start()
        await hosts.start()
        await rooms.start()
        deps: dict[str, Any] = {
            "db": db,
            "hosts": hosts,
            "rooms": rooms,
            "bus": bus,
            "tokens": AccessTokens(keeper, clock),
            "public_keys": lambda: keeper.ring.published(clock()),
            "seal": Seal(SECRET, "totp"),
            "now_ms": clock,
            "version": "1.2.3",
            "asyncapi": ASYNCAPI,
            "passwords": cheap_passwords(),
        }
        app = build_app(Deps(**{**deps, **parts}))
        if live:
            rule = origins(parts.get("allowed_origins", ()), parts.get("public_url", ""))
            gateway = LiveServer(
                hosts,
                Authority(deps["tokens"], db, clock),
                limits=limits,
                now_ms=clock,
                origins=rule,
                rooms=rooms,
            )
            gateway.attach(app)
            gateways.append(gateway)
        server = Served(app, **bounds)
        await server.start_server()
        client = TestClient(server)
        started.append((client, rooms, hosts, appender, bus, db))
        return Api(client, clock, db, hosts, rooms, bus, deps["tokens"], keeper)

    yield make
    for gateway in gateways:
        await gateway.drain(0, 1.0)
    for client, rooms, hosts, appender, bus, db in started:
        await client.close()
        await rooms.close()
        await hosts.close()
        await appender.close()
        await bus.close()
        await db.close()


@pytest.fixture
async def api(make_api: MakeApi) -> Api:
    """A server on SQLite."""
    return await make_api()


@pytest.fixture
def desk(api: Api) -> Desk:
    """The jobs and letters of `api`."""
    return Desk(api)


@pytest.fixture
async def ada(api: Api) -> Person:
    """A person with an account."""
    return await api.register()


@pytest.fixture
async def bob(api: Api) -> Person:
    """Somebody else."""
    return await api.register()


@pytest.fixture
def asyncapi_document() -> dict[str, Any]:
    """A small AsyncAPI document with everything that the page has to follow."""
    return ASYNCAPI
