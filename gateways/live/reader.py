"""Whoever is told a stream, record by record, on a connection: its place in it, and the order of things.

**Position.** `position` is the last seq of which this reader has been told, by records or by an ack. It is
*live* while that equals the stream's head: then each commit is handed to it at once. One that returns with
a cursor starts behind; a pager reads the log page by page, as the outgoing queue drains, until it stands at
the head. While it is behind, acknowledgements of its own pushes wait for their place, so that everything
leaves in `seq` order: each foreign record below an acknowledged seq before that ack, none above it.

A connection reads its user's stream; a seat in a group's room, the group's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog

from fitai.gateways.live.frames import Frame, OpsFrame
from fitai.gateways.tasks import spawn
from fitai.persistence.database import Unavailable

_log = structlog.get_logger(__name__)

PAGE = 200  # records read at once for a reader that is catching up


class Page(NamedTuple):
    """Records as they are told, and the seq up to which there are no others for this reader."""

    records: Sequence[dict[str, Any]]
    last: int


class Reader:
    """One reader of one stream; see the module's first lines. The heirs say which, and how it is told."""

    __slots__ = ("_paging", "_retries", "_settling", "closed", "pending", "position")

    def __init__(self) -> None:
        self.position = 0
        self.pending = 0  # pushes that were taken and have no answer yet
        self.closed = False
        self._settling: list[tuple[int, int, dict[str, Any], int | None]] = []
        self._retries: list[tuple[int, dict[str, Any], int | None]] = []
        self._paging = False

    # -- what the heirs know -----------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        """Queue an event."""
        raise NotImplementedError

    def answer(self, ack: int | None, payload: Any) -> None:
        """Queue the acknowledgement of an event."""
        raise NotImplementedError

    def _head(self) -> int:
        """The stream's last seq that is known here."""
        raise NotImplementedError

    def _frame(self, first: int, last: int, records: list[dict[str, Any]]) -> OpsFrame:
        """The event that tells records."""
        raise NotImplementedError

    async def _read(self, after: int, limit: int) -> Page:
        """What follows on a position."""
        raise NotImplementedError

    async def drained(self) -> None:
        """Wait until the client has taken most of what was sent: a slow reader is not a dead one."""
        raise NotImplementedError

    def _lost(self) -> None:
        """It can not be told what it has to be told: it is to come back with its cursor."""
        raise NotImplementedError

    # -- what it is told ---------------------------------------------------------------------------

    def start(self, position: int) -> None:
        """Take the agreed place in the stream, and catch up from it."""
        self.position = position
        self._catch_up()

    def offer(self, frame: OpsFrame) -> None:
        """A commit by somebody else: sent now to who is live, else met by the pager."""
        if self.position == frame.first - 1:
            self.position = frame.last
            self.send(frame)
            self._answer_retries()
        else:
            self._catch_up()

    def settle(self, ack: int | None, answer: dict[str, Any], first: int, last: int) -> None:
        """Acknowledge own records `first`..`last` at their place in the order."""
        self.pending -= 1
        if self.position == first - 1:
            self.position = last
            self.answer(ack, answer)
        else:
            self._settling.append((first, last, answer, ack))
            self._catch_up()

    def settle_retry(self, ack: int | None, answer: dict[str, Any], last: int) -> None:
        """Acknowledge a push of which all was in the log already, once what lies below it was sent."""
        self.pending -= 1
        self._settle_retry(ack, answer, last)

    def refuse(self, ack: int | None, answer: dict[str, Any]) -> None:
        """Answer a push that came to nothing."""
        self.pending -= 1
        self.answer(ack, answer)

    @property
    def settled(self) -> bool:
        """Every push that was taken has its answer in the outgoing queue."""
        return not (self.pending or self._settling or self._retries)

    def _settle_retry(self, ack: int | None, answer: dict[str, Any], last: int) -> None:
        if self.position >= last:
            self.answer(ack, answer)
        else:
            self._retries.append((last, answer, ack))
            self._catch_up()

    def _answer_retries(self) -> None:
        waiting, self._retries = self._retries, []
        for last, answer, ack in waiting:
            self._settle_retry(ack, answer, last)

    # -- catching up -------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        if not self._paging and not self.closed and self.position < self._head():
            self._paging = True
            spawn("live.catch_up", self._page())

    async def _page(self) -> None:
        try:
            while not self.closed and self.position < self._head():
                await self.drained()
                page = await self._read(self.position, PAGE)
                if not self.closed:
                    self._emit(page)
        except Unavailable as error:
            _log.warning("catch_up_postponed", error=str(error))
            self._lost()
        except Exception:
            _log.exception("catch_up_failed")
            self._lost()
        finally:
            self._paging = False

    def _emit(self, page: Page) -> None:
        """Send a page, with own acknowledgements in their places instead of the records they cover."""
        run: list[dict[str, Any]] = []
        first = self.position + 1
        for record in page.records:
            seq = record["seq"]
            if seq <= self.position:
                continue
            if self._settling and self._settling[0][0] == seq:
                self._flush(run, first, seq - 1)
                run = []
                _, last, answer, ack = self._settling.pop(0)
                self.position = last
                self.answer(ack, answer)
                first = last + 1
            else:
                run.append(record)
        self._flush(run, first, page.last)
        self._answer_retries()

    def _flush(self, run: list[dict[str, Any]], first: int, last: int) -> None:
        if last >= first:
            self.send(self._frame(first, last, run))
            self.position = last
