"""The REST surface, put together: `build_app(deps)` gives the aiohttp application.

It opens nothing and starts nothing but a few threads for passwords, which end with the application; what
it needs is handed to it, open, and is closed by whoever opened it. The live gateway joins the same
application from outside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web

from fitai.gateways import meters
from fitai.gateways.bus.contract import Bus
from fitai.gateways.counts import Counts
from fitai.gateways.groups.rooms import Rooms
from fitai.gateways.live.hosts import Hosts
from fitai.gateways.origins import origins
from fitai.http import (
    boundary,
    cors,
    docs,
    error_page,
    frame,
    headers,
    health,
    looks,
    metrics,
    openapi,
    proxies,
    reading,
)
from fitai.http.auth import browser, jwks
from fitai.http.auth import routes as auth
from fitai.http.auth.authority import Authority
from fitai.http.auth.confirmation import Confirmation
from fitai.http.auth.devices import DeviceService
from fitai.http.auth.door import DEVICES_PER_USER, REFRESH_S, Door
from fitai.http.auth.passwords import Passwords
from fitai.http.auth.personal import PersonalTokenService
from fitai.http.auth.recovery import Recovery
from fitai.http.auth.second_factor import SecondFactorCheck
from fitai.http.auth.sign_in import SignInService
from fitai.http.auth.tokens import AccessTokens
from fitai.http.groups import routes as groups
from fitai.http.groups.blocks import BlockService
from fitai.http.groups.moderation import ModerationService
from fitai.http.groups.service import GroupService
from fitai.http.health import Check, Health, Look
from fitai.http.limits.rates import Limiter, Rates
from fitai.http.sync import routes as sync
from fitai.http.sync.service import SyncService
from fitai.http.sync.snapshot import SnapshotService
from fitai.http.users import routes as users
from fitai.http.users.credentials import Credentials, SecondFactorService
from fitai.http.users.leaving import GRACE_MS, Leaving
from fitai.http.users.profile import ProfileService
from fitai.http.workouts import routes as workouts
from fitai.http.workouts.service import WorkoutService
from fitai.http.workouts.share import ShareService
from fitai.persistence.database import Database
from fitai.persistence.readiness import commits
from fitai.persistence.sealed import Seal

PROBE_S = 1.5  # the longest that a probe over the bus may take

DESCRIPTION = """\
A real-time workout engine: every device of a person sees one workout, in one order, and nothing is lost.

Every write is an operation in the log of its owner: it appears on the owner's sockets at once. Errors are
problem+json (RFC 9457) with a stable `code`. Writes that could undo somebody else's need `If-Match`; every
write takes an `Idempotency-Key`. The live surface is described at `/docs/live`.
"""

TAGS = (
    ("auth", "Who you are, and which devices speak for you."),
    ("users", "The person: profile, password and address, second factor, what happened to the account."),
    ("workouts", "Workouts and what is in them."),
    ("groups", "Group workouts: people who train together, live, each their own workout."),
    ("blocks", "Whom a person does not want to meet in a group."),
    ("moderation", "For admins: messages that were reported, or that are held back."),
    ("sync", "What a device does over its socket, for those that have none."),
    ("sharing", "Links that show chosen fields of a workout to whoever has them."),
    ("health", "Whether the server is up and ready."),
)

ROUTES: Sequence[frame.Route] = (
    *auth.routes.declared,
    *users.routes.declared,
    *jwks.routes.declared,
    *workouts.sharing.declared,
    *workouts.routes.declared,
    *groups.routes.declared,
    *groups.blocks.declared,
    *groups.moderation.declared,
    *sync.routes.declared,
    *health.routes.declared,
)


SCOPES = frozenset(route.scope for route in ROUTES if route.scope is not None)
"""What a personal token may be for: what routes ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """What the REST surface needs.

    db, hosts, rooms    open, and closed by whoever opened them, as is
    bus                 what carries hints between nodes
    tokens              issues and reads access tokens
    public_keys         the JWKs that they can be verified with
    seal                seals the secrets of second factors
    now_ms              the clock, Unix ms
    version             the server's
    asyncapi            the live surface's document, for /asyncapi.json and /docs/live
    passwords           how passwords are hashed; argon2id with strong parameters unless given
    refresh_lifetime_s  life of a refresh token from its last use, seconds
    devices_per_user    live devices of one user; beyond them the longest unused is retired
    grace_ms            how long an account that its person deletes can be restored
    public_url          what share links begin with, such as https://fit.example.com; empty: a path. With
                        https, browsers are told to come by TLS only
    allowed_origins     other origins whose pages may call; "*" for all
    trusted_proxies     whose X-Forwarded-For is believed
    body_bytes          the largest request body, after decompression
    body_s              the longest that a request's body may take to arrive
    answer_s            the longest that a request may be worked on
    counts              where calls and failed sign-ins are counted; None: nowhere, nothing is refused
    rates               how often a route may be called
    report              what /metrics answers to who knows `metrics_token`; without both there is no such path
    data_dir            the folder whose file system `/health` looks at, and
    disk_low            how many free bytes it must have to be well
    checks              more readiness checks, by name; `database` and `bus` may be replaced
    looks               how other parts of `/health` are, by name: `migrations`, `disk` and `queue`
    """

    db: Database
    hosts: Hosts
    rooms: Rooms
    bus: Bus
    tokens: AccessTokens
    public_keys: Callable[[], list[dict[str, Any]]]
    seal: Seal
    now_ms: Callable[[], int]
    version: str
    asyncapi: dict[str, Any]
    passwords: Passwords | None = None
    refresh_lifetime_s: int = REFRESH_S
    devices_per_user: int = DEVICES_PER_USER
    grace_ms: int = GRACE_MS
    public_url: str = ""
    allowed_origins: Sequence[str] = ()
    trusted_proxies: Sequence[proxies.Network] = ()
    body_bytes: int = reading.BODY_BYTES
    body_s: float = reading.BODY_S
    answer_s: float = frame.ANSWER_S
    counts: Counts | None = None
    rates: Rates = field(default_factory=Rates)
    report: metrics.Report | None = None
    metrics_token: str | None = None
    data_dir: Path = Path()
    disk_low: int = looks.DISK_LOW
    checks: Mapping[str, Check] = field(default_factory=dict)
    looks: Mapping[str, Look] = field(default_factory=dict)


