"""One member's workout, out of committed records in whatever pieces they come."""

from __future__ import annotations

import random
from collections.abc import Sequence

from fitai.engine.ops import Op, Record, Verdict
from fitai.gateways.groups.watch import KEPT, Watch
from fitai.persistence.families import Family
from fitai.sync.fold import fold
from tests.playbook import WORKOUT, Playbook, named

USER, OTHER = "user", named("other")


def records(sets: int = 6) -> list[Record]:
    w = Playbook().create()
    w.exercise("squat")
    for slot in range(1, sets + 1):
        w.log("squat", slot, slot, reps=slot)
    return w.records


def family(found: Sequence[Record], head: int | None = None, epoch: str = "e") -> Family:
    by_name: dict[str, list[Record]] = {WORKOUT: []}
    for record in found:
        by_name.setdefault(record.op.workout, []).append(record)
    return Family(1, epoch, len(found) if head is None else head, by_name)


def loaded(found: Sequence[Record], head: int | None = None) -> Watch:
    watch = Watch(USER, WORKOUT)
    watch.load(family(found, head))
    return watch


def reps(watch: Watch) -> int:
    view = watch.view()
    assert view is not None
    return sum(row.reps or 0 for row, _ in view.visible_sets())


def foreign(seq: int, kind: str = "set.log", workout: str = OTHER, rev: int = 1, **value: object) -> Record:
    """A record of another workout in the same stream."""
    op = Op(
        n=seq, base=0, clock=None, kind=kind, workout=workout, entity=None, value=value, at=0, v=1, raw={}
    )
    return Record(
        op=op,
        seq=seq,
        rev=rev,
        device=1,
        base=0,
        beyond=None,
        te=0,
        rt=0,
        verdict=Verdict.APPLIED,
        code=None,
        detail=None,
    )


def test_before_it_is_loaded_there_is_nothing_to_see() -> None:
    watch = Watch(USER, WORKOUT)
    assert watch.lacks
    assert watch.view() is None
    assert watch.rev == 0


def test_records_that_follow_are_folded_at_once() -> None:
    all_ = records()
    watch = loaded(all_[:3])
    for record in all_[3:]:
        assert watch.take("e", [record])
    assert not watch.lacks
    assert reps(watch) == 21
    assert watch.rev == len(all_)


def test_what_is_known_is_passed_over() -> None:
    all_ = records()
    watch = loaded(all_)
    assert not watch.take("e", all_)
    assert not watch.lacks
    assert reps(watch) == 21


def test_other_workouts_take_their_places_and_change_nothing() -> None:
    watch = loaded(records(1), head=3)
    assert not watch.take("e", [foreign(4), foreign(5, rev=2)])
    assert not watch.lacks
    assert watch.position == 5


def test_a_gap_and_another_log_are_noticed_and_what_comes_meanwhile_follows_after() -> None:
    all_ = records()
    watch = loaded(all_[:3])
    assert watch.take("e", all_[4:5]), "one is missing"
    assert watch.lacks
    watch.take("e", all_[5:6])
    watch.load(family(all_[:5]))
    assert not watch.lacks
    assert reps(watch) == 1 + 2 + 3 + 4
    assert watch.take("another epoch", [])
    assert watch.lacks


def test_records_of_a_log_that_began_anew_are_not_mixed_with_those_before() -> None:
    all_ = records()
    watch = loaded(all_[:3])
    watch.take("e", all_[4:6])
    watch.load(family(all_[:4], epoch="anew"))
    assert reps(watch) == 3
    assert watch.position == 4


def test_a_position_that_was_told_while_the_log_was_read_is_not_forgotten() -> None:
    all_ = records()
    watch = Watch(USER, WORKOUT)
    assert watch.reached("e", len(all_))
    watch.load(family(all_[:4]))
    assert watch.lacks, "it was read before those were there"
    watch.load(family(all_))
    assert not watch.lacks
    assert not watch.reached("e", 2), "late, and known"
    assert watch.reached("e", len(all_) + 1)


def test_only_so_many_records_are_kept_while_the_log_is_read() -> None:
    watch = Watch(USER, WORKOUT)
    watch.take("e", [foreign(seq, rev=seq) for seq in range(1, KEPT + 50)])
    watch.load(family(records(1), head=2))
    assert watch.position == KEPT
    assert watch.take("e", [foreign(KEPT + 60)])
    assert watch.lacks


def test_what_merges_has_it_read_again_and_what_was_merged_counts() -> None:
    all_ = records(2)
    watch = loaded(all_)
    other = Playbook(OTHER).create()
    other.exercise("row")
    other.log("row", 1, 5, reps=100)
    other("workout.merge", 6, into=WORKOUT)
    theirs = other.records
    merge = foreign(len(all_) + 1, "workout.merge", OTHER, len(theirs), into=WORKOUT)
    assert watch.take("e", [merge])
    assert watch.lacks
    watch.load(family([*all_, *theirs], head=len(all_) + 1))
    assert reps(watch) == 103
    assert watch.rev == len(all_) + len(theirs)
    assert watch.holds(OTHER)
    assert not watch.take(
        "e", [foreign(watch.position + 1, "workout.merge", named("third"), 2, into=named("x"))]
    )
    assert not watch.lacks, "that is about other workouts"


def test_a_workout_that_was_merged_into_another_is_seen_in_it() -> None:
    mine = Playbook().create()
    mine.exercise("squat")
    mine.log("squat", 1, 1, reps=3)
    mine("workout.merge", 2, into=OTHER)
    other = Playbook(OTHER).create()
    other.exercise("row")
    other.log("row", 1, 5, reps=100)
    watch = Watch(USER, WORKOUT)
    watch.load(Family(1, "e", 9, {WORKOUT: mine.records, OTHER: other.records}))
    assert reps(watch) == 103
    other("workout.remove", 7)
    watch.load(Family(1, "e", 10, {WORKOUT: mine.records, OTHER: other.records}))
    assert reps(watch) == 3, "it must not vanish with what somebody else removed"


def test_in_whatever_pieces_the_records_come_the_fold_is_that_of_the_log() -> None:
    for seed in range(100):
        dice = random.Random(seed)
        all_ = records(dice.randrange(1, 20))
        told = [all_[i : i + dice.randrange(1, 4)] for i in range(len(all_)) for _ in range(2)]
        told = [piece for piece in told if dice.random() < 0.8]
        if dice.random() < 0.5:
            dice.shuffle(told)
        watch, log = Watch(USER, WORKOUT), 0
        for piece in told:
            log = max(log, piece[-1].seq)
            watch.take("e", piece)
            if watch.lacks and dice.random() < 0.3:
                watch.load(family(all_[:log]))
        watch.reached("e", len(all_))
        if watch.lacks:
            watch.load(family(all_))
        assert not watch.lacks, seed
        view = watch.view()
        assert view is not None
        whole = fold(WORKOUT, USER, all_)
        assert (view.rev, reps(watch)) == (
            whole.rev,
            sum(r.reps or 0 for r, _ in whole.workout.visible_sets()),
        )
