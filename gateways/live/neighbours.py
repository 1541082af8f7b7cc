"""What a host and the hosts of the same user on other nodes tell each other, over the bus.

    head       {first?, records?}   something was committed; records come whole while they are small
    presence   {n, devices}         who is connected there
    who        –                    tell who is connected there
    telemetry  {device, payload}
    revoked    {device, sign_in?}   a device, or a sign-in of it, is out (said by fitai.http.auth)
    named      {device, name}       a device has another name            (said by fitai.http.auth)

Each hint of a host says `node`, `at`, `epoch` and `head` too, and `trace` when it is traced. **Any of them
may be lost, late, doubled or out of order.** Records are taken by position: those that follow on the host's
head, in its worker's turn; what is missing before them is read from the log. A host that hears nothing is
brought to the head by `Hosts.look`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog

from fitai.engine.ops import Record
from fitai.gateways import meters
from fitai.gateways.bus.contract import Message
from fitai.gateways.bus.topics import user_topic
from fitai.persistence import tracing
from fitai.persistence.batches import Row
from fitai.persistence.log import record_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from fitai.gateways.live.host import Host
    from fitai.gateways.live.hosts import Hosts

_log = structlog.get_logger(__name__)

WHOLE = 32  # records that travel in a hint, if they are small: what is more is read from the log,
WHOLE_BYTES = 4 * 1024  # and what is larger
WINDOW = 256  # how far past its head a host keeps the records of hints
PAUSE_S = 0.1  # a host that begins its next batch sooner than this after the last goes on writing,
UNBROKEN = 4  # and after so many batches leaves room for others,
ROOM_S = 0.05  # so long, and as long as a batch takes here,
LONGEST_S = 0.5  # but no longer
JITTER_S = 0.005  # a host that goes on losing waits for up to so much more each time,
JITTERS = 10  # but no more than so many times that


class Neighbours:
    """The other hosts of one user, seen from this one."""

    def __init__(self, host: Host, hosts: Hosts) -> None:
        self._host = host
        self._hosts = hosts
        self._rows: dict[int, Sequence[Any]] = {}
        self._began = 0.0  # when our turn did, by the loop's clock,
        self._committed = 0.0  # and when what we wrote in it was in the log
        self._unbroken = 0  # batches in a row, one soon after the other
        self._spans: list[Span] = []  # of hints that tell of records which we do not have yet
        self._unsubscribe = hosts.bus.subscribe(user_topic(host.user), self._heard, self._listening)

    def close(self) -> None:
        """Stop listening."""
        self._unsubscribe()
        self.delivered(0)

    # -- telling -----------------------------------------------------------------------------------

    def tell(self, kind: str, **message: Any) -> None:
        """Hint something to the hosts of this user on other nodes."""
        if not self._hosts.alone:
            host = self._host
            said = {"kind": kind, "node": self._hosts.node, "at": host.now_ms()}
            message |= {**said, "epoch": host.epoch, "head": host.head}
            if tracing.tracer is not None and (trace := tracing.published(kind=kind)) is not None:
                message["trace"] = trace
            self._hosts.bus.publish(user_topic(host.user), message)

    def committed(self, rows: Sequence[Row]) -> None:
        """These are in the log now; the last of them is the head."""
        if self._hosts.alone or not rows:
            return
        soon = self._began - self._committed < PAUSE_S
        self._unbroken = self._unbroken + 1 if soon and self._host.presence.elsewhere else 0
        self._committed = asyncio.get_running_loop().time()
        if len(rows) <= WHOLE and sum(len(row[-1]) for row in rows) <= WHOLE_BYTES:
            self.tell("head", first=rows[0][1], records=rows)
        else:
            self.tell("head")

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
            self.revoked(message["device"], message.get("sign_in"))
        elif kind == "named":
            host.presence.named(message["device"], message["name"])
        elif message["node"] != self._hosts.node:
            meters.heard_hint(message.get("at"), host.now_ms())
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
        self._keep(message.get("first", 0), message.get("records", ()))
        if message["head"] > host.head:
            if (span := tracing.heard(message.get("trace"), node=self._hosts.node)) is not None:
                self._spans.append(span)
            host.heard_of(message["head"])

    def delivered(self, records: int) -> None:
        """What was told so far has reached the devices here, or was here already."""
        for span in self._spans:
            tracing.told(span, records=records, devices=len(self._host.connections))
            tracing.ended(span)
        self._spans.clear()

    def revoked(self, device: int, sign_in: str | None = None) -> None:
        """A device may no longer be here, or only who has this sign-in of it (or a token that names none)."""
        for connection in list(self._host.connections):
            who = connection.identity
            if who.device == device and (sign_in is None or who.sign_in in (sign_in, None)):
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

    async def turn(self, lost: int) -> None:
        """Wait for our turn to append, having lost so many races for it.

        Whoever won has its state at hand and would win again, since the others have to read first: a long run
        is broken off while the person has devices on other nodes. Who goes on losing does not ask for it
        in step with the others.
        """
        loop = asyncio.get_running_loop()
        if self._unbroken >= UNBROKEN:
            self._unbroken = 0
            await asyncio.sleep(min(ROOM_S + loop.time() - self._began, LONGEST_S))
        if lost > 1:
            await asyncio.sleep(self._hosts.dice.uniform(0, JITTER_S * min(lost, JITTERS)))
        self._began = loop.time()
