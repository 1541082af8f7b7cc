"""What the receivers of a group have been shown, and what they must have been shown in the end. Pure.

Hundreds are told the same ticks. Those who were told the same share one `Shown`, so a tick is applied once
however many hear it, and all of them can be held to account at the cost of one. Who was told otherwise (two
ticks as one, for having read slowly) goes its own way until it has been shown the same as others again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fitai.engine.groups import ticks
from fitai.engine.groups.ticks import Cheers, Fields, View

RECENT = 8  # states to which a receiver's is compared: as many ticks as somebody may be behind the others
MICROGRAMS = 10**9  # in a kilogram

Tick = Mapping[str, Any]


class News(NamedTuple):
    """Something that was sent and is told by a tick: its kind, and when it was intended."""

    what: str
    intended: float


class Step(NamedTuple):
    """What a tick made of a state: the state after it, the fields that it changed, what it told of."""

    tick: Tick
    shown: Shown
    fields: int
    news: Sequence[News]
    oldest: float | None


class Shown:
    """All that some receivers have been shown: the view of the members, and the cheers so far."""

    __slots__ = ("cheers", "step", "view")

    def __init__(self, view: View, cheers: Cheers) -> None:
        self.view = view
        self.cheers = cheers
        self.step: Step | None = None


Tells = Callable[[View, View], Sequence[News]]
"""Of what that was sent a change of a view tells: the view before, the change."""


class Receivers:
    """The states in which the receivers of one group are."""

    def __init__(self, tells: Tells) -> None:
        self._tells = tells
        self._recent: deque[Shown] = deque(maxlen=RECENT)

    def begin(self, view: Mapping[Any, Fields]) -> Shown:
        """The state of one who is shown a view (members by number, or its digits)."""
        return self._same(_members(view), {})

    def again(self, shown: Shown) -> Shown:
        """The state that others have who were shown the same."""
        return self._same(shown.view, shown.cheers)

    def after(self, shown: Shown, tick: Tick) -> Step:
        """What a tick makes of a state. The same object is the same tick."""
        step = shown.step
        if step is None or step.tick is not tick:
            step = shown.step = self._step(shown, tick)
        return step

    def _step(self, shown: Shown, tick: Tick) -> Step:
        change = _members(tick["members"])
        cheers = ticks.cheered(shown.cheers, _members(tick.get("cheers", {})))
        news = self._tells(shown.view, change)
        return Step(
            tick,
            self._same(ticks.apply(shown.view, change), cheers),
            sum(len(fields) for fields in change.values()),
            news,
            min((one.intended for one in news), default=None),
        )

    def _same(self, view: View, cheers: Cheers) -> Shown:
        for known in self._recent:
            if known.view == view and known.cheers == cheers:
                return known
        made = Shown(view, cheers)
        self._recent.append(made)
        return made


class Trained:
    """What one member sent."""

    __slots__ = ("heart", "hearts", "last", "reps", "sets", "volume_ug")

    def __init__(self) -> None:
        self.sets: list[float] = []  # when each was intended
        self.reps = 0
        self.volume_ug = 0
        self.last: dict[str, Any] = {}
        self.heart: int | None = None
        self.hearts: dict[int, float] = {}  # when each rate was intended last


class Expected:
    """What all members sent, so what everybody must be shown: a race by reps in which each shows
    everything."""

    def __init__(self) -> None:
        self._members: dict[int, Trained] = {}
        self._cheers: Counter[tuple[int, str]] = Counter()

    def joined(self, no: int) -> None:
        """A member is there."""
        self._members[no] = Trained()

    def logged(self, no: int, value: Mapping[str, Any], intended: float) -> None:
        """A member sent a set; `value` is that of its op, with a load in kilograms."""
        trained = self._members[no]
        trained.sets.append(intended)
        trained.reps += value["reps"]
        trained.volume_ug += round(value["load"]["value"] * MICROGRAMS) * value["reps"]
        trained.last = {key: value[key] for key in ("reps", "load", "rpe")}

    def beat(self, no: int, rate: int, intended: float) -> None:
        """A member sent a heart rate, another one than the last."""
        trained = self._members[no]
        trained.heart = rate
        trained.hearts[rate] = intended

    def cheered(self, to: int, kind: str) -> None:
        """A member cheered another one, or (0) all."""
        self._cheers[to, kind] += 1

    def tells(self, view: View, change: View) -> list[News]:
        """Of what that was sent a change of a view tells. A value that another took the place of before it
        was told is told by nobody."""
        news = []
        for no, fields in change.items():
            trained = self._members.get(no)
            if trained is None:
                continue
            if (rate := fields.get("hr")) in trained.hearts:
                news.append(News("heart", trained.hearts[rate]))
            if (sets := fields.get("sets")) is not None:
                told = trained.sets[view.get(no, {}).get("sets", 0) : sets]
                news += [News("set", intended) for intended in told]
        return news

    def wrong(self, shown: Shown) -> Iterator[str]:
        """How that which was shown differs from what was sent, in words."""
        must = self._must()
        for no in must.keys() | shown.view.keys():
            fields = shown.view.get(no, {})
            for field, value in must.get(no, {"here": None}).items():
                if _comparable(fields.get(field)) != value:
                    yield f"member {no}: {field} is {fields.get(field)!r}, not {value!r}"
        cheers = {(to, kind): n for to, kinds in shown.cheers.items() for kind, n in kinds.items()}
        if cheers != self._cheers:
            yield f"{sum(cheers.values())} cheers, not {self._cheers.total()}"

    def _must(self) -> dict[int, dict[str, Any]]:
        all_reps = sorted((one.reps for one in self._members.values()), reverse=True)
        ranks = {reps: place for place, reps in reversed(list(enumerate(all_reps, 1)))}
        return {
            no: {
                "here": True,
                "sets": len(one.sets) or None,
                "reps": one.reps or None,
                "volume_ug": one.volume_ug or None,
                "amount": one.reps,
                "rank": ranks[one.reps] if one.reps else None,
                "last": one.last or None,
                "hr": one.heart,
            }
            for no, one in self._members.items()
        }


def _members(by_number: Mapping[Any, Any]) -> dict[int, Any]:
    return {int(no): of for no, of in by_number.items()}


def _comparable(value: Any) -> Any:
    """A field's value without the exercise of `last`, which a set's op does not name."""
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if key != "exercise"}
    return value
