"""One node, wired: settings in, a running aiohttp application out.

Everything that lives as long as the process is opened here, in the order in which it depends on each
other, and closed in the opposite one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

import structlog
from aiohttp import web

from fitai.app.jobs import open_worker
from fitai.app.metrics import Meters, Siblings
from fitai.app.settings import Settings
from fitai.app.stores import database_of
from fitai.engine.groups.judgement import GroupLimits
from fitai.gateways.bus.contract import Bus
from fitai.gateways.bus.memory import MemoryBus
from fitai.gateways.bus.redis import RedisBus, Stats
from fitai.gateways.bus.redis_counts import RedisCounts
from fitai.gateways.counts import Counts, MemoryCounts
from fitai.gateways.groups.codes import Codes
from fitai.gateways.groups.limits import GroupBounds
from fitai.gateways.groups.moderation import Moderation, Unmoderated, Webhook
from fitai.gateways.groups.rooms import Rooms
from fitai.gateways.jobs.worker import Worker
from fitai.gateways.live.asyncapi import asyncapi
from fitai.gateways.live.hosts import Hosts
from fitai.gateways.live.limits import LiveLimits
from fitai.gateways.live.server import LiveServer
from fitai.gateways.meters import NodeMeters
from fitai.gateways.origins import origins
from fitai.gateways.pulse import Pulse
from fitai.http.app import Deps, build_app
from fitai.http.auth.authority import Authority
from fitai.http.auth.keeper import KeyKeeper
from fitai.http.auth.tokens import AccessTokens
from fitai.http.health import HEALTH
from fitai.http.limits.rates import Rates
from fitai.persistence.append import Appender
from fitai.persistence.database import Database
from fitai.persistence.sealed import Seal
from fitai.sync.wire import WireLimits

_log = structlog.get_logger(__name__)

VERSION = version("fitai")

DAY_MS = 86_400_000
TOTP = "totp"  # the purpose that the secrets of second factors are sealed for
JOBS_SHARE = 0.2  # of drain_seconds: for jobs to end, after sockets and requests have


def now_ms() -> int:
    """The wall clock, Unix ms. The only place where the program reads it."""
    return time.time_ns() // 1_000_000  # noqa: TID251 - everybody else is handed this function


@dataclass(frozen=True, slots=True)
class Node:
    """What a running process consists of."""

    settings: Settings
    db: Database
    hosts: Hosts
    rooms: Rooms
    live: LiveServer
    meters: Meters
    jobs: Worker
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
        jobs = open_worker(settings, db, now_ms)
        appender = Appender(db)
        hosts = Hosts(db, appender, bus, limits=limits, now_ms=now_ms, alone=settings.redis_url is None)
        keeper = key_keeper(settings, db)
        tokens = AccessTokens(keeper, now_ms, life_ms=access_ms(settings))
        counts = open_counts(settings)
        await keeper.start()
        await bus.start()
        await appender.start()
        await hosts.start()
        codes, bounds = Codes(settings.signing_key), group_bounds(settings)
        rooms = Rooms(hosts, codes, moderation(settings), counts, bounds)
        await rooms.start()
        live = LiveServer(
            hosts,
            Authority(tokens, db, now_ms),
            limits=limits,
            now_ms=now_ms,
            polling=settings.polling_allowed,
            origins=origins(settings.allowed_origins, settings.public_url),
            counts=counts if isinstance(counts, RedisCounts) else None,
            rooms=rooms,
        )
        stats = bus.stats if isinstance(bus, RedisBus) else Stats()  # in memory nothing is lost
        # The application is made below, of this among other things; it is there when somebody asks.
        node_meters = NodeMeters(lambda: live.queues, hosts.counts, stats)
        meters = Meters(node_meters, siblings, lambda: app[HEALTH].measure())  # noqa: PLW0108
        token = settings.metrics_token
        app = build_app(
            Deps(
                db=db,
                hosts=hosts,
                rooms=rooms,
                bus=bus,
                tokens=tokens,
                seal=Seal(settings.signing_key, TOTP),
                public_keys=lambda: keeper.ring.published(now_ms()),
                now_ms=now_ms,
                version=VERSION,
                asyncapi=asyncapi(VERSION),
                refresh_lifetime_s=int(settings.refresh_token_seconds),
                devices_per_user=settings.limits.user_devices,
                grace_ms=int(settings.account_grace_days * DAY_MS),
                public_url=settings.public_url,
                allowed_origins=settings.allowed_origins,
                trusted_proxies=settings.trusted_proxies,
                body_bytes=settings.limits.push_bytes,
                answer_s=settings.http_seconds,
                counts=counts,
                rates=rates(settings),
                report=meters.report,
                metrics_token=None if token is None else token.get_secret_value(),
                data_dir=settings.data_dir,
                disk_low=settings.disk_low_mb * 1024 * 1024,
            )
        )
        live.attach(app)
        pulse = Pulse(bus)
        pulse.start()
        await jobs.start()
        try:
            yield Node(settings, db, hosts, rooms, live, meters, jobs, app)
        finally:
            await jobs.close(settings.limits.drain_seconds * JOBS_SHARE)
            await pulse.close()
            await rooms.close()
            await hosts.close()
            await appender.close()
            await bus.close()
            await keeper.close()
            if isinstance(counts, RedisCounts):
                await counts.close()
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


def open_counts(settings: Settings) -> Counts | None:
    """Where rates and failed sign-ins are counted: Redis, when there is one; nowhere if rates are lifted."""
    if not settings.rates:
        return None
    memory = MemoryCounts(now_ms)
    if settings.redis_url is None:
        return memory
    return RedisCounts(settings.redis_url, prefix=settings.redis_prefix, alone=memory)


def rates(settings: Settings) -> Rates:
    """The rates of routes as the settings have them."""
    limits = settings.limits
    return Rates(
        default_per_minute=limits.requests_per_minute,
        auth_per_minute=limits.auth_per_minute,
        mail_per_hour=limits.mail_per_hour,
        heavy_per_minute=limits.heavy_per_minute,
        people=limits.address_people,
    )


def access_ms(settings: Settings) -> int:
    """Life of an access token, ms."""
    return int(settings.access_token_seconds * 1000)


def key_keeper(settings: Settings, db: Database) -> KeyKeeper:
    """What keeps the keys of access tokens, as the settings have it."""
    age_ms = int(settings.signing_key_days * 86_400_000)
    return KeyKeeper(db, settings.signing_key, now_ms, life_ms=access_ms(settings), age_ms=age_ms)


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


def group_bounds(settings: Settings) -> GroupBounds:
    """The bounds of groups as the settings have them."""
    limits = settings.limits
    return GroupBounds(
        rules=GroupLimits(capacity=limits.group_members),
        host_grace_ms=int(settings.group_host_grace_seconds * 1000),
        ops_per_s=limits.group_ops_per_second,
        ops_burst=limits.group_ops_burst,
        chat_per_s=limits.group_messages_per_minute / 60,
        chat_burst=limits.group_messages_burst,
        joins_per_min=limits.group_joins_per_minute,
        codes_per_hour=limits.group_codes_per_hour,
        address_codes_per_hour=3 * limits.group_codes_per_hour,
    )


def moderation(settings: Settings) -> Moderation:
    """Who looks at messages before they are told."""
    url, secret = settings.moderation_url, settings.moderation_secret
    if url is None or secret is None:
        return Unmoderated()
    return Webhook(url.get_secret_value(), secret.get_secret_value(), now_ms)
