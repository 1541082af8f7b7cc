"""The REST twins of the live protocol's events, on the same session hosts and the same one path."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fitai.gateways import occasion
from fitai.gateways.identity import Identity
from fitai.gateways.live.host import Host
from fitai.gateways.live.hosts import Hosts
from fitai.http.sync import export
from fitai.http.sync.schemas import PullQuery, VoidQuery
from fitai.persistence.database import Database
from fitai.persistence.log import Log
from fitai.sync.wire import Refusal, decode_push

EXPORTED = 500  # records read at once for an export


class Request:
    """A push over REST: the `Sender` that its job answers. It has no place in the stream, so it is
    answered at the commit, and every socket of the user hears of its records."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def settle(self, ack: int | None, answer: dict[str, Any], first: int, last: int) -> None:
        self._answered(answer)

    def settle_retry(self, ack: int | None, answer: dict[str, Any], last: int) -> None:
        self._answered(answer)

    def refuse(self, ack: int | None, answer: dict[str, Any]) -> None:
        self._answered(answer)

    def _answered(self, answer: dict[str, Any]) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class SyncService:
    """Pushes, pulls and what was refused, of every user; `now_ms` is the clock (Unix ms)."""

    def __init__(self, db: Database, hosts: Hosts, now_ms: Callable[[], int]) -> None:
        self._db = db
        self._hosts = hosts
        self._now_ms = now_ms
        self._under_way: Counter[tuple[str, int]] = Counter()

    async def push(self, caller: Identity, payload: Any) -> dict[str, Any]:
        """Append the calling device's ops; raises Refusal."""
        received = self._now_ms()
        push = decode_push(payload, self._hosts.limits.wire)
        occasion.carries(len(push.ops))
        host = await self._hosts.open(caller.user)
        with self._counted(caller):
            request = Request(caller)
            host.push(push, request, None, received)
            answer = await request.answer
        if answer["ok"]:
            return answer
        extra = {key: value for key, value in answer.items() if key not in ("ok", "code", "message")}
        raise Refusal(answer["code"], answer["message"], **extra)

    async def pull(self, caller: Identity, query: PullQuery) -> dict[str, Any]:
        """A page of the log; raises Refusal."""
        host = await self._hosts.open(caller.user)
        check_epoch(host, query.epoch)
        page = await host.page(query.after, query.limit or self._hosts.limits.pull_records)
        return {**page, "next_n": host.position(caller.device).next_n}

    async def void(self, caller: Identity, query: VoidQuery) -> dict[str, Any]:
        """A page of the user's records that were refused, newest first."""
        host = await self._hosts.open(caller.user)
        below = None if query.after is None else int(query.after)
        async with self._db.read() as session:
            found = await Log(session).voids(host.stream, below, query.limit + 1)
        records = [record.wire() for record in found[: query.limit]]
        following = str(records[-1]["seq"]) if len(found) > query.limit else None
        return {"ok": True, "epoch": host.epoch, "head": host.head, "records": records, "next": following}

    async def void_table(self, caller: Identity) -> AsyncIterator[bytes]:
        """All of them as CSV, in pieces."""
        host = await self._hosts.open(caller.user)
        return self._void_table(host.stream)

    async def _void_table(self, stream: int) -> AsyncIterator[bytes]:
        yield export.head()
        below = None
        while True:
            async with self._db.read() as session:
                found = await Log(session).voids(stream, below, EXPORTED)
            if not found:
                return
            yield export.lines(found)
            below = found[-1].seq

    @contextmanager
    def _counted(self, caller: Identity) -> Iterator[None]:
        """A device may have as many pushes under way as over one connection."""
        device = (caller.user, caller.device)
        if self._under_way[device] >= self._hosts.limits.pushes_in_flight:
            raise Refusal("later", "too many pushes at once; wait for their answers", retry_after_ms=1000)
        self._under_way[device] += 1
        try:
            yield
        finally:
            self._under_way[device] -= 1
            if not self._under_way[device]:
                del self._under_way[device]


def check_epoch(host: Host, epoch: str | None) -> None:
    """Raise Refusal epoch when the client means a log that began anew since."""
    if epoch is not None and epoch != host.epoch:
        raise Refusal("epoch", "this log began anew; take a snapshot", epoch=host.epoch)
