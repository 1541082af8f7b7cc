"""The rules of a group once more, naively and from the raw ops alone: who is in it, and who is ahead.

Nothing of `fitai.engine.groups` is used. Time is whole seconds, the clock is a list of spans, a workout is
what its devices did to a list of dictionaries, and a rank is found by comparing everybody with everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

UG = {"kg": 1_000_000_000, "lb": 453_592_370}
GRACE = 15


class Oracle:
    """The group after the ops it was given; `ok` has for each whether it stood."""

    def __init__(self, format_: dict[str, Any], capacity: int) -> None:
        self.format, self.capacity = format_, capacity
        self.role: dict[int, str] = {}
        self.gone: dict[int, tuple[str, int, str]] = {}  # how, when, out of which role
        self.share: dict[int, str] = {}
        self.banned: set[int] = set()
        self.erased: set[int] = set()
        self.owner: dict[int, int] = {}
        self.invited: dict[int, int | None] = {}
        self.code = 1
        self.needs: dict[int, int] = {}
        self.state, self.begins = "lobby", 0
        self.runs: list[list[Any]] = []  # [from, to], to: None while it goes on
        self.mover: tuple[int, int] | None = None  # (seq, device) of the last move
        self.ok: list[bool] = []

    # -- time --------------------------------------------------------------------------------------

    def ran(self, second: int) -> int:
        """How many seconds the clock ran before this one."""
        limit = self.format["limit_ms"] // 1000
        total = sum(max(0, min(second, second if to is None else to) - from_) for from_, to in self.runs)
        return min(total, limit)

    def end(self) -> int | None:
        """The second at which the format is over, as far as is known."""
        if not self.runs or self.runs[-1][1] is not None:
            return None
        left = self.format["limit_ms"] // 1000 - sum(to - from_ for from_, to in self.runs[:-1])
        return self.runs[-1][0] + left

    def pass_to(self, second: int) -> None:
        if self.state == "countdown" and second >= self.begins:
            self.state = "live"
        end = self.end()
        if self.state == "live" and end is not None and second >= end:
            self.state = "finished"
            self.runs[-1][1] = end

    # -- ops ---------------------------------------------------------------------------------------

    def hear(self, seq: int, kind: str, device: int, base: int, te: int, value: dict[str, Any]) -> bool:
        second = te // 1000
        self.pass_to(second)
        if kind == "device.enrol":
            member = value["member"]
            stood = member not in self.banned | self.erased
            if stood:
                self.owner[value["device"]] = member
                self.invited[value["device"]] = value.get("invite")
        else:
            me = self.owner.get(device, 0)
            rule = getattr(self, kind.replace(".", "_"))
            unseen = self.mover is not None and not (base >= self.mover[0] or device == self.mover[1])
            if me in self.erased or (unseen and kind in MOVES - {"group.finish"}):
                stood = False
            else:
                stood = rule(me, second, value)
            if stood and kind in MOVES:
                self.mover = (seq, device)
        self.ok.append(stood)
        return stood

    def crew(self, me: int) -> bool:
        return self.role.get(me) in ("host", "coach")

    def host(self) -> int | None:
        return next((no for no, role in self.role.items() if role == "host"), None)

    def group_create(self, me, second, value):
        self.role[me], self.share[me] = "host", "progress"
        return True

    def group_invite(self, me, second, value):
        if not self.crew(me) or self.state in ("finished", "cancelled"):
            return False
        self.code += 1
        return True

    def group_start(self, me, second, value):
        if not self.crew(me) or self.state != "lobby":
            return False
        self.state, self.begins = "countdown", second + value["in_ms"] // 1000
        self.runs.append([self.begins, None])
        return True

    def group_hold(self, me, second, value):
        if not self.crew(me) or self.state != "countdown":
            return False
        self.state, self.runs = "lobby", []
        return True

    def group_pause(self, me, second, value):
        if not self.crew(me) or self.state != "live":
            return False
        self.state = "paused"
        self.stop(second)
        return True

    def group_resume(self, me, second, value):
        if not self.crew(me) or self.state != "paused":
            return False
        self.state = "live"
        self.runs.append([second + value["in_ms"] // 1000, None])
        return True

    def group_finish(self, me, second, value):
        if not self.crew(me) or self.state not in ("live", "paused"):
            return False
        if self.state == "live":
            self.stop(second)
        self.state = "finished"
        return True

    def stop(self, second: int) -> None:
        if self.runs[-1][0] >= second:
            self.runs.pop()
        else:
            self.runs[-1][1] = second

    def group_host(self, me, second, value):
        if self.host() != value["was"] or self.role.get(value["member"]) not in ("coach", "participant"):
            return False
        if value["was"] is not None:
            self.role[value["was"]] = "coach"
        self.role[value["member"]] = "host"
        return True

    def member_join(self, me, second, value):
        if not me or me in self.role or me in self.banned or self.state in ("finished", "cancelled"):
            return False
        if self.gone.get(me, ("",))[0] != "left":
            # Only who came with the code that opens now; who was put out, with one of later.
            device = next(device for device, member in self.owner.items() if member == me)
            if self.invited[device] != self.code or self.code < self.needs.get(me, 0):
                return False
        if len(self.role) >= self.capacity:
            return False
        self.role[me] = value.get("as", "participant")
        self.share[me] = value.get("share", "progress")
        self.gone.pop(me, None)
        return True

    def out(self, member: int, how: str, second: int) -> None:
        if member in self.role:
            self.gone[member] = (how, second, self.role.pop(member))
        else:
            self.gone[member] = (how, *self.gone.get(member, ("", 0, "stranger"))[1:])

    def member_leave(self, me, second, value):
        if me not in self.role:
            return False
        self.out(me, "left", second)
        return True

    def member_role(self, me, second, value):
        target, given = value["member"], value["role"]
        if target not in self.role or me not in self.role:
            return False
        if target == me:
            stood = self.role[me] != "host" and given != "coach"
        elif self.role[me] == "host":
            stood = True
        else:
            stood = (
                self.role[me] == "coach"
                and self.role[target] in ("participant", "spectator")
                and given != "coach"
            )
        if stood:
            self.role[target] = given
        return stood

    def over(self, me: int, target: int) -> bool:
        """Whether one may put the other out."""
        mine, theirs = self.role.get(me), self.role.get(target)
        return me != target and (mine == "host" or (mine == "coach" and theirs not in ("host", "coach")))

    def member_kick(self, me, second, value):
        if value["member"] not in self.role or not self.over(me, value["member"]):
            return False
        self.out(value["member"], "kicked", second)
        self.needs[value["member"]] = self.code + 1
        return True

    def member_ban(self, me, second, value):
        target = value["member"]
        known = target in self.owner.values() and target not in self.erased
        if not known or not self.over(me, target) or target in self.banned:
            return False
        self.out(target, "banned", second)
        self.banned.add(target)
        return True

    def member_unban(self, me, second, value):
        target = value["member"]
        if not self.crew(me) or target not in self.banned:
            return False
        self.banned.remove(target)
        self.gone[target] = ("kicked", *self.gone[target][1:])
        self.needs[target] = self.code + 1
        return True

    def member_hand_over(self, me, second, value):
        target = value["member"]
        if self.role.get(me) != "host" or self.role.get(target) not in ("coach", "participant"):
            return False
        self.role[me], self.role[target] = "coach", "host"
        return True

    def member_share(self, me, second, value):
        if self.role.get(me) not in ("host", "coach", "participant"):
            return False
        self.share[me] = value["share"]
        return True

    def member_erase(self, me, second, value):
        target = value["member"]
        if target in self.erased or target not in self.owner.values():
            return False
        self.out(target, "erased", second)
        self.banned.discard(target)
        self.erased.add(target)
        return True

    # -- the board ---------------------------------------------------------------------------------

    def ranks(
        self, workouts: Mapping[int, Iterable[dict[str, Any]]], bodies: dict[int, Any]
    ) -> dict[int, int | None]:
        """{member: rank} of who is on the board, from the sets of each as they are now."""
        training = ("host", "coach", "participant")
        there = [no for no, role in self.role.items() if role in training]
        there += [no for no, (how, _, role) in self.gone.items() if how == "left" and role in training]
        there = [no for no in there if self.share[no] != "presence"]
        keys = {no: self.key(no, workouts.get(no, ()), bodies.get(no)) for no in there}
        return {
            no: None if key is None else 1 + sum(other is not None and other > key for other in keys.values())
            for no, key in keys.items()
        }

    def key(self, no: int, sets: Iterable[dict[str, Any]], body: int | None) -> tuple | None:
        """The greater, the more ahead; None: no rank."""
        left_at = self.gone[no][1] if no in self.gone else None
        counted = []
        for one in sets:
            if one["removed"] or not one["done"] or one["type"] == "warmup":
                continue
            second = one["at"]
            if left_at is not None and second > left_at:
                continue
            if not any(self.within(second, run) for run in self.runs[-1:] + self.runs[:-1]):
                continue
            counted.append((self.ran(second), self.amount(one)))
        total: int | None = sum(amount for _, amount in counted)
        goal = self.format.get("goal")
        if goal is not None and total is not None and total >= goal:
            moments = sorted({moment for moment, _ in counted})
            reached = next(m for m in moments if sum(amount for at, amount in counted if at <= m) >= goal)
            return (1, -reached)
        if self.format["measure"]["by"] == "body_weight":
            total = None if body is None else round(Fraction(total or 0, body) * 1000)
        return (0, total) if total else None

    def within(self, second: int, run: list[Any]) -> bool:
        """Whether this second belongs to a run; just after it, it does unless the next had begun."""
        from_, to = run
        if second < from_:
            return False
        later = [other[0] for other in self.runs if other[0] > from_]
        if later and second >= min(later):
            return False
        end = self.end() if to is None else to
        return end is None or second - end <= GRACE

    def amount(self, one: dict[str, Any]) -> int:
        of = self.format["measure"]["of"]
        if of == "reps":
            return one["reps"]
        if of == "distance":
            return one["distance_m"] * 1000
        value, unit = one["load"]
        return value * UG[unit] * one["reps"]


MOVES = {"group.start", "group.hold", "group.pause", "group.resume", "group.finish"}
