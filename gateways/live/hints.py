"""What the workers of one stream on several nodes tell each other, over the bus.

    head       {first?, records?}   something was committed; records come whole while they are small

Each hint says `node`, `at`, `epoch` and `head` too, and `trace` when it is traced; heirs tell more besides.
**Any of them may be lost, late, doubled or out of order.** Records are taken by position: those that follow
on the worker's head, in its turn; what is missing before them is read from the log. A worker that hears
nothing is brought to the head by `Hosts.look`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog

from fitai.engine.ops import Record
from fitai.gateways import meters
from fitai.gateways.bus.contract import Message
from fitai.persistence import tracing
from fitai.persistence.batches import Row
from fitai.persistence.log import record_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from fitai.gateways.live.hosts import Hosts
    from fitai.gateways.live.worker import Worker

_log = structlog.get_logger(__name__)

WHOLE = 32  # records that travel in a hint, if they are small: what is more is read from the log,
WHOLE_BYTES = 4 * 1024  # and what is larger
WINDOW = 256  # how far past its head a worker keeps the records of hints
PAUSE_S = 0.1  # a worker that begins its next batch sooner than this after the last goes on writing,
UNBROKEN = 4  # and after so many batches leaves room for others,
ROOM_S = 0.05  # so long, and as long as a batch takes here,
LONGEST_S = 0.5  # but no longer
JITTER_S = 0.005  # a worker that goes on losing waits for up to so much more each time,
JITTERS = 10  # but no more than so many times that


class Hints:
    """The workers of one stream on other nodes, seen from this one's."""

    def __init__(self, worker: Worker[Any], hosts: Hosts, topic: str) -> None:
        self._at = worker
        self._hosts = hosts
        self._topic = topic
        self._rows: dict[int, Sequence[Any]] = {}
        self._began = 0.0  # when our turn did, by the loop's clock,
        self._committed = 0.0  # and when what we wrote in it was in the log
        self._unbroken = 0  # batches in a row, one soon after the other
        self._spans: list[Span] = []  # of hints that tell of records which we do not have yet
        self._unsubscribe = hosts.bus.subscribe(topic, self._heard, self._listening)

    # -- what the heirs know -----------------------------------------------------------------------

    def contended(self) -> bool:
        """Whether others may be writing to this stream on other nodes."""
        raise NotImplementedError

    def devices(self) -> int:
        """How many connections are told here."""
        raise NotImplementedError

    def of_worker(self, kind: str, message: Message) -> None:
        """Another node's worker tells something else; its epoch is ours."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop listening."""
        self._unsubscribe()
        self.delivered(0)

    # -- telling -----------------------------------------------------------------------------------

    def tell(self, kind: str, **message: Any) -> None:
        """Hint something to the workers of this stream on other nodes."""
        if not self._hosts.alone:
            worker = self._at
            said = {"kind": kind, "node": self._hosts.node, "at": worker.now_ms()}
            message |= {**said, "epoch": worker.epoch, "head": worker.head}
            if tracing.tracer is not None and (trace := tracing.published(kind=kind)) is not None:
                message["trace"] = trace
            self._hosts.bus.publish(self._topic, message)

    def committed(self, rows: Sequence[Row]) -> None:
        """These are in the log now; the last of them is the head."""
        if self._hosts.alone or not rows:
            return
        soon = self._began - self._committed < PAUSE_S
        self._unbroken = self._unbroken + 1 if soon and self.contended() else 0
        self._committed = asyncio.get_running_loop().time()
        if len(rows) <= WHOLE and sum(len(row[-1]) for row in rows) <= WHOLE_BYTES:
            self.tell("head", first=rows[0][1], records=rows)
        else:
            self.tell("head")

    # -- hearing -----------------------------------------------------------------------------------

    def _listening(self) -> None:
        """The subscription stands: whatever was told until now may have been missed."""
        if not self._hosts.alone:
            self._at.look()

    def _heard(self, message: Message) -> None:
        if message["node"] != self._hosts.node:
            worker = self._at
            meters.heard_hint(message.get("at"), worker.now_ms())
            if message["epoch"] != worker.epoch:
                self._hosts.look_soon()
                return
            if message["kind"] != "head":
                self.of_worker(message["kind"], message)
            self._keep(message.get("first", 0), message.get("records", ()))
            if message["head"] > worker.head:
                if (span := tracing.heard(message.get("trace"), node=self._hosts.node)) is not None:
                    self._spans.append(span)
                worker.heard_of(message["head"])

    def delivered(self, records: int) -> None:
        """What was told so far has reached the devices here, or was here already."""
        for span in self._spans:
            tracing.told(span, records=records, devices=self.devices())
            tracing.ended(span)
        self._spans.clear()

    def _keep(self, first: int, rows: Sequence[Sequence[Any]]) -> None:
        head = self._at.head
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
                _log.warning("hint_unreadable", owner=self._at.owner)
                break
        self._rows = {seq: row for seq, row in self._rows.items() if seq > head + len(found) + 1}
        return found

    # -- races for the head ------------------------------------------------------------------------

    async def turn(self, lost: int) -> None:
        """Wait for our turn to append, having lost so many races for it.

        Whoever won has its state at hand and would win again, since the others have to read first: a long run
        is broken off while others write on other nodes. Who goes on losing does not ask for it
        in step with the others.
        """
        loop = asyncio.get_running_loop()
        if self._unbroken >= UNBROKEN:
            self._unbroken = 0
            await asyncio.sleep(min(ROOM_S + loop.time() - self._began, LONGEST_S))
        if lost > 1:
            await asyncio.sleep(self._hosts.dice.uniform(0, JITTER_S * min(lost, JITTERS)))
        self._began = loop.time()
