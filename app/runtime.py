"""One node, wired: settings in, a running aiohttp application out.

Everything that lives as long as the process is opened here, in the order in which it depends on each
other, and closed in the opposite one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version

import structlog
from aiohttp import web

from fitai.app.metrics import Meters, Siblings
from fitai.app.settings import Settings
from fitai.app.stores import database_of
from fitai.gateways.bus.contract import Bus
from fitai.gateways.bus.memory import MemoryBus
from fitai.gateways.bus.redis import RedisBus, Stats
from fitai.gateways.bus.redis_rate import RedisRate
from fitai.gateways.live.asyncapi import asyncapi
from fitai.gateways.live.hosts import Hosts
from fitai.gateways.live.limits import LiveLimits
from fitai.gateways.live.server import LiveServer
from fitai.gateways.meters import NodeMeters
from fitai.gateways.pulse import Pulse
from fitai.gateways.tasks import spawn
from fitai.http.app import Deps, build_app
from fitai.http.auth.tokens import AccessTokens, enrolled_in
from fitai.persistence.append import Appender
from fitai.persistence.database import Database, Unavailable
from fitai.persistence.idempotency import Idempotency
from fitai.persistence.tokens import Tokens
from fitai.sync.wire import WireLimits

_log = structlog.get_logger(__name__)

VERSION = version("fitai")

HOUSEKEEPING_S = 3600.0
TOKENS_KEPT_MS = 7 * 86_400_000  # after their end, so that a late reuse is still recognised
KEYS_KEPT_MS = 2 * 86_400_000  # an Idempotency-Key is honoured for at least a day


def now_ms() -> int:
    """The wall clock, Unix ms. The only place where the program reads it."""
    return time.time_ns() // 1_000_000  # noqa: TID251 - everybody else is handed this function


@dataclass(frozen=True, slots=True)
class Node:
    """What a running process consists of."""

    settings: Settings
    db: Database
    hosts: Hosts
    live: LiveServer
    meters: Meters
    app: web.Application


@asynccontextmanager
async def open_node(settings: Settings, siblings: Siblings | None = None) -> AsyncIterator[Node]:
    """Open the database (migrating it unless that is forbidden), start the hosts, build the application.
    `siblings` are the workers that share its port, if any.

    Raises Unavailable when the database can not be reached, WrongSchema when it is behind and may not be
    migrated.
    """
    db = database_of(settings)
    try:
        await (db.migrate() if settings.migrate else db.check())
        limits = live_limits(settings)
        bus = open_bus(settings)
        appender = Appender(db)
        hosts = Hosts(db, appender, bus, limits=limits, now_ms=now_ms, alone=settings.redis_url is None)
        life_ms = int(settings.access_token_seconds * 1000)
        tokens = AccessTokens(settings.signing_key, enrolled_in(db), now_ms, life_ms=life_ms)
        shared_rate = open_shared_rate(settings)
        await bus.start()
        await appender.start()
        await hosts.start()
        live = LiveServer(
            hosts,
            tokens,
            limits=limits,
            now_ms=now_ms,
            polling=settings.polling_allowed,
            origins="*" if "*" in settings.allowed_origins else list(settings.allowed_origins),
            shared_rate=shared_rate,
        )
        stats = bus.stats if isinstance(bus, RedisBus) else Stats()  # in memory nothing is lost
        meters = Meters(NodeMeters(lambda: live.queues, hosts.counts, stats), siblings)
        token = settings.metrics_token
        app = build_app(
            Deps(
                db=db,
                hosts=hosts,
                bus=bus,
                tokens=tokens,
                now_ms=now_ms,
                version=VERSION,
                asyncapi=asyncapi(VERSION),
                refresh_lifetime_s=int(settings.refresh_token_seconds),
                devices_per_user=settings.limits.user_devices,
                public_url=settings.public_url,
                allowed_origins=settings.allowed_origins,
                trusted_proxies=settings.trusted_proxies,
                body_bytes=settings.limits.push_bytes,
                report=meters.report,
                metrics_token=None if token is None else token.get_secret_value(),
            )
        )
        live.attach(app)
        pulse = Pulse(bus)
        pulse.start()
        closing = asyncio.Event()
        keeper = spawn("app.housekeeping", _housekeeping(db, closing))
        try:
            yield Node(settings, db, hosts, live, meters, app)
        finally:
            closing.set()
            await asyncio.gather(keeper, return_exceptions=True)
            await pulse.close()
            await hosts.close()
            await appender.close()
            await bus.close()
            if shared_rate is not None:
                await shared_rate.close()
    finally:
        await db.close()


def open_bus(settings: Settings) -> Bus:
    """What carries hints between the nodes: Redis when there is one, else the memory of this process."""
    if settings.redis_url is None:
        _log.info("bus", over="memory", nodes="this process alone")
        return MemoryBus()
    bus = RedisBus(settings.redis_url, secret=settings.signing_key.encode(), prefix=settings.redis_prefix)
    _log.info("bus", over=str(bus.url), prefix=settings.redis_prefix)
    return bus


def open_shared_rate(settings: Settings) -> RedisRate | None:
    """What counts new connections over all nodes, where there are several and they are counted at all."""
    if settings.redis_url is None or not settings.rates:
        return None
    per_min = settings.limits.connects_per_minute
    return RedisRate(settings.redis_url, prefix=settings.redis_prefix, per_min=per_min)


async def _housekeeping(db: Database, closing: asyncio.Event) -> None:
    """Forget, now and then, what nobody can use any more."""
    while not closing.is_set():
        try:
            async with db.write() as session:
                await Tokens(session).sweep(now_ms() - TOKENS_KEPT_MS)
                await Idempotency(session).sweep(now_ms() - KEYS_KEPT_MS)
        except Unavailable:
            _log.warning("housekeeping_postponed")
        with suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), HOUSEKEEPING_S)


def live_limits(settings: Settings) -> LiveLimits:
    """The gateway's bounds as the settings have them."""
    limits = settings.limits
    return LiveLimits(
        wire=WireLimits(
            op_bytes=limits.op_bytes,
            push_bytes=limits.push_bytes,
            push_ops=limits.push_ops,
            depth=limits.op_depth,
        ),
        rates=settings.rates,
        exercises_per_workout=limits.workout_exercises,
        sets_per_workout=limits.workout_sets,
        ops_per_workout=limits.workout_ops,
        text_bytes=limits.text_bytes,
        ops_per_s=limits.ops_per_second,
        ops_burst=limits.ops_burst,
        ops_per_day=limits.ops_per_day,
        ops_per_user=limits.user_ops,
        events_per_s=limits.events_per_second,
        events_burst=limits.events_burst,
        telemetry_per_s=limits.telemetry_per_second,
        queue_bytes=limits.queue_bytes,
        connections_per_user=limits.user_connections,
        connections_per_device=limits.device_connections,
        connects_per_min=limits.connects_per_minute,
        pull_records=limits.pull_page,
        auth_s=limits.auth_seconds,
        expiring_s=limits.expiry_warning_seconds,
        expiry_grace_s=limits.expiry_grace_seconds,
        presence_grace_s=limits.presence_grace_seconds,
        idle_pause_ms=int(limits.idle_pause_seconds * 1000),
        idle_finish_ms=int(limits.idle_finish_seconds * 1000),
    )
