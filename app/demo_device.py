"""A device of the demo: the reference client on a file of its own, and what its listener heard.

Nothing here carries data. Of what the client tells, the counts are kept that the demo proves, and the screen
hears of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from fitai.engine.ops import Dot, Verdict
from fitai.gateways.client.client import Client, Stopped
from fitai.gateways.client.core import Patience

PATIENCE_S = 15.0
QUICK = Patience(base_ms=100, cap_ms=400)  # ms between attempts: who watches a demo waits for nothing

Json = dict[str, Any]


class NothingCame(Exception):
    """What a device waited for did not happen in time."""


class Watcher(Protocol):
    """Hears what happens to a device; the demo's screen."""

    def wrote(self, device: Device, op: Json, since: float) -> None:
        """An op is in the outbox; the person tapped at `since` (`time.perf_counter`)."""

    def has(self, device: Device, record: Json) -> None:
        """A record joined the device's log, foreign or its own."""

    def heard(self, device: Device, insight: Json) -> None:
        """An insight that the device did not have like that."""

    def came(self, device: Device, online: Json) -> None:
        """The device is connected; `online` is what its client told: {head, resumed}."""

    def went(self, device: Device) -> None:
        """The device lost its connection."""


class Device:
    """One device of a user; `codec` is json or msgpack.

    told        insights by id: a later one replaces, a withdrawn one goes
    dots        the records that are in its log
    holes       how often a connection left a record out
    duplicates  own ops that were answered as a retry
    refusals    answers to pushes that were refused whole
    bye         with which code the server closed the last connection, if it did
    """

    client: Client

    def __init__(self, name: str, platform: str, codec: str, watcher: Watcher) -> None:
        self.name = name
        self.platform = platform
        self.codec = codec
        self.told: dict[str, Json] = {}
        self.dots: set[Dot] = set()
        self.written = 0
        self.duplicates = 0
        self.connects = 0
        self.resumes = 0
        self.holes = 0
        self.bye: str | None = None
        self.refusals: list[Json] = []
        self._position = 0  # what the connection has told of, by seq
        self._watcher = watcher

    async def open(self, folder: Path, url: str, now_ms: Callable[[], int]) -> None:
        """Open the client's file in a folder; `close` ends it."""
        self.client = await Client.open(
            folder / f"{self.name}.db",
            url=url,
            now_ms=now_ms,
            codec=self.codec,
            patience=QUICK,
            listener=self._hear,
        )

    async def close(self) -> None:
        """Hang up and close the file."""
        await self.client.close()

    @property
    def number(self) -> int | None:
        """Under which the server knows it."""
        return self.client.device

    @property
    def here(self) -> bool:
        """Whether it is connected."""
        return self.client.online

    @property
    def cursor(self) -> int:
        """The end of the contiguous run of the stream that it has."""
        return self.client.held.cursor

    @property
    def acknowledged(self) -> int:
        """How many of its own ops are in its log."""
        return sum(dot.device == self.number for dot in self.dots)

    async def write(
        self,
        workout: str,
        kind: str,
        value: Mapping[str, Any],
        *,
        entity: str | None = None,
        at: int | None = None,
    ) -> Json:
        """Write an op, connected or not. `at` (Unix ms) is for what happened earlier."""
        since = time.perf_counter()
        op = await self.client.log(kind, workout, dict(value), entity, at=at)
        self.written += 1
        self._watcher.wrote(self, op, since)
        return op

    async def shows(self, workout: str) -> Json:
        """The state document of a workout that it knows."""
        document = await self.client.state(workout)
        assert document is not None, "it knows the workout"
        return document

    async def until(self, holds: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
        """Wait until something holds; raises NothingCame."""
        try:
            await self.client.until(holds, within_s)
        except TimeoutError:
            raise NothingCame(f"The {self.name} waited {within_s:g} s until {what}.") from None
        except Stopped as stopped:
            raise NothingCame(f"The {self.name} waited until {what}, and {stopped}.") from None

    async def reached(self, head: int) -> None:
        """Wait until all that it wrote is acknowledged and all records up to `head` are here."""
        await self.until(partial(self._has_all, head), f"all was sent and it had record {head}")

    def _has_all(self, head: int) -> bool:
        return self.client.settled and self.cursor >= head

    def records_told(self, workout: str) -> dict[str, Json]:
        """The record insights of a workout that this device knows, by id."""
        records = (one for one in self.told.values() if one["kind"] == "record")
        return {one["id"]: one for one in records if one["workout"] == workout}

    # -- what the client tells ---------------------------------------------------------------------------

    def _hear(self, event: str, payload: Json) -> None:
        heard: Callable[[Json], None] | None = getattr(self, f"_on_{event}", None)
        if heard is not None:
            heard(payload)

    def _on_online(self, online: Json) -> None:
        self.connects += 1
        self.resumes += online["resumed"]
        self.bye = None
        self._position = self.cursor if online["resumed"] else online["head"]
        self._watcher.came(self, online)

    def _on_offline(self, _: Json) -> None:
        self._watcher.went(self)

    def _on_bye(self, bye: Json) -> None:
        self.bye = bye["code"]

    def _on_ops(self, frame: Json) -> None:
        self._told_of(frame["from"], frame["to"])

    def _on_pushed(self, answer: Json) -> None:
        if not answer["ok"]:
            self.refusals.append(answer)
            return
        for result in answer["results"]:
            if result["verdict"] == Verdict.DUPLICATE:
                self.duplicates += 1
            else:
                self._told_of(result["seq"], result["seq"])

    def _told_of(self, first: int, last: int) -> None:
        self.holes += first > self._position + 1
        self._position = max(self._position, last)

    def _on_records(self, news: Json) -> None:
        for record in news["records"]:
            dot = Dot(record["device"], record["n"])
            if dot not in self.dots:
                self.dots.add(dot)
                self._watcher.has(self, record)

    def _on_insight(self, insight: Json) -> None:
        known = self.told.pop(insight["id"], None)
        if not insight.get("withdrawn"):
            self.told[insight["id"]] = insight
        if insight != known:
            self._watcher.heard(self, insight)
