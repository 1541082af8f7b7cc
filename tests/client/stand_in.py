"""A server in memory with the rules of the real one: `sync.log` and `sync.place`, without a database.

`Stream` answers pushes, pulls, snapshots and forks by the protocol's text, as data. What a client meets
rarely can be made to happen: `rewind` (a backup was restored), `room` (so many ops are accepted at once).
"""

from __future__ import annotations

import copy
import uuid
from typing import Any

from fitai.engine import combine
from fitai.engine.ops import Dot, Record
from fitai.engine.workout import Limits, digest, state
from fitai.sync import log
from fitai.sync.clock import VectorClock
from fitai.sync.fold import Folded, fold
from fitai.sync.log import Context, Position
from fitai.sync.place import Placer
from fitai.sync.wire import Refusal, WireLimits, decode_push

Json = dict[str, Any]
NOW = 1_780_000_000_000


class Stream:
    """One user's log."""

    def __init__(self, *, room: int | None = None) -> None:
        self.user = str(uuid.uuid4())
        self.epoch = "first"
        self.records: list[Record] = []
        self.forks: dict[int, Position] = {}
        self.devices = 0
        self.now = NOW
        self.room = room
        self.pushes = 0
        self.limits = WireLimits()

    @property
    def head(self) -> int:
        return len(self.records)

    def enrol(self) -> int:
        self.devices += 1
        return self.devices

    def position(self, device: int) -> Position:
        mine = [record for record in self.records if record.device == device]
        if not mine:
            return self.forks.get(device, Position())
        last = mine[-1]
        return Position(last.op.n + 1, last.base, last.beyond, last.te)

    # -- the protocol --------------------------------------------------------------------------------

    def ready(self, device: int, cursor: Json | None) -> Json:
        known = cursor is not None and cursor["epoch"] == self.epoch and cursor["seq"] <= self.head
        return {
            "epoch": self.epoch,
            "head": self.head,
            "resumed": known,
            "next_n": self.position(device).next_n,
            "server_time": self.now,
        }

    def push(self, device: int, payload: Json) -> Json:
        self.pushes += 1
        try:
            return self._push(device, copy.deepcopy(payload))
        except Refusal as refusal:
            return refusal.answer()

    def pull(self, after: int, limit: int = 500) -> Json:
        if after > self.head:
            return Refusal("bad_request", "after is beyond the head", head=self.head).answer()
        page = [copy.deepcopy(record.wire()) for record in self.records[after : after + limit]]
        more = after + len(page) < self.head
        return {"ok": True, "epoch": self.epoch, "head": self.head, "records": page, "more": more}

    def snapshot(self, at: int | None, after: Any, page: int = 2) -> Json:
        at = self.head if at is None else at
        names = list(dict.fromkeys(r.op.workout for r in reversed(self.records[:at])))
        start = 0 if after is None else names.index(after) + 1
        part = names[start : start + page]
        states = [state(self._fold(name, at).workout) for name in part]
        following = part[-1] if start + page < len(names) else None
        told = {"ok": True, "epoch": self.epoch, "at": at, "head": self.head}
        return {**told, "workouts": states, "next": following}

    def fork(self, device: int, fork_at: int) -> int:
        child = self.enrol()
        below = [r for r in self.records if r.device == device and r.op.n < fork_at]
        base = below[-1].base if below else 0
        beyond = {**((below[-1].beyond or {}) if below else {}), **({device: fork_at - 1} if below else {})}
        self.forks[child] = Position(1, base, beyond or None, None)
        return child

    # -- what a test looks at, and what befalls a server -----------------------------------------------

    def digests(self) -> dict[str, str]:
        names = {record.op.workout for record in self.records}
        return {name: digest(self._shown(name, names)) for name in sorted(names)}

    def _shown(self, name: str, names: set[str]) -> Json:
        """A workout's document with what is merged into it, as a host shows it."""
        all_of_them = {name: self._fold(name).workout for name in names}
        aliases = {
            w.id: w.merged_into
            for w in all_of_them.values()
            if w.merged_into in names and combine.alias(w, all_of_them[w.merged_into])
        }
        others = [all_of_them[other] for other in combine.sources(aliases, name)]
        own = all_of_them[name]
        return state(combine.combined(own, others)) if own.known else {}

    def rewind(self, seq: int, epoch: str = "second") -> None:
        """A backup of the log as it was at `seq` is restored."""
        del self.records[seq:]
        self.epoch = epoch
        there = {record.device: record.op.n for record in self.records}
        for child, start in self.forks.items():
            seen = {d: min(n, there[d]) for d, n in (start.beyond or {}).items() if d in there}
            self.forks[child] = start._replace(base=min(start.base, seq), beyond=seen or None)

    def dots(self) -> list[Dot]:
        return [record.dot for record in self.records]

    # -- inside ----------------------------------------------------------------------------------------

    def _fold(self, name: str, at: int | None = None) -> Folded:
        return fold(name, self.user, [r for r in self.records[:at] if r.op.workout == name])

    def _push(self, device: int, payload: Json) -> Json:
        push = decode_push(payload, self.limits)
        if push.epoch is not None and push.epoch != self.epoch:
            raise Refusal("epoch", "this log began anew", epoch=self.epoch)
        folds = {name: self._fold(name) for name in {op.workout for op in push.ops}}
        placer = Placer(self.head, self.now, {device: self.position(device)}, folds, Limits())
        admission = log.admit(push.ops, placer.position(device), placer.seen)
        results = [self._retry(device, op, placer) for op in push.ops[: admission.retries]]
        fresh = admission.fresh if self.room is None else admission.fresh[: self.room]
        if admission.fresh and not fresh:
            raise Refusal("later", "busy", retry_after_ms=1000)
        places = {record.dot: record.seq for record in self.records}
        offset = 0 if push.sent_at is None else self.now - push.sent_at
        for op in fresh:
            named = None if op.clock is None else self._name(device, op.clock)
            context = log.shorten(log.context(op, placer.position(device), named), places)
            record = placer.place(device, op, context, self.now, offset)
            results.append(log.result(record))
        self.records += placer.records
        return {"ok": True, "results": results, "head": self.head}

    def _retry(self, device: int, op: Any, placer: Placer) -> Json:
        stored = next(r for r in self.records if r.dot == Dot(device, op.n))
        return log.retried(op, stored, placer.position(device).next_n)

    def _name(self, device: int, clock: dict[int, int]) -> Context:
        start = self.position(device)
        seen, here = VectorClock(clock) | (start.beyond or {}), VectorClock()
        for record in self.records:
            here |= {record.device: record.op.n}
        log.require(seen, device, here)
        tail = [(record.seq, record.dot) for record in self.records[start.base :]]
        return log.compress(seen, device, start.base, tail)
