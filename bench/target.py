"""The server of a run: one that is there, or one that the run starts and takes away again."""

from __future__ import annotations

import json
import secrets
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]

from fitai.app.demo_server import ServerFailed, ServerProcess
from fitai.app.failures import Refused, shown_url
from fitai.bench.people import InDatabase, OverRest, People
from fitai.bench.plan import Plan

TOKEN_S = 7 * 86_400  # the life of the tokens of an own server's users
ASK_S = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """A server under load.

    url             where it is
    pid             its process, None when it is not on this machine or not found
    people          where users come from
    metrics_token   opens its /metrics, None when it is not known
    facts           what a reader must know of it
    """

    url: str
    pid: int | None
    people: People
    metrics_token: str | None
    facts: dict[str, Any]


def is_loopback(url: str) -> bool:
    """Whether an address is this machine: what may be put under load without a question."""
    parts = urlsplit(url)
    if parts.hostname is None:
        return True  # a file, or a Unix socket
    if parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname).is_loopback
    except ValueError:
        return False


def may_be_loaded(urls: list[str], yes: bool) -> None:
    """Raise Refused when an address is not this machine and nobody said `--yes`."""
    for url in urls:
        if not yes and not is_loopback(url):
            host = urlsplit(url).hostname
            raise Refused(
                f"{host} is not this machine. A load run can take a server down and leaves accounts on it; "
                "say --yes if it is yours to load."
            )


@asynccontextmanager
async def running(url: str, metrics_token: str | None) -> AsyncIterator[Target]:
    """A server that is there; raises Refused when it does not answer."""
    url = url.rstrip("/")
    health = ask(f"{url}/health")
    facts = {"started": False, "version": health.get("version"), "url": url}
    yield Target(url, pid_behind(url), OverRest(url), metrics_token, facts)


@asynccontextmanager
async def started(
    plan: Plan, database: str | None, redis: str | None, workers: int = 1
) -> AsyncIterator[Target]:
    """A server with limits lifted, on a new SQLite file unless a database is named; ended and, with its
    users, taken away afterwards. Raises ServerFailed."""
    secret, token = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="fitai-bench-") as folder:
        url = database or f"sqlite:///{Path(folder) / 'bench.db'}"
        people = InDatabase(url, secret, TOKEN_S * 1000)
        settings = {
            "FITAI_ENVIRONMENT": "production",  # no demo account
            "FITAI_SECRET_KEY": secret,
            "FITAI_DATABASE_URL": url,
            "FITAI_LIMITS": "off",
            "FITAI_LIMIT_USER_DEVICES": str(max(32, *plan.devices)),
            "FITAI_ACCESS_TOKEN_SECONDS": str(TOKEN_S),
            "FITAI_METRICS_TOKEN": token,
            "FITAI_WORKERS": str(workers),
        }
        if redis is not None:
            settings |= {"FITAI_REDIS_URL": redis, "FITAI_REDIS_PREFIX": f"bench-{secrets.token_hex(4)}"}
        server = ServerProcess(Path(folder), settings)
        try:
            port = await server.start()
            where = f"http://127.0.0.1:{port}"
            facts = {
                "started": True,
                "version": ask(f"{where}/health").get("version"),
                "database": "SQLite" if database is None else shown_url(database),
                "redis": "none" if redis is None else _without_password(redis),
                "workers": workers,
                "limits": "lifted",
            }
            yield Target(where, server.pid, people, token, facts)
        finally:
            try:
                await server.stop()
            except ServerFailed:
                await server.kill()
            if database is not None:
                await people.remove()


def ask(url: str) -> dict[str, Any]:
    """A JSON document of the server; raises Refused when there is none."""
    try:
        with urllib.request.urlopen(url, timeout=ASK_S) as response:
            document = json.load(response)
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise Refused(f"No FitAI answers at {url} ({error}).") from error
    if not isinstance(document, dict):
        raise Refused(f"No FitAI answers at {url}.")
    return document


def pid_behind(url: str) -> int | None:
    """The process on this machine that listens at an address, None when there is none that may be seen."""
    parts = urlsplit(url)
    if not is_loopback(url):
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return None
    listening = {
        one.pid for one in connections if one.status == psutil.CONN_LISTEN and one.laddr.port == port
    }
    return next((pid for pid in listening if pid is not None), None)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
