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

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fitai.engine.ops import SERVERS_OWN, Dot, Verdict
from fitai.gateways.client.messages import Json, Row, Save, Void
from fitai.sync.clock import VectorClock
from fitai.sync.log import Position
from fitai.sync.wire import normal

UNSIGNED = 2**31 - 1
"""The device number of ops that are written before the first sign-in, until they get one."""

DEPTH = 64


@dataclass(slots=True)
class Held:
    """Where we stand; what the store keeps besides the records.

    device     under which the server knows us; author: under which the outbox is numbered. They differ
               after a sign-in that made us another device, until the outbox has been numbered anew
    cursor     end of the contiguous run of the log that is here
    next_n     the counter of the next op
    offset_ms  the server's clock minus ours
    old_head   while beginning again: how far the log went before. 0 otherwise
    former     {device: n}: ops 1..n of other devices that are this one's own, of the time when it was signed
               in, or copied, as those. Our next op had seen them, whatever its base
    heard      {device: n}: what those ops had seen besides their base
    unsaid     whether the log does not know that yet: the first op that is sent says it, by a full clock
    page       where the snapshot stands: {at, after, done}
    positions  where each device stands in our log
    """

    user: str | None = None
    device: int | None = None
    author: int | None = None
    epoch: str | None = None
    cursor: int = 0
    next_n: int = 1
    offset_ms: int = 0
    old_head: int = 0
    former: dict[int, int] = field(default_factory=dict)
    heard: dict[int, int] = field(default_factory=dict)
    unsaid: bool = False
    page: Json | None = None
    outbox: list[Json] = field(default_factory=list)
    positions: dict[int, Position] = field(default_factory=dict)

    @property
    def position(self) -> Position:
        """Where the author of the outbox stands in our log: what its next op has seen besides its base."""
        mine = self.positions.get(self.author, Position()) if self.author is not None else Position()
        return mine._replace(beyond=VectorClock(mine.beyond or {}) | self.heard | self.former)


class Known(Protocol):
    """The records that are kept, as they were before the Save that is being prepared."""

    def at(self, seq: int) -> Row | None:
        """The record at a place."""

    def named(self, dot: Dot) -> Row | None:
        """The record of an op."""

    def by(self, device: int, after: int) -> list[Row]:
        """A device's records after a seq, in order."""

    def clock(self, upto: int) -> dict[int, int]:
        """{device: n} of the newest op of each device in the log up to a seq."""


META = (
    "user",
    "device",
    "author",
    "epoch",
    "cursor",
    "next_n",
    "offset_ms",
    "old_head",
    "former",
    "heard",
    "unsaid",
    "page",
)
"""The fields of Held that are kept one by one."""


