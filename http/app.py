"""The REST surface, put together: `build_app(deps)` gives the aiohttp application.

It opens nothing and starts nothing but a few threads for passwords, which end with the application; what
it needs is handed to it, open, and is closed by whoever opened it. The live gateway joins the same
application from outside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from fitai.gateways import meters
from fitai.gateways.bus.contract import Bus
from fitai.gateways.identity import Authenticator
from fitai.gateways.live.hosts import Hosts
from fitai.http import boundary, cors, docs, frame, health, looks, metrics, openapi, proxies
from fitai.http.auth import routes as auth
from fitai.http.auth.passwords import Passwords
from fitai.http.auth.service import DEVICES_PER_USER, REFRESH_S, AuthService
from fitai.http.auth.tokens import AccessTokens
from fitai.http.health import Check, Health, Look
from fitai.http.sync import routes as sync
from fitai.http.sync.service import SyncService
from fitai.http.sync.snapshot import SnapshotService
from fitai.http.workouts import routes as workouts
from fitai.http.workouts.service import WorkoutService
from fitai.http.workouts.share import ShareService
from fitai.persistence.database import Database
from fitai.persistence.readiness import commits

PROBE_S = 1.5  # the longest that a probe over the bus may take

DESCRIPTION = """\
A real-time workout engine: every device of a person sees one workout, in one order, and nothing is lost.

Every write is an operation in the log of its owner: it appears on the owner's sockets at once. Errors are
problem+json (RFC 9457) with a stable `code`. Writes that could undo somebody else's need `If-Match`; every
write takes an `Idempotency-Key`. The live surface is described at `/docs/live`.
"""

TAGS = (
    ("auth", "Who you are, and which devices speak for you."),
    ("workouts", "Workouts and what is in them."),
    ("sync", "What a device does over its socket, for those that have none."),
    ("sharing", "Links that show chosen fields of a workout to whoever has them."),
    ("health", "Whether the server is up and ready."),
)

ROUTES: Sequence[frame.Route] = (
    *auth.routes.declared,
    *workouts.sharing.declared,
    *workouts.routes.declared,
    *sync.routes.declared,
    *health.routes.declared,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """What the REST surface needs.

    db, hosts, bus      open, and closed by whoever opened them
    tokens              issues access tokens (and honours them, unless `authenticator` is given)
    now_ms              the clock, Unix ms
    version             the server's
    asyncapi            the live surface's document, for /asyncapi.json and /docs/live
    passwords           how passwords are hashed; argon2id with strong parameters unless given
    refresh_lifetime_s  life of a refresh token from its last use, seconds
    devices_per_user    live devices of one user; beyond them the longest unused is retired
    public_url          what share links begin with, such as https://fit.example.com; empty: a path
    allowed_origins     other origins whose pages may call; "*" for all
    trusted_proxies     whose X-Forwarded-For is believed
    body_bytes          the largest request body, after decompression
    body_s              the longest that a request's body may take to arrive
    report              what /metrics answers to who knows `metrics_token`; without both there is no such path
    data_dir            the folder whose file system `/health` looks at, and
    disk_low            how many free bytes it must have to be well
    checks              more readiness checks, by name; `database` and `bus` may be replaced
    looks               how other parts of `/health` are, by name: `migrations`, `disk` and `queue`
    """

    db: Database
    hosts: Hosts
    bus: Bus
    tokens: AccessTokens
    now_ms: Callable[[], int]
    version: str
    asyncapi: dict[str, Any]
    authenticator: Authenticator | None = None
    passwords: Passwords | None = None
    refresh_lifetime_s: int = REFRESH_S
    devices_per_user: int = DEVICES_PER_USER
    public_url: str = ""
    allowed_origins: Sequence[str] = ()
    trusted_proxies: Sequence[proxies.Network] = ()
    body_bytes: int = frame.BODY_BYTES
    body_s: float = frame.BODY_S
    report: metrics.Report | None = None
    metrics_token: str | None = None
    data_dir: Path = Path()
    disk_low: int = looks.DISK_LOW
    checks: Mapping[str, Check] = field(default_factory=dict)
    looks: Mapping[str, Look] = field(default_factory=dict)


def runner(app: web.Application, **options: Any) -> web.AppRunner:
    """What the application runs on. Compressed bodies reach it as they are sent (see `media`)."""
    return web.AppRunner(app, auto_decompress=False, **options)


def build_app(deps: Deps) -> web.Application:
    """The application with every route, as written and with `/v1` in front."""
    app = web.Application(client_max_size=deps.body_bytes)
    boundary.install(app)
    proxies.install(app, deps.trusted_proxies)
    cors.install(app, deps.allowed_origins)
    _provide(app, deps)
    frame.install(app, ROUTES)
    if deps.report is not None and deps.metrics_token is not None:
        metrics.install(app, deps.report, deps.metrics_token)
    docs.install(app, openapi=openapi_document(deps.version), asyncapi=deps.asyncapi)
    return app


def openapi_document(version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of every route."""
    return openapi.document(ROUTES, version=version, description=DESCRIPTION, tags=TAGS)


def _provide(app: web.Application, deps: Deps) -> None:
    passwords = deps.passwords or Passwords()
    service = WorkoutService(deps.db, deps.hosts, deps.now_ms)
    app[frame.AUTHENTICATOR] = deps.authenticator or deps.tokens
    app[frame.BODY_SECONDS] = deps.body_s
    app[auth.AUTH] = AuthService(
        deps.db,
        deps.bus,
        passwords,
        deps.tokens,
        deps.now_ms,
        refresh_lifetime_s=deps.refresh_lifetime_s,
        devices_per_user=deps.devices_per_user,
    )
    app[workouts.WORKOUTS] = service
    app[workouts.SHARES] = ShareService(deps.db, deps.hosts, service, deps.now_ms, deps.public_url)
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
