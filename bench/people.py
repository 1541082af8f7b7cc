"""The users of a run: made before it, taken away after it where that is possible."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiohttp
from sqlalchemy import delete, insert, select

from fitai.app.failures import Refused
from fitai.bench import profiles
from fitai.bench.plan import Pass, Person
from fitai.http.auth.keeper import KeyKeeper
from fitai.http.auth.tokens import AccessTokens
from fitai.persistence.database import Database
from fitai.persistence.models import Device, RecordRow, Stream, User
from fitai.persistence.users import new_epoch

DOMAIN = "bench.example"  # no address there is anybody's
PASSWORD_BYTES = 24
AT_ONCE = 4  # registrations: the server hashes few passwords at a time
CHUNK = 500


class People(Protocol):
    """Where users come from."""

    async def make(self, users: int, devices: int) -> list[Person]:
        """So many users with so many devices each."""

    async def remove(self) -> str:
        """Take away the users that were made; returns a sentence for the person when some stay, else ''."""


class InDatabase:
    """Straight in the database of a server that the run has started, whose secret it knows. Fast: no password
    is hashed, since nobody signs in."""

    def __init__(self, url: str, secret: str, life_ms: int) -> None:
        self._url = url
        self._secret = secret
        self._life_ms = life_ms
        self._made: list[str] = []

    async def make(self, users: int, devices: int) -> list[Person]:
        run, now = secrets.token_hex(4), time.time_ns() // 1_000_000
        ids = [str(uuid.uuid4()) for _ in range(users)]
        async with self._database() as db:
            await db.migrate()
            keys = KeyKeeper(db, self._secret, lambda: now, life_ms=self._life_ms)
            await keys.tend()
            for start in range(0, users, CHUNK):
                part = list(enumerate(ids))[start : start + CHUNK]
                async with db.write() as session:
                    await session.execute(
                        insert(User), [_user(id_, f"{run}-{n}", devices, now) for n, id_ in part]
                    )
                    await session.execute(insert(Stream), [_stream(id_) for _, id_ in part])
                    for at in range(1, devices + 1):
                        await session.execute(insert(Device), [_device(id_, at, now) for _, id_ in part])
                self._made += [id_ for _, id_ in part]
        tokens = AccessTokens(keys, lambda: now, life_ms=self._life_ms)
        return [
            Person(
                number,
                id_,
                tuple(Pass(device, tokens.issue(id_, device)) for device in range(1, devices + 1)),
            )
            for number, id_ in enumerate(ids)
        ]

    async def remove(self) -> str:
        async with self._database() as db:
            for start in range(0, len(self._made), CHUNK):
                part = self._made[start : start + CHUNK]
                async with db.write() as session:
                    streams = (
                        await session.execute(select(Stream.id).where(Stream.owner.in_(part)))
                    ).scalars()
                    # Projections go with the stream, devices with the user; records refer to nothing.
                    await session.execute(delete(RecordRow).where(RecordRow.stream.in_(streams.all())))
                    await session.execute(delete(Stream).where(Stream.owner.in_(part)))
                    await session.execute(delete(User).where(User.id.in_(part)))
        self._made.clear()
        return ""

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[Database]:
        db = Database.open(self._url, pool_size=1)
        try:
            yield db
        finally:
            await db.close()


def _user(id_: str, name: str, devices: int, now: int) -> dict[str, Any]:
    email = f"bench-{name}@{DOMAIN}"
    return {
        "id": id_,
        "email": email,
        "email_key": email,
        "password_hash": "!",  # no password opens it
        "display_name": None,
        "next_device": devices + 1,
        "created_at": now,
    }


def _stream(owner: str) -> dict[str, Any]:
    return {"owner": owner, "epoch": new_epoch(), "head": 0, "projected": 0, "last_rt": 0}


def _device(user: str, number: int, now: int) -> dict[str, Any]:
    return {
        "user_id": user,
        "id": number,
        "kind": "device",
        "name": f"bench {number}",
        "platform": profiles.PLATFORMS[(number - 1) % len(profiles.PLATFORMS)],
        "install_id": None,
        "parent": None,
        "created_at": now,
        "last_used_at": now,
    }


class OverRest:
    """Accounts on a server that is somebody's: registered and signed in as anybody would. There is no
    deletion of accounts yet, so they stay, and the run says how to find them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._run = secrets.token_hex(4)
        self._made: list[str] = []

    async def make(self, users: int, devices: int) -> list[Person]:
        turns = asyncio.Semaphore(AT_ONCE)
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(self._url, timeout=timeout) as http:

            async def one(number: int) -> Person:
                async with turns:
                    return await self._register(http, number, devices)

            return list(await asyncio.gather(*(one(number) for number in range(users))))

    async def _register(self, http: aiohttp.ClientSession, number: int, devices: int) -> Person:
        email = f"bench-{self._run}-{number}@{DOMAIN}"
        account = {"email": email, "password": secrets.token_urlsafe(PASSWORD_BYTES)}
        sessions = []
        for place in range(devices):
            path = "/auth/login" if place else "/auth/register"
            platform = profiles.PLATFORMS[place % len(profiles.PLATFORMS)]
            body = {**account, "device": {"name": f"bench {place + 1}", "platform": platform}}
            sessions.append(await _session(http, path, body))
            if not place:
                self._made.append(email)
        passes = [Pass(one["device"]["id"], one["access_token"], one["refresh_token"]) for one in sessions]
        return Person(number, sessions[0]["user"]["id"], tuple(passes))

    async def remove(self) -> str:
        if not self._made:
            return ""
        return (
            f"{len(self._made)} accounts bench-{self._run}-…@{DOMAIN} stay on the server: it can not delete "
            "accounts yet."
        )


async def _session(http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> Any:
    """Sign in; a server that is busy with other passwords is asked again."""
    for wait in (1, 2, 4, 8, 0):
        async with http.post(path, json=body) as response:
            if response.status in (200, 201):
                return await response.json()
            if response.status not in (429, 503) or not wait:
                raise Refused(f"{path} was answered {response.status}: {(await response.text())[:200]}")
        await asyncio.sleep(wait)
    raise AssertionError("the last try returns or raises")