class Ledger:
    """See the module's first lines. `take_save` hands over what has to be written down since the last."""

    def __init__(self, held: Held, known: Known) -> None:
        self.held = held
        self.doubt = False
        self._known = known
        self._save = Save()
        self._meta = self._standing()
        self._rewrite = False

    def take_save(self) -> Save:
        """What changed, as one transaction."""
        save, self._save = self._save, Save()
        standing = self._standing()
        save.meta = {key: value for key, value in standing.items() if value != self._meta.get(key)}
        if self._rewrite:
            save.done, save.added, save.rewritten = [], [], list(self.held.outbox)
        self._meta, self._rewrite = standing, False
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

    def outgoing(self, most: int) -> list[Json]:
        """The first ops of the outbox, as they are sent."""
        held, ops = self.held, self.held.outbox[:most]
        if held.unsaid:
            known = self._known.clock(min(ops[0]["base"], held.cursor))
            clock = VectorClock(known) | held.heard | held.former
            said = {"clock": {str(device): n for device, n in sorted(clock.items())}}
            ops[0] = {key: value for key, value in ops[0].items() if key != "base"} | said
        return ops

    # -- learning ------------------------------------------------------------------------------------

    def take(self, record: Json) -> bool:
        """Take a record that goes on from the cursor, or is known; False at a hole."""
        seq = record["seq"]
        if seq > self.held.cursor + 1:
            return False
        if seq <= self.held.cursor:
            return True
        if self.held.old_head:
            self._hold_against(record)
        self._learn(record)
        self._own_record(record)
        return True

    def acknowledge(self, result: Json) -> int:
        """Take one line of a push's answer; returns its seq, which lies beyond the cursor at a hole."""
        held, seq = self.held, int(result["seq"])
        if seq == held.cursor + 1 and not held.old_head and held.outbox and self._is_next(result["n"]):
            told = result.get("first", result)
            record = {**held.outbox[0], "seq": seq, "device": held.author, **told}
            self._learn(record)
            self._arrived(record)
        return seq

    def page(self, answer: Json) -> None:
        """Keep a page of the snapshot: {at, workouts, next}."""
        self._save.states += answer["workouts"]
        self.held.page = {"at": answer["at"], "after": answer["next"], "done": answer["next"] is None}

    def _is_next(self, n: int) -> bool:
        return bool(self.held.outbox[0]["n"] == n)

    def _learn(self, record: Json) -> None:
        held, row = self.held, _row(record)
        held.cursor = row.seq
        held.positions[row.device] = Position(row.n + 1, row.base, row.beyond, row.te)
        if row.device == held.author:
            held.unsaid = False
        if held.old_head and held.cursor >= held.old_head:
            held.old_head = 0
        if held.page is not None and held.page["done"] and held.cursor >= held.page["at"]:
            held.page, self._save.drop_states = None, True
        self._save.rows.append(row)

    def _own_record(self, record: Json) -> None:
        held = self.held
        if self.moved and record["device"] == held.device:
            # A copy of this file signed in as the same device, and has sent what we hold both, or more.
            if held.outbox and same({**held.outbox[0], "n": record["n"]}, record):
                self._arrived(record)
            else:
                self._note_void(record)
            return
        if record["device"] != held.author:
            return
        if not held.outbox or record["n"] < held.outbox[0]["n"]:
            held.next_n = max(held.next_n, record["n"] + 1)
            self._note_void(record)
        elif self._is_next(record["n"]) and same(held.outbox[0], record):
            self._arrived(record)
        else:
            self.doubt = True

    def _arrived(self, record: Json) -> None:
        """The first op of the outbox has its place in the log, under the name that it has there."""
        self._save.done.append(self.held.outbox.pop(0)["n"])
        self._note_void(record)

    def _note_void(self, record: Json) -> None:
        if record["verdict"] == Verdict.VOID:
            void = Void(record["device"], record["n"], record["seq"], record.get("code", "void"), None, {})
            void.detail, void.op = record.get("detail"), op_of(record)
            self._save.void.append(void)

    def refuse(self, code: str, message: str) -> None:
        """The first op of the outbox can not even be read by the server: it goes to what was refused, and
        those behind it, which were never accepted either, move up."""
        op = self.held.outbox.pop(0)
        device = UNSIGNED if self.held.author is None else self.held.author
        self._save.void.append(Void(device, op["n"], None, code, {"message": message}, op))
        self._number_from(op["n"], {}, device)

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
        """Both logs are the same up to `at`, and not beyond. What we wrote since, under whatever name, is
        written again under the one that we have."""
        held, author = self.held, self.held.author
        if author is not None:
            first = held.outbox[0]["n"] if held.outbox else held.next_n
            names = {**held.former, author: first - 1}
            own = [row for device in names for row in self._known.by(device, at)]
            lost = sorted((row for row in own if row.n <= names[row.device]), key=lambda row: row.seq)
            dots = [*((row.device, row.n) for row in lost), *((author, op["n"]) for op in held.outbox)]
            again = [{**op_of(row.body), "base": row.base} for row in lost]
            held.outbox = [*again, *held.outbox]
            start = held.positions.get(author, Position()).next_n
            self._number_from(start, {dot: (author, start + i) for i, dot in enumerate(dots)}, author)
        held.outbox = [_rebased(op, at) for op in held.outbox]
        there = self._known.clock(at)
        held.former = _within(held.former, there)
        held.heard = _within(held.heard, there)
        held.unsaid = bool(held.former or held.heard)
        held.old_head = 0
        self._save.cut = at
        self._rewrite = True

    def signed(self, user: str, device: int) -> None:
        """We are this device now."""
        self.held.user, self.held.device = user, device

    def forked(self, device: int, fork_at: int) -> None:
        """We are a device of our own. The server knows that it has seen its parent's ops below `fork_at`.

        When it has written already, it is the fork of another copy, made while ours was under way: what both
        held has arrived, and where the two differ we are in doubt once more.
        """
        self.held.device = device
        self._become(device, fork_at - 1, 1)
        for row in self._known.by(device, 0):
            if row.seq <= self.held.cursor:
                self._own_record(row.body)

    def renumber(self) -> None:
        """Number the outbox under the device that we are now, after what that has in the log already. Ids,
        times and bases stay."""
        held = self.held
        assert held.device is not None, "signed in before the ops are numbered"
        first = held.outbox[0]["n"] if held.outbox else held.next_n
        there = held.positions.get(held.device, Position()).next_n
        self._become(held.device, min(first, held.position.next_n) - 1, there)
        held.unsaid = bool(held.former)

    def _become(self, device: int, n: int, start: int) -> None:
        """Go on as `device`, numbered from `start`, which has seen the ops 1..n that we wrote as the present
        author."""
        held = self.held
        old = held.author
        if old is not None and old != device:
            held.former = {**held.former, old: n}
            held.heard = dict(VectorClock(held.heard) | self._beyond(old, n))
            for clock in (held.former, held.heard):
                clock.pop(device, None)
        names = {
            (UNSIGNED if old is None else old, op["n"]): (device, start + i)
            for i, op in enumerate(held.outbox)
        }
        held.author, self.doubt = device, False
        self._number_from(start, names, device)

    def _beyond(self, device: int, n: int) -> Mapping[int, int]:
        """What an op in our log had seen beyond its base."""
        position = self.held.positions.get(device, Position())
        row = position if position.next_n == n + 1 else self._known.named(Dot(device, n))
        return (row.beyond if row is not None else None) or {}

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


