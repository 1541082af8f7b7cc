"""What a device shows: its records, and on top of them its own ops that wait, by the server's own fold.

An op that waits is placed after the head of our log just as the server would place it there now, with the
verdict that it would get. So what a person sees offline is what everybody sees when the op has arrived and
nobody else wrote meanwhile; and once all is sent, the state is the server's, digest for digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fitai.engine import combine
from fitai.engine import workout as engine
from fitai.engine.workout import Limits
from fitai.gateways.client.ledger import UNSIGNED, Held
from fitai.gateways.client.messages import Json, Row
from fitai.sync import log
from fitai.sync.fold import Folded, fold
from fitai.sync.place import Placer
from fitai.sync.wire import WireLimits, decode_op, decode_record

WIDE = WireLimits()


def folded(
    workout: str, held: Held, rows: Iterable[Row], waiting: Sequence[Json], now_ms: Callable[[], int]
) -> Folded:
    """The fold of one workout from its rows, and the ops of it that wait."""
    here = fold(
        workout, held.user or "", [decode_record(row.body) for row in rows if row.seq <= _shown(held)]
    )
    if waiting:
        _place(here, workout, held, waiting, now_ms() + held.offset_ms)
    return here


def document(workout: str, aliasing: Iterable[str], fold_of: Callable[[str], Folded]) -> Json | None:
    """The state document of a workout with what is merged into it, or None when there is nothing to show.

    `aliasing` are the workouts that may be merged into another, `fold_of` folds one.
    """
    own = fold_of(workout).workout
    if not own.known:
        return None
    aliases = {}
    for name in aliasing:
        other = fold_of(name).workout
        if other.merged_into is not None and combine.alias(other, fold_of(other.merged_into).workout):
            aliases[name] = other.merged_into
    others = [fold_of(name).workout for name in combine.sources(aliases, workout)]
    return engine.state(combine.combined(own, others))


def _shown(held: Held) -> int:
    """While the log is learnt anew, what was known of it before is shown behind it."""
    return max(held.cursor, held.old_head)


def _place(here: Folded, workout: str, held: Held, waiting: Sequence[Json], now: int) -> None:
    author = UNSIGNED if held.author is None else held.author
    placer = Placer(_shown(held), 0, {author: held.position}, {workout: here}, Limits())
    ops = [decode_op({"base": 0, **raw}, WIDE)[0] for raw in waiting]
    placer.place_all(author, ops, log.contexts(ops, held.position), now, held.offset_ms)
