"""The sync routes: what a device does over its socket, for those that have none."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from fitai.gateways.identity import Identity
from fitai.http import media, tables
from fitai.http.frame import Reply, Routes
from fitai.http.sync.schemas import (
    PullAnswer,
    PullQuery,
    PushAnswer,
    PushBody,
    SnapshotPage,
    SnapshotQuery,
    VoidPage,
    VoidQuery,
)
from fitai.http.sync.service import SyncService
from fitai.http.sync.snapshot import SnapshotService

SYNC: web.AppKey[SyncService] = web.AppKey("fitai_sync", SyncService)
SNAPSHOTS: web.AppKey[SnapshotService] = web.AppKey("fitai_snapshots", SnapshotService)

routes = Routes("sync")


@routes.post(
    "/sync/push",
    response=PushAnswer,
    wire=True,
    accepts=PushBody,
    errors=("too_many", "gap", "equivocation", "base_ahead", "epoch", "later"),
    scope="sync:write",
)
async def push_ops(request: web.Request, caller: Identity, payload: Any) -> Reply:
    """Push ops of the calling device.

    The twin of the event `push`: the same ops, rules and answers. The user's sockets hear of the records,
    those of the same device too. A refused push is stored not even in part and carries `ok: false` with its
    code and what the code promises (`next_n`, `retry_after_ms`, `missing`…).
    """
    return Reply(await request.app[SYNC].push(caller, payload))


@routes.get("/sync/pull", response=PullAnswer, wire=True, errors=("bad_request", "epoch"), scope="sync:read")
async def pull_records(request: web.Request, caller: Identity, query: PullQuery) -> Reply:
    """Pull records after a position.

    The twin of the event `pull`.
    """
    return Reply(await request.app[SYNC].pull(caller, query))


@routes.get(
    "/sync/snapshot", response=SnapshotPage, wire=True, errors=("bad_request", "epoch"), scope="sync:read"
)
async def snapshot(request: web.Request, caller: Identity, query: SnapshotQuery) -> Reply:
    """Load every workout's state as it was at one position.

    The first request pins the head and answers it as `at`; go on with `after` = `next` until that is null.
    Newest first by when they happened. Do not write a workout before it is loaded; when all are, `base` is
    `at`, and the tail comes by pull.
    """
    return Reply(await request.app[SNAPSHOTS].page(caller, query))


@routes.get("/sync/void", response=VoidPage, wire=True, also=(tables.CSV,), scope="sync:read")
async def list_void(request: web.Request, caller: Identity, query: VoidQuery) -> Reply | web.Response:
    """List what was refused.

    Ops of all your devices that were understood and could not stand, newest first, each with `code` and
    `detail`. With `Accept: text/csv` all of them come as one table, safe to open in a spreadsheet.
    """
    if not media.accepts(request, tables.CSV):
        return Reply(await request.app[SYNC].void(caller, query))
    return web.Response(
        body=await request.app[SYNC].void_table(caller),
        content_type=tables.CSV,
        charset="utf-8",
        headers=tables.headers("refused.csv"),
    )
