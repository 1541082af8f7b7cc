"""The conversation about one group, as a pure state machine: events in, questions out, no await.

A group's stream is small and made for the moment, so it is simpler than a person's (`core.py`): everything is
in memory, nothing forks, and what waits is renumbered when the server's log is another one.

    core.came()                 there is a connection
    ask = core.next()           what to ask now, or None
    core.answered(answer)       the answer to it
    core.told(frame)            `group:ops`        core.ticked(tick)    `group:tick`
    core.wait_ms                so long nothing is asked; then `core.woke()`
    core.take_news()            what an app may want to hear

One question is under way at a time, in this order: join (always first, on every connection), pull what the
connection does not send by itself, push what waits, leave.

**Exactly once.** An op keeps its counter `n` until its place in the log is known, by an acknowledgement or by
its own record coming back. After a join nothing is pushed before the log is here up to the head that was
told: then it is known which ops had arrived. What is still unknown is pushed again (a node may lag behind
another), and a second one is answered as a duplicate. Where a join itself is an op of ours (who had left
comes back), the server numbered it: what waits moves up behind it.

**Cursor.** The end of the contiguous run. A frame covers `from..to`, also what it does not show (another's
void op), so the cursor goes to `to`; an acknowledgement moves it only when it is the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fitai.engine.groups.document import document
from fitai.engine.groups.fold import take
from fitai.engine.groups.group import Group
from fitai.engine.groups.ticks import View, apply
from fitai.engine.ops import Verdict
from fitai.gateways.client.core import Patience
from fitai.gateways.client.ledger import same
from fitai.sync.wire import decode_record

Json = dict[str, Any]

PUSH_OPS: Final = 50
PULL_RECORDS: Final = 500

_LATER: Final = frozenset({"later", "unavailable", "gap", "base_ahead", "epoch"})
_REJOIN: Final = frozenset({"gap", "base_ahead", "epoch", "not_joined"})


class Ask(NamedTuple):
    """A question to the server: its event and payload."""

    event: str
    payload: Json


@dataclass(slots=True, eq=False)
class Written:
    """An op of this device: `result` is {n, seq, verdict, code?, detail?} once its place is known."""

    op: Json
    result: Json | None = None


@dataclass(slots=True)
class GroupHeld:
    """What this device has of the group.

    group     its id; None while only a code is known
    member, device  who we are in it
    cursor    the end of the contiguous run of its log, in `epoch`
    records   as they were told, and own ones, by seq; voids of others are not among them
    outbox    ops whose place is not known yet, numbered without a gap
    view      {member: {field: value}}: what everybody is shown, by the last tick
    """

    group: str | None = None
    member: int | None = None
    device: int | None = None
    epoch: str | None = None
    cursor: int = 0
    next_n: int = 1
    records: dict[int, Json] = field(default_factory=dict)
    outbox: list[Written] = field(default_factory=list)
    view: View = field(default_factory=dict)


class GroupCore:
    """See the module's first lines.

    stopped  why it does not try any more: a code of the server's (`not_found`, `full`, `banned`, …), or
             `left`; None while it does
    joined   whether this connection is in the room
    """

    def __init__(
        self,
        ask: Json,
        *,
        now_ms: Callable[[], int],
        random: Callable[[], float],
        patience: Patience | None = None,
    ) -> None:
        """`ask` is {group | code, as?, share?, workout?}, as `group:join` takes it."""
        self.held = GroupHeld(ask.get("group"))
        self.stopped: str | None = None
        self.joined = False
        self.wait_ms: int | None = None
        self.ticks = 0
        self.duplicates = 0
        self._join = ask
        self._now_ms = now_ms
        self._random = random
        self._patience = patience or Patience()
        self._failures = 0
        self._online = False
        self._leaving: Json | None = None
        self._question: Ask | None = None
        self._goal = 0  # up to here we have to pull
        self._coming = 0  # up to here the connection sends by itself
        self._group = Group(self.held.group or "")
        self._snapshot: Json | None = None
        self._news: list[tuple[str, Json]] = []

    # -- what is known ---------------------------------------------------------------------------------

    @property
    def group(self) -> Group:
        """The fold of the log up to the cursor."""
        return self._group

    @property
    def document(self) -> Json | None:
        """The group's state document; what came with the join until the log is here; None before."""
        if self._snapshot is not None and self._snapshot["seq"] > self.held.cursor:
            return self._snapshot
        return document(self._group) if self._group.created else None

    @property
    def settled(self) -> bool:
        """Whether nothing waits, and all that there was when it was last asked is here."""
        idle = self.joined and self._question is None and self.wait_ms is None
        return idle and self.held.cursor >= max(self._goal, self._coming) and not self.held.outbox

    @property
    def asked(self) -> Ask | None:
        """The question that is under way."""
        return self._question

    def take_news(self) -> list[tuple[str, Json]]:
        """(event, payload) since the last call: joined, records, written, view, stopped."""
        news, self._news = self._news, []
        return news

    # -- what is wanted --------------------------------------------------------------------------------

    def write(self, kind: str, value: Json) -> Written:
        """An op that is to be pushed. Its base is what this device has seen now."""
        held = self.held
        op = {"n": held.next_n, "base": held.cursor, "kind": kind, "value": value, "at": self._now_ms()}
        held.next_n += 1
        written = Written(op)
        held.outbox.append(written)
        return written

    def leave(self, *, stay: bool) -> None:
        """Go, once all that waits is pushed; `stay`: only close the room, and be a member on."""
        self._leaving = {"group": self.held.group, "stay": True} if stay else {"group": self.held.group}

    def next(self) -> Ask | None:
        """What to ask now; None: nothing, or not now."""
        if not self._online or self._question is not None or self.wait_ms is not None or self.stopped:
            return None
        self._question = self._choose()
        return self._question

    def _choose(self) -> Ask | None:
        held = self.held
        if not self.joined:
            return Ask("group:join", self._joining())
        if held.cursor < self._goal:
            payload = {"group": held.group, "after": held.cursor, "limit": PULL_RECORDS}
            return Ask("group:pull", payload)
        if held.cursor < self._coming:
            return None
        if held.outbox:
            ops = [written.op for written in held.outbox[:PUSH_OPS]]
            return Ask("group:push", {"group": held.group, "ops": ops, "epoch": held.epoch})
        return None if self._leaving is None else Ask("group:leave", self._leaving)

    def _joining(self) -> Json:
        """By the group's id once it is known: a code may have been replaced meanwhile."""
        held = self.held
        ask = {key: value for key, value in self._join.items() if key not in ("group", "code")}
        if held.group is None:
            return {"code": self._join["code"], **ask}
        if held.epoch is None:
            return {**self._join, "group": held.group}
        return {"group": held.group, **ask, "cursor": {"epoch": held.epoch, "seq": held.cursor}}

    # -- the connection --------------------------------------------------------------------------------

    def came(self) -> None:
        """There is a connection."""
        self.went()
        self._online = True

    def went(self) -> None:
        """It is gone, and with it whatever was asked on it."""
        self._online = self.joined = False
        self._question = self.wait_ms = None

    def woke(self) -> None:
        """The wait is over."""
        self.wait_ms = None

    def _wait(self, least_ms: int = 0) -> None:
        self.wait_ms = least_ms + self._patience.after(self._failures, self._random())
        self._failures += 1

    def _stop(self, code: str) -> None:
        self.stopped, self.joined = code, False
        self._news.append(("stopped", {"code": code}))

    # -- answers ---------------------------------------------------------------------------------------

    def answered(self, answer: Json) -> None:
        """The answer to the question that is under way."""
        question, self._question = self._question, None
        assert question is not None, "somebody asked"
        if not answer.get("ok"):
            self._refused(answer)
            return
        self._failures = 0
        match question.event:
            case "group:join":
                self._entered(answer)
            case "group:pull":
                self._page(answer)
            case "group:push":
                self._accepted(answer)
            case _:
                self._stop("left")

    def _refused(self, answer: Json) -> None:
        """`later` and its like are tried again; what concerns the room, by joining anew."""
        code = answer.get("code", "unavailable")
        if code in _REJOIN:
            self.joined = False
        if code in _LATER or code in _REJOIN:
            self._wait(int(answer.get("retry_after_ms", 0)))
        else:
            self._stop(code)

    def _entered(self, answer: Json) -> None:
        held = self.held
        held.group, held.member = answer["group"], answer["member"]
        if (held.epoch, held.device) != (answer["epoch"], answer["device"]):
            self._begin(answer)
        elif not held.outbox:
            held.next_n = answer["next_n"]
        self.joined = True
        self._goal = held.cursor if answer["resumed"] else answer["head"]
        self._coming = answer["head"]
        self._snapshot = answer["state"]
        held.view = _view(answer["view"])
        self._news += [("joined", answer), ("view", {"members": held.view, "cheers": {}})]

    def _begin(self, answer: Json) -> None:
        """The first time, or another log than the one that we knew: learn it from its start, and number what
        waits as it goes on from there."""
        held = self.held
        held.epoch, held.device, held.cursor, held.records = answer["epoch"], answer["device"], 0, {}
        self._group = Group(answer["group"])
        for written in held.outbox:
            written.op["base"] = 0
        self._number(answer["next_n"])

    def _page(self, answer: Json) -> None:
        if answer["epoch"] != self.held.epoch:
            self._rejoin()
            return
        self._take(answer["records"])
        self._pass(answer["to"])

    def _accepted(self, answer: Json) -> None:
        for result in answer["results"]:
            self.duplicates += result["verdict"] == Verdict.DUPLICATE
            self._placed({**result, **result.get("first", {})})

    def _placed(self, result: Json) -> None:
        """An own op's place is known."""
        outbox = self.held.outbox
        if not outbox or outbox[0].op["n"] != result["n"]:
            return  # its record was faster
        record = {**outbox[0].op, "device": self.held.device, **result}
        if record["seq"] == self.held.cursor + 1:
            self._take([record])
        else:
            self._goal = max(self._goal, record["seq"])
        if outbox and outbox[0].op["n"] == result["n"]:
            self._settle(result)

    def _settle(self, result: Json) -> None:
        written = self.held.outbox.pop(0)
        written.result = {key: value for key, value in result.items() if key not in _OP}
        self._news.append(("written", {"op": written.op, **written.result}))

    def _rejoin(self) -> None:
        self.joined = False

    # -- what comes by itself --------------------------------------------------------------------------

    def told(self, frame: Json) -> None:
        """`group:ops`: records in order; what `from..to` covers and does not show is not for us."""
        held = self.held
        if not self.joined or frame["epoch"] != held.epoch:
            self._rejoin()
            return
        if frame["from"] > held.cursor + 1:
            self._goal = max(self._goal, frame["to"])
            return
        self._take(frame["records"])
        self._pass(frame["to"])

    def ticked(self, tick: Json) -> None:
        """`group:tick`: what changed since the last."""
        if self.joined:
            self.ticks += 1
            self.held.view = apply(self.held.view, _view(tick["members"]))
            cheers = {int(no): kinds for no, kinds in tick.get("cheers", {}).items()}
            self._news.append(("view", {"members": self.held.view, "cheers": cheers}))

    def _take(self, records: Iterable[Json]) -> None:
        new = [record for record in records if record["seq"] > self.held.cursor]
        for record in new:
            self.held.records[record["seq"]] = record
            take(self._group, decode_record({**record, "workout": self.held.group}))
            self._pass(record["seq"])
            self._own(record)
        if new:
            self._news.append(("records", {"records": new}))

    def _own(self, record: Json) -> None:
        """A record of ours: what waits first, before it was acknowledged, or what the server wrote as us."""
        held = self.held
        if record["device"] != held.device:
            return
        if not held.outbox:
            held.next_n = max(held.next_n, record["n"] + 1)
        elif held.outbox[0].op["n"] == record["n"] and same(held.outbox[0].op, record):
            self._settle(record)
        elif held.outbox[0].op["n"] <= record["n"]:
            self._number(record["n"] + 1)

    def _number(self, n: int) -> None:
        """Number what waits from `n` on."""
        for written in self.held.outbox:
            written.op["n"] = n
            n += 1
        self.held.next_n = n

    def _pass(self, seq: int) -> None:
        self.held.cursor = max(self.held.cursor, seq)


_OP: Final = frozenset({"base", "kind", "value", "at", "entity", "device", "first"})


def _view(members: Json) -> dict[int, Json]:
    """In JSON the numbers of members are strings."""
    return {int(no): fields for no, fields in members.items()}