def _row(record: Json) -> Row:
    """A record as it is kept, with the context that the server told, or else its own base."""
    context = record.get("context") or {"base": record["base"]}
    beyond = {int(device): n for device, n in context.get("beyond", {}).items()}
    return Row(
        seq=record["seq"],
        device=record["device"],
        n=record["n"],
        workout=record["workout"].lower(),
        base=context["base"],
        beyond=beyond or None,
        te=record["te"],
        rev=record["rev"],
        body=record,
    )


def _same_dot(row: Row, record: Json) -> bool:
    return (row.device, row.n) == (record["device"], record["n"])


def _rebased(op: Json, at: int) -> Json:
    """The op for a log of which only the part up to `at` is known: a clock may name what is not there."""
    return {key: value for key, value in op.items() if key != "clock"} | {"base": min(op["base"], at)}


def _within(clock: Mapping[int, int], there: Mapping[int, int]) -> dict[int, int]:
    """What a clock names of a log that holds `there` ({device: n})."""
    return {device: min(n, there[device]) for device, n in clock.items() if n and there.get(device)}


def _renamed(value: Json, names: Mapping[tuple[int, int], tuple[int, int]]) -> Json:
    """A value whose dots name ops that were numbered anew."""
    renamed: dict[str, Any] = {}
    for key in ("parent", "dot"):
        dot = value.get(key)
        if isinstance(dot, (list, tuple)) and len(dot) == 2 and tuple(dot) in names:
            renamed[key] = list(names[dot[0], dot[1]])
    return {**value, **renamed} if renamed else value
