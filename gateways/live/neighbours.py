"""What a host and the hosts of the same user on other nodes tell each other, over the bus.

    head       {first?, records?}   something was committed; records come whole while they are small
    waits      {ms}                 somebody lost a race for the head, which took it so long: let it go first
    presence   {n, devices}         who is connected there
    who        –                    tell who is connected there
    telemetry  {device, payload}
    revoked    {device}             a device may no longer be here      (said by fitai.http.auth)
    named      {device, name}       a device has another name           (said by fitai.http.auth)

Each hint of a host says `node`, `epoch` and `head` besides. **Any of them may be lost, late, doubled or out
of order.** Records are taken by position: those that follow on the host's head, in its worker's turn; what is
missing before them is read from the log. A host that hears nothing is brought to the head by `Hosts.look`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from fitai.engine.ops import Record
from fitai.gateways.bus.contract import Message
from fitai.gateways.bus.topics import user_topic
from fitai.persistence.log import record_of, row_of

if TYPE_CHECKING:
    from fitai.gateways.live.host import Host
    from fitai.gateways.live.hosts import Hosts

_log = structlog.get_logger(__name__)

WHOLE_BYTES = 4 * 1024  # of records that travel in a hint; larger ones are read from the log
WINDOW = 256  # how far past its head a host keeps the records of hints
GIVE_WAY_S = 0.05  # how long a node that is to go first is waited for,
LONGEST_S = 0.5  # and the longest for one that said how long it takes
UNBROKEN = 4  # batches after which a host that goes on writing leaves room for one that it does not hear
JITTER_S = 0.005  # a host that goes on losing waits for up to so much more each time,
JITTERS = 10  # but no more than so many times that


class Neighbours:
    """The other hosts of one user, seen from this one."""

    def __init__(self, host: Host, hosts: Hosts) -> None:
        self._host = host
        self._hosts = hosts
        self._rows: dict[int, Sequence[Any]] = {}
        self._owing = 0.0  # seconds for which somebody is to go first
        self._passed = asyncio.Event()
        self._began = 0.0  # when our turn did, by the loop's clock
        self._unbroken = 0  # batches in a row with nothing between them
        self._unsubscribe = hosts.bus.subscribe(user_topic(host.user), self._heard, self._listening)

    def close(self) -> None:
        """Stop listening."""
        self._unsubscribe()

    # -- telling -----------------------------------------------------------------------------------

    def tell(self, kind: str, **message: Any) -> None:
        """Hint something to the hosts of this user on other nodes."""
        if not self._hosts.alone:
            host = self._host
            message |= {"kind": kind, "node": self._hosts.node, "epoch": host.epoch, "head": host.head}
            self._hosts.bus.publish(user_topic(host.user), message)

    def committed(self, records: Sequence[Record]) -> None:
        """These are in the log now; the last of them is the head."""
        if self._hosts.alone or not records:
            return
        self._unbroken = self._unbroken + 1 if self._host.pressed else 0
        rows = [row_of(0, record) for record in records]
        if sum(len(row[-1]) for row in rows) > WHOLE_BYTES:
            self.tell("head")
        else:
            self.tell("head", first=records[0].seq, records=rows)

    # -- hearing -----------------------------------------------------------------------------------

    def _listening(self) -> None:
        """The subscription stands: whatever was told until now may have been missed."""
        if not self._hosts.alone:
            self._host.look()
            if self._host.connections:
                self._host.presence.ask()

    def _heard(self, message: Message) -> None:
        kind, host = message["kind"], self._host
        if kind == "revoked":
            self.revoked(message["device"])
        elif kind == "named":
            host.presence.named(message["device"], message["name"])
        elif message["node"] != self._hosts.node:
            if message["epoch"] == host.epoch:
                self._of_host(kind, message)
            else:
                self._hosts.look_soon()

    def _of_host(self, kind: str, message: Message) -> None:
        host = self._host
        if kind == "telemetry":
            host.spread_telemetry(message["device"], message["payload"], None)
        elif kind == "presence":
            host.presence.heard(message["node"], message["n"], message["devices"])
        elif kind == "who":
            host.presence.asked()
        elif kind == "waits":
            self._owing = min(GIVE_WAY_S + 2 * message["ms"] / 1000, LONGEST_S) if host.pressed else 0.0
        self._keep(message.get("first", 0), message.get("records", ()))
        if message["head"] > host.head:
            self._owing = 0.0
            self._passed.set()
            host.heard_of(message["head"])

    def revoked(self, device: int) -> None:
        """A device may no longer be here."""
        for connection in list(self._host.connections):
            if connection.identity.device == device:
                connection.bye("revoked")

    def _keep(self, first: int, rows: Sequence[Sequence[Any]]) -> None:
        head = self._host.head
        for seq, row in enumerate(rows, first):
            if head < seq <= head + WINDOW:
                self._rows[seq] = row

    def after(self, head: int) -> list[Record]:
        """Records that hints brought, of those that follow on a position without a gap."""
        found: list[Record] = []
        while (row := self._rows.get(head + len(found) + 1)) is not None:
            try:
                found.append(record_of(row))
            except (ValueError, TypeError, KeyError):  # of another release: the log has it in our words
                _log.warning("hint_unreadable", user=self._host.user)
                break
        self._rows = {seq: row for seq, row in self._rows.items() if seq > head + len(found) + 1}
        return found

    # -- races for the head ------------------------------------------------------------------------

    def lost_a_race(self) -> None:
        """Another node was faster, and may be so again and again: it has nothing to read before its next."""
        self._hosts.lost_races += 1
        self._unbroken = 0
        self.tell("waits", ms=int(self._took() * 1000))

    async def turn(self, lost: int) -> None:
        """Wait for our turn to append, having lost so many races for it. One that waits goes first, unless
        nothing is heard of it; in case that nobody can be heard, a long run is broken off; and who goes on
        losing does not ask for the head in step with the others."""
        if self._owing:
            patience, self._owing = self._owing, 0.0
            self._passed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._passed.wait(), patience)
        elif self._unbroken >= UNBROKEN:
            self._unbroken = 0
            await asyncio.sleep(min(GIVE_WAY_S + self._took(), LONGEST_S))
        if lost > 1:
            await asyncio.sleep(self._hosts.dice.uniform(0, JITTER_S * min(lost, JITTERS)))
        self._began = asyncio.get_running_loop().time()

    def _took(self) -> float:
        return asyncio.get_running_loop().time() - self._began