def build_app(deps: Deps) -> web.Application:
    """The application with every route, as written and with `/v1` in front. It runs on
    `connections.Runner`."""
    app = web.Application(client_max_size=deps.body_bytes)
    boundary.install(app)
    proxies.install(app, deps.trusted_proxies)
    headers.install(app, public_url=deps.public_url)
    cors.install(app, origins(deps.allowed_origins, deps.public_url))
    _provide(app, deps)
    frame.install(app, ROUTES)
    if deps.report is not None and deps.metrics_token is not None:
        metrics.install(app, deps.report, deps.metrics_token)
    docs.install(app, openapi=openapi_document(deps.version), asyncapi=deps.asyncapi, errors=_error_page())
    return app


@cache
def openapi_document(version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of every route. Made once, since it takes 40 ms: nobody may change it."""
    return openapi.document(ROUTES, version=version, description=DESCRIPTION, tags=TAGS)


@cache
def _error_page() -> str:
    return error_page.render(ROUTES)


def _provide(app: web.Application, deps: Deps) -> None:
    passwords = deps.passwords or Passwords()
    service = WorkoutService(deps.db, deps.hosts, deps.now_ms)
    app[boundary.SITE] = deps.public_url
    app[frame.AUTHENTICATOR] = Authority(deps.tokens, deps.db, deps.now_ms)
    app[jwks.JWKS] = deps.public_keys
    app[browser.ORIGINS] = origins(deps.allowed_origins, deps.public_url)
    app[browser.LIFETIME_S] = deps.refresh_lifetime_s
    app[reading.BODY_SECONDS] = deps.body_s
    app[frame.ANSWER_SECONDS] = deps.answer_s
    if deps.counts is not None:
        app[frame.LIMITER] = Limiter(deps.counts, deps.rates)
    _provide_identity(app, deps, passwords)
    app[workouts.WORKOUTS] = service
    app[workouts.SHARES] = ShareService(deps.db, deps.hosts, service, deps.now_ms, deps.public_url)
    _provide_groups(app, deps)
    app[sync.SYNC] = SyncService(deps.db, deps.hosts, deps.now_ms)
    app[sync.SNAPSHOTS] = SnapshotService(deps.db, deps.hosts)
    app[health.HEALTH] = Health(
        deps.version,
        {**_checks(deps), **deps.checks},
        {**_looks(deps), **deps.looks},
        token=deps.metrics_token,
    )
    app.cleanup_ctx.append(_closing(passwords))
    app.on_cleanup.append(lambda app: app[health.HEALTH].close())


def _provide_groups(app: web.Application, deps: Deps) -> None:
    db, rooms, now_ms = deps.db, deps.rooms, deps.now_ms
    service = GroupService(db, rooms, rooms.codes, now_ms, deps.public_url)
    app[groups.GROUPS] = service
    app[groups.BLOCKS] = BlockService(db, service, rooms, now_ms)
    app[groups.MODERATION] = ModerationService(db, rooms, deps.hosts.log, now_ms)


def _provide_identity(app: web.Application, deps: Deps, passwords: Passwords) -> None:
    db, now_ms = deps.db, deps.now_ms
    door = Door(
        deps.bus,
        deps.tokens,
        now_ms,
        refresh_lifetime_s=deps.refresh_lifetime_s,
        devices_per_user=deps.devices_per_user,
    )
    factor = SecondFactorCheck(deps.seal)
    confirmation = Confirmation(db, passwords, factor, now_ms)
    app[auth.SIGN_IN] = SignInService(db, passwords, door, factor, now_ms, deps.counts)
    app[auth.RECOVERY] = Recovery(db, passwords, door, now_ms)
    app[auth.TOKENS] = PersonalTokenService(db, confirmation, door, now_ms, SCOPES)
    app[auth.DEVICES] = DeviceService(db, door, now_ms)
    app[users.PROFILES] = ProfileService(db, now_ms, deps.rooms.weighed)
    app[users.CREDENTIALS] = Credentials(confirmation, passwords, door, now_ms)
    app[users.SECOND_FACTOR] = SecondFactorService(db, confirmation, factor, now_ms)
    app[users.LEAVING] = Leaving(db, confirmation, door, now_ms, grace_ms=deps.grace_ms)


def _checks(deps: Deps) -> dict[str, Check]:
    async def bus() -> None:
        if not await meters.probe(deps.bus, PROBE_S):
            raise TimeoutError("the probe did not come back")

    return {"database": lambda: commits(deps.db), "bus": bus}


def _looks(deps: Deps) -> dict[str, Look]:
    return {
        "migrations": looks.migrations(deps.db),
        "disk": looks.disk(deps.data_dir, deps.disk_low),
        "queue": looks.queue(deps.db, deps.now_ms),
    }


def _closing(passwords: Passwords) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(app: web.Application) -> AsyncIterator[None]:
        yield
        passwords.close()

    return context
