"""What a client knows for certain, and how that may change. Pure: it changes `Held` and notes it in a `Save`.

There are two lists. The **log** is the run of records from 1 to the cursor, without a hole. The **outbox**
holds the ops whose records are not in the log yet, numbered by this device without a gap. An op leaves the
outbox in the moment in which its record enters the log, whether an acknowledgement brought it or a pull.

So an own record that comes is held against the first op of the outbox: the same content, and the op has
arrived. Another content, and somebody else writes under our name (a restored backup, a clone): we are in
**doubt**, and the core will fork us when we have seen the whole log, since only then do we know which of our
ops arrived before, from here or from the copy that held them too.

**Beginning again.** The server's log can be another one than ours: a new epoch after a restore. The cursor
goes back to 0 and the log is learnt anew. As long as record after record is the same as the one we have at
its place, nothing changes. At the first that differs the logs part: our own ops from there on, acknowledged
once, go back into the outbox, and no op there keeps a base beyond the part that both logs share. A smaller
context can only leave a choice to a person, never lose a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fitai.engine.ops import Dot, Verdict
from fitai.gateways.client.messages import Json, Row, Save, Void
from fitai.sync import log
from fitai.sync.log import Context, Position
from fitai.sync.wire import normal

UNSIGNED = 2**31 - 1
"""The device number of ops that are written before the first sign-in, until they get one."""

DEPTH = 64

SERVERS_OWN = frozenset({"seq", "rev", "device", "te", "verdict", "code", "detail", "beyond"})
"""What a record has and its op has not. `beyond` names what its author had seen past the base."""


@dataclass(slots=True)
class Held:
    """Where we stand; what the store keeps besides the records.

    device     under which the server knows us; author: under which the outbox is numbered. They differ
               after a sign-in that made us another device, until the outbox has been numbered anew
    cursor     end of the contiguous run of the log that is here
    next_n     the counter of the next op
    offset_ms  the server's clock minus ours
    old_head   while beginning again: how far the log went before. 0 otherwise
    forks      {device: (parent, n)}: that device's context includes the parent's ops 1..n
    page       where the snapshot stands: {at, after, done}
    positions  where each device stands in our log
    inexact    seqs of own records whose `te` is an estimate
    """

    user: str | None = None
    device: int | None = None
    author: int | None = None
    epoch: str | None = None
    cursor: int = 0
    next_n: int = 1
    offset_ms: int = 0
    old_head: int = 0
    forks: dict[int, tuple[int, int]] = field(default_factory=dict)
    page: Json | None = None
    outbox: list[Json] = field(default_factory=list)
    positions: dict[int, Position] = field(default_factory=dict)
    inexact: set[int] = field(default_factory=set)


class Known(Protocol):
    """The records that are kept, as they were before the Save that is being prepared."""

    def at(self, seq: int) -> Row | None:
        """The record at a place."""

    def by(self, device: int, after: int) -> list[Row]:
        """A device's records after a seq, in order."""

    def dots(self, after: int, upto: int) -> Iterable[tuple[int, Dot]]:
        """(seq, dot) of the records in `after` < seq <= `upto`, in order."""

    def clock(self, upto: int) -> dict[int, int]:
        """{device: n} of the newest op of each device in the log up to a seq."""

    def rev(self, workout: str, upto: int) -> int:
        """The revision of a workout's newest record up to a seq, 0 without one."""


META = ("user", "device", "author", "epoch", "cursor", "next_n", "offset_ms", "old_head", "forks", "page")
"""The fields of Held that are kept one by one."""


