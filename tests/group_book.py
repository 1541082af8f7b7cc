"""A playbook of one group: ops of its devices, told in seconds, judged and folded as the log would."""

from __future__ import annotations

from typing import Any

from fitai.engine.groups.fold import take
from fitai.engine.groups.group import Group
from fitai.engine.groups.judgement import GroupLimits, judge
from fitai.engine.judgement import Judgement
from fitai.engine.ops import Op, Record, Stamp, Verdict

GROUP = "018f0000-0000-7000-8000-0000000000aa"
OPEN = {"type": "open"}


class GroupBook:
    """One group and its records so far.

    `book("group.start", 10, in_ms=5000)` plays an op of device 1, received at second 10. An op's base is the
    head unless it is given. `let_in(member)` enrols device = member; `join(member)` does that and joins.
    """

    def __init__(self, limits: GroupLimits | None = None) -> None:
        self.g = Group(GROUP)
        self.limits = limits or GroupLimits()
        self.records: list[Record] = []
        self.counters: dict[int, int] = {}
        self.now = 0

    def __call__(
        self,
        kind: str,
        at: float | None = None,
        *,
        by: int = 1,
        base: int | None = None,
        v: int = 1,
        held: bool = False,
        **value: Any,
    ) -> Judgement:
        if at is not None:
            self.now = round(at * 1000)
        base = len(self.records) if base is None else base
        n = self.counters[by] = self.counters.get(by, 0) + 1
        raw = {"n": n, "base": base, "kind": kind, "value": value, "at": self.now}
        op = Op(
            n=n,
            base=base,
            clock=None,
            kind=kind,
            workout=GROUP,
            entity=None,
            value=value,
            at=self.now,
            v=v,
            raw=raw,
        )
        place = len(self.records) + 1
        judged = judge(self.g, op, Stamp(place, by, n, self.now, base), self.limits)
        verdict = Verdict.DEFERRED if held and judged.verdict == "applied" else judged.verdict
        record = Record(
            op=op,
            seq=place,
            rev=place,
            device=by,
            base=base,
            beyond=None,
            te=self.now,
            rt=self.now,
            verdict=verdict,
            code=judged.code,
            detail=judged.detail,
        )
        take(self.g, record)
        self.records.append(record)
        return judged

    def let_in(self, member: int, device: int | None = None, invite: int | None = -1) -> Judgement:
        serial = self.g.invite if invite == -1 else invite
        value: dict[str, Any] = {"device": device or member, "member": member, "name": f"m{member}"}
        if serial:
            value["invite"] = serial
        return self("device.enrol", by=0, **value)

    def create(self, at: float = 0, format: dict[str, Any] | None = None, **value: Any) -> GroupBook:
        self.now = round(at * 1000)
        self.let_in(1, invite=None)
        assert self("group.create", title="Class", format=format or OPEN, **value).verdict == "applied"
        return self

    def join(self, member: int, role: str = "participant", **value: Any) -> Judgement:
        self.let_in(member)
        if role == "spectator":
            value["as"] = role
        return self("member.join", by=member, **value)

    def crew(self) -> GroupBook:
        """Members 1 to 5: host, coach, participant, spectator, and a stranger who was let in."""
        for member in (2, 3):
            assert self.join(member).verdict == "applied"
        assert self.join(4, "spectator").verdict == "applied"
        assert self("member.role", member=2, role="coach").verdict == "applied"
        self.let_in(5)
        return self

    def live(self, at: float) -> GroupBook:
        """Everybody begins at second `at`."""
        assert self("group.start", at - 1, in_ms=1000).verdict == "applied"
        self.now = round(at * 1000)
        return self

    @property
    def status(self) -> str:
        return self.g.status_at(self.now)
