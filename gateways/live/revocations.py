"""Who may no longer be here: devices that were revoked and sign-ins that have ended, as the database has it.

The bus brings a revocation at once, but only as a hint, and may be silent without anybody noticing. So each
node asks twice a second which there were lately: one small question, whatever the number of connections.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from fitai.gateways.tasks import spawn
from fitai.persistence.database import Unavailable
from fitai.persistence.devices import Devices
from fitai.persistence.sign_ins import EndedSignIns

if TYPE_CHECKING:
    from fitai.gateways.live.hosts import Hosts

_log = structlog.get_logger(__name__)

SKEW_MS = 5 * 60_000  # how far nodes' clocks may differ for a revocation to be found


class Revocations:
    """Watches for all hosts of a node."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._looked_at = hosts.now_ms()
        self._watcher: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def start(self) -> None:
        """Begin to look."""
        self._watcher = spawn("live.revocations", self._watch())

    async def close(self) -> None:
        """Stop looking."""
        self._closing.set()
        if self._watcher is not None:
            await self._watcher

    async def look(self) -> None:
        """Close the connections of all that are out; raises Unavailable."""
        now, since = self._hosts.now_ms(), self._looked_at - SKEW_MS
        async with self._hosts.db.read() as session:
            revoked = await Devices(session).revoked_since(since)
            ended = await EndedSignIns(session).since(since)
        for user, device in revoked:
            self._out(user, device, None)
        for sign_in in ended:
            self._out(sign_in.user, sign_in.device, sign_in.id)
        self._looked_at = now

    def _out(self, user: str, device: int, sign_in: str | None) -> None:
        host = self._hosts.loaded(user)
        if host is not None:
            host.neighbours.revoked(device, sign_in)

    async def _watch(self) -> None:
        while not self._closing.is_set():
            try:
                await self.look()
            except Unavailable:
                _log.warning("revocations_not_looked_for")
            except Exception:
                _log.exception("revocations_not_looked_for")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._hosts.limits.revoked_s)