class Ledger:
    """See the module's first lines. `take_save` hands over what has to be written down since the last."""

    def __init__(self, held: Held, known: Known, now_ms: Callable[[], int]) -> None:
        self.held = held
        self.doubt = False
        self._known = known
        self._now_ms = now_ms
        self._save = Save()
        self._meta = self._standing()
        self._rewrite = False
        self._fresh: dict[int, Row] = {}

    def take_save(self) -> Save:
        """What changed, as one transaction."""
        save, self._save = self._save, Save()
        standing = self._standing()
        save.meta = {key: value for key, value in standing.items() if value != self._meta.get(key)}
        if self._rewrite:
            save.done, save.added, save.rewritten = [], [], list(self.held.outbox)
        self._meta, self._rewrite = standing, False
        self._fresh.clear()
        return save

    # -- writing -------------------------------------------------------------------------------------

    @property
    def moved(self) -> bool:
        """Whether the outbox is numbered under another device than we are now."""
        return self.held.author != self.held.device

    @property
    def base(self) -> int:
        """The context of an op that is written now: the end of the run, or a whole snapshot's seq."""
        page = self.held.page
        return max(self.held.cursor, page["at"] if page is not None and page["done"] else 0)

    def write(self, op: Json) -> Json:
        """Put an op (kind, workout, value, at, entity?) into the outbox; returns it with n and base."""
        held = self.held
        op = {"n": held.next_n, "base": self.base, **op}
        held.next_n += 1
        held.outbox.append(op)
        self._save.added.append(op)
        return op

    # -- learning ------------------------------------------------------------------------------------

    def take(self, record: Json) -> bool:
        """Take a record that goes on from the cursor, or tells more of a known one; False at a hole."""
        seq = record["seq"]
        if seq > self.held.cursor + 1:
            return False
        if seq <= self.held.cursor:
            if seq in self.held.inexact:
                self._correct(record)
            return True
        if self.held.old_head:
            self._hold_against(record)
        self._learn(self._row(record))
        self._own_record(record)
        return True

    def acknowledge(self, result: Json) -> int:
        """Take one line of a push's answer; returns its seq, which lies beyond the cursor at a hole."""
        held, seq = self.held, int(result["seq"])
        if seq == held.cursor + 1 and not held.old_head and held.outbox and self._is_next(result["n"]):
            self._learn(self._own_row(held.outbox[0], result))
            self._arrived(result.get("first", result), seq)
        return seq

    def page(self, answer: Json) -> None:
        """Keep a page of the snapshot: {at, workouts, next}."""
        self._save.states += answer["workouts"]
        self.held.page = {"at": answer["at"], "after": answer["next"], "done": answer["next"] is None}

    def _is_next(self, n: int) -> bool:
        return bool(self.held.outbox[0]["n"] == n)

    def _learn(self, row: Row) -> None:
        held = self.held
        held.cursor = row.seq
        held.positions[row.device] = Position(row.n + 1, row.base, row.beyond, row.te)
        if not row.exact:
            held.inexact.add(row.seq)
        else:
            held.inexact.discard(row.seq)
        if held.old_head and held.cursor >= held.old_head:
            held.old_head = 0
        if held.page is not None and held.page["done"] and held.cursor >= held.page["at"]:
            held.page, self._save.drop_states = None, True
        self._keep(row)

    def _keep(self, row: Row) -> None:
        self._save.rows.append(row)
        self._fresh[row.seq] = row

    def _correct(self, record: Json) -> None:
        known = self._fresh.get(record["seq"]) or self._known.at(record["seq"])
        if known is None or not _same_dot(known, record):
            return
        self.held.inexact.discard(record["seq"])
        position = self.held.positions[known.device]
        if position.next_n == known.n + 1:
            self.held.positions[known.device] = position._replace(te=record["te"])
        row = Row(
            known.seq,
            known.device,
            known.n,
            known.workout,
            known.base,
            known.beyond,
            record["te"],
            record["rev"],
            True,
            record,
        )
        self._keep(row)

    def _own_record(self, record: Json) -> None:
        held = self.held
        if self.moved and record["device"] == held.device and held.outbox:
            # A copy of this file signed in as the same device, and has sent what we hold both.
            if same({**held.outbox[0], "n": record["n"]}, record):
                self._arrived(record, record["seq"])
            return
        if record["device"] != held.author:
            return
        if not held.outbox or record["n"] < held.outbox[0]["n"]:
            held.next_n = max(held.next_n, record["n"] + 1)
            self._note_void(record, record)
        elif self._is_next(record["n"]) and same(held.outbox[0], record):
            self._arrived(record, record["seq"])
        else:
            self.doubt = True

    def _arrived(self, verdict: Json, seq: int) -> None:
        """The first op of the outbox has its place in the log."""
        op = self.held.outbox.pop(0)
        self._save.done.append(op["n"])
        self._note_void({**op, "device": self.held.author, "seq": seq}, verdict)

    def _note_void(self, record: Json, verdict: Json) -> None:
        if verdict["verdict"] == Verdict.VOID:
            void = Void(record["device"], record["n"], record["seq"], verdict.get("code", "void"), None, {})
            void.detail, void.op = verdict.get("detail"), op_of(record)
            self._save.void.append(void)

    def refuse(self, code: str, message: str) -> None:
        """The first op of the outbox can not even be read by the server: it goes to what was refused, and
        those behind it, which were never accepted either, move up."""
        op = self.held.outbox.pop(0)
        device = UNSIGNED if self.held.author is None else self.held.author
        self._save.void.append(Void(device, op["n"], None, code, {"message": message}, op))
        self._number_from(op["n"], {}, device)

    # -- rows and their contexts -----------------------------------------------------------------------

    def _row(self, record: Json) -> Row:
        context = self._context(record, record["device"], record["seq"])
        return Row(
            seq=record["seq"],
            device=record["device"],
            n=record["n"],
            workout=record["workout"].lower(),
            base=context.base,
            beyond=dict(context.beyond) if context.beyond else None,
            te=record["te"],
            rev=record["rev"],
            exact=True,
            body=record,
        )

    def _own_row(self, op: Json, result: Json) -> Row:
        """An own op at its acknowledged place. An answer that does not tell `te` leaves an estimate."""
        held, seq = self.held, result["seq"]
        assert held.author is not None, "only a signed-in device pushes"
        verdict = result.get("first", result)
        position = held.positions.get(held.author, Position())
        now = self._now_ms() + held.offset_ms
        told = "te" in verdict and "rev" in verdict
        te = verdict["te"] if told else log.effective_time(op["at"], held.offset_ms, position.te, now)
        body = {**op, "seq": seq, "device": held.author, "te": te}
        body["rev"] = verdict["rev"] if told else self._rev(op["workout"].lower()) + 1
        body |= {key: verdict[key] for key in ("verdict", "code", "detail") if verdict.get(key) is not None}
        row = self._row(body)
        row.exact = told
        return row

    def _rev(self, workout: str) -> int:
        fresh = [row.rev for row in self._fresh.values() if row.workout == workout]
        return max(fresh) if fresh else self._known.rev(workout, self.held.cursor)

    def _context(self, op: Json, device: int, seq: int) -> Context:
        position = self.held.positions.get(device) or self._born(device)
        named: Context | None = None
        if op.get("clock") is not None:
            named = self._compressed({int(d): n for d, n in op["clock"].items()}, device, position.base, seq)
        base = named.base if named is not None else op.get("base") or 0
        beyond = dict(position.beyond or {})
        further = {int(d): n for d, n in (op.get("beyond") or {}).items()}
        for other, n in [*((named.beyond if named else None) or {}).items(), *further.items()]:
            beyond[other] = max(n, beyond.get(other, 0))
        return Context(max(base, position.base), beyond or None)

    def _born(self, device: int) -> Position:
        """Where a device stands before its first op: a fork has seen its parent's."""
        if device not in self.held.forks:
            return Position()
        parent, n = self.held.forks[device]
        before = self.held.positions.get(parent) or self._born(parent)
        seen = {**(before.beyond or {}), parent: n} if n else before.beyond
        return Position(1, before.base, seen, before.te)

    def _compressed(self, clock: Mapping[int, int], device: int, start: int, seq: int) -> Context:
        places: dict[Dot, int] = {}
        tail = []
        for place, dot in self._dots(start, seq - 1):
            tail.append((place, dot))
            places[dot] = place
        ahead = [Dot(d, n) for d, n in clock.items() if Dot(d, n) in places]
        named = log.compress(clock, device, start, tail, ahead)
        past = {d: n for d, n in (named.beyond or {}).items() if places[Dot(d, n)] > named.base}
        return Context(named.base, past or None)

    def _dots(self, after: int, upto: int) -> Iterable[tuple[int, Dot]]:
        stored = upto if not self._fresh else min(min(self._fresh) - 1, upto)
        yield from self._known.dots(after, stored)
        for seq in sorted(self._fresh):
            if max(after, stored) < seq <= upto:
                yield seq, Dot(self._fresh[seq].device, self._fresh[seq].n)

    # -- another log, another name ---------------------------------------------------------------------

    def begin_again(self, epoch: str) -> None:
        """Learn the log from its start; see the module's first lines."""
        held = self.held
        held.old_head = max(held.old_head, held.cursor)
        held.epoch, held.cursor, held.page = epoch, 0, None
        held.positions.clear()
        self._save.drop_states = True

    def whole(self) -> None:
        """The cursor stands at the end of the server's log: what we had beyond it is not there."""
        if self.held.old_head:
            self._part(self.held.cursor)

    def _hold_against(self, record: Json) -> None:
        known = self._known.at(record["seq"])
        if known is None or not (_same_dot(known, record) and same(op_of(known.body), record)):
            self._part(record["seq"] - 1)

    def _part(self, at: int) -> None:
        """Both logs are the same up to `at`, and not beyond."""
        held = self.held
        lost = [] if held.author is None else self._known.by(held.author, at)
        first = held.outbox[0]["n"] if held.outbox else held.next_n
        again = [op_of(row.body) for row in lost if row.n < first]
        held.outbox = [_rebased(op, at) for op in [*again, *held.outbox]]
        held.inexact = {seq for seq in held.inexact if seq <= at}
        held.old_head = 0
        self._save.cut = at
        self._rewrite = True

    def signed(self, user: str, device: int) -> None:
        """We are this device now."""
        self.held.user, self.held.device = user, device

    def forked(self, device: int, fork_at: int) -> None:
        """We are a device of our own, which has seen its parent's ops below `fork_at`.

        When it has written already, it is the fork of another copy, made while ours was under way: what both
        held has arrived, and where the two differ we are in doubt once more.
        """
        held = self.held
        if held.author is not None:
            held.forks = {**held.forks, device: (held.author, fork_at - 1)}
        held.device = device
        self._number_as(device, 1)
        for row in self._known.by(device, 0):
            if row.seq <= held.cursor:
                self._own_record(row.body)

    def renumber(self) -> None:
        """Number the outbox under the device that we are now, after what that has in the log already.

        Ids, times and bases stay. A new device that is no fork is not known to have seen what we wrote
        under the old name: the first op says so by a full clock.
        """
        held = self.held
        old = held.author
        assert held.device is not None, "signed in before the ops are numbered"
        if (
            held.outbox
            and old is not None
            and held.device not in held.forks
            and "clock" not in held.outbox[0]
        ):
            held.outbox[0] = self._with_clock(held.outbox[0], old)
        self._number_as(held.device, held.positions.get(held.device, Position()).next_n)

    def _number_as(self, device: int, start: int) -> None:
        """The outbox is this device's from now on, numbered from `start`."""
        held = self.held
        old = UNSIGNED if held.author is None else held.author
        names = {(old, op["n"]): (device, start + i) for i, op in enumerate(held.outbox)}
        held.author, self.doubt = device, False
        self._number_from(start, names, device)

    def _with_clock(self, op: Json, old: int) -> Json:
        if "clock" in op:
            return op
        clock = self._known.clock(min(op["base"], self.held.cursor))
        mine = self.held.positions.get(old)
        if mine is not None:
            clock[old] = max(clock.get(old, 0), mine.next_n - 1)
        rest = {key: value for key, value in op.items() if key != "base"}
        return {**rest, "clock": {str(device): n for device, n in sorted(clock.items())}}

    def _number_from(self, n: int, names: Mapping[tuple[int, int], tuple[int, int]], device: int) -> None:
        if not names:
            names = {(device, op["n"]): (device, n + i) for i, op in enumerate(self.held.outbox)}
        self.held.outbox = [
            {**op, "n": n + i, "value": _renamed(op["value"], names)} for i, op in enumerate(self.held.outbox)
        ]
        self.held.next_n = n + len(self.held.outbox)
        self._rewrite = True

    def _standing(self) -> Json:
        return {key: getattr(self.held, key) for key in META}


def op_of(record: Json) -> Json:
    """The op in a record."""
    return {key: value for key, value in record.items() if key not in SERVERS_OWN}


def same(op: Json, record: Json) -> bool:
    """Whether a record is this op: all that the op says, but for base and clock, which are not content."""
    said = {key: value for key, value in op.items() if key not in ("base", "clock")}
    there = {key: record[key] for key in said if key in record}
    return bool(normal(said, DEPTH) == normal(there, DEPTH))


def _same_dot(row: Row, record: Json) -> bool:
    return (row.device, row.n) == (record["device"], record["n"])


def _rebased(op: Json, at: int) -> Json:
    return {**op, "base": min(op["base"], at)} if "base" in op else op


def _renamed(value: Json, names: Mapping[tuple[int, int], tuple[int, int]]) -> Json:
    """A value whose dots name ops that were numbered anew."""
    renamed: dict[str, Any] = {}
    for key in ("parent", "dot"):
        dot = value.get(key)
        if isinstance(dot, (list, tuple)) and len(dot) == 2 and tuple(dot) in names:
            renamed[key] = list(names[dot[0], dot[1]])
    return {**value, **renamed} if renamed else value
