from __future__ import annotations

import pytest

from fitai.engine.ops import Verdict
from fitai.engine.timers import Timers, due_op, finish_op, idle_op, timers
from fitai.engine.workout import Judgement

MINUTE = 60_000
HOUR = 60 * MINUTE


def test_a_planned_workout_waits_for_nothing(book):
    book.create()
    assert timers(book.w, 0) == Timers(None, None, None)
    assert timers(book.w, 0).due_at is None


def test_an_active_workout_idles_after_15_minutes_and_ends_after_6_hours(book):
    book.create()
    book("workout.start", 100)
    due = timers(book.w)
    assert due == Timers(None, 100_000 + 15 * MINUTE, 100_000 + 6 * HOUR)
    assert due.due_at == due.idle_at


def test_both_spans_are_settings(book):
    book.create()
    book("workout.start", 100)
    assert timers(book.w, idle_ms=1, finish_ms=2) == Timers(None, 100_001, 100_002)


def test_a_running_rest_is_due_at_its_deadline_and_puts_idleness_off(book):
    book.create()
    book("workout.start", 0)
    book("rest.start", 10, seconds=600)
    due = timers(book.w)
    assert due.rest == ((1, 3), 610_000)
    assert due.idle_at == 610_000 + 15 * MINUTE
    assert due.finish_at == 10_000 + 6 * HOUR
    assert due.due_at == 610_000


def test_a_late_receipt_puts_idleness_off(book):
    book.create()
    book("workout.start", 0)
    assert timers(book.w, 5 * HOUR).idle_at == 5 * HOUR + 15 * MINUTE
    assert timers(book.w, 5 * HOUR).finish_at == 11 * HOUR


def test_a_paused_workout_only_ends(book):
    book.create()
    book("workout.start", 0)
    book("rest.start", 10, seconds=60)
    book("workout.pause", 20)
    assert timers(book.w) == Timers(None, None, 20_000 + 6 * HOUR)


@pytest.mark.parametrize("kind", ["workout.complete", "workout.abandon", "workout.remove"])
def test_a_finished_or_removed_workout_waits_for_nothing(book, kind):
    book.create()
    book("workout.start", 0)
    book(kind, 1)
    assert timers(book.w, 9) == Timers(None, None, None)


def test_the_idle_pause_is_dated_when_the_last_thing_was_over(book):
    book.create()
    book("workout.start", 0)
    book("note.set", 20, text="x")
    assert idle_op(book.w) == ("workout.pause", {"reason": "idle"}, 20_000)
    book("rest.start", 30, seconds=60)
    assert idle_op(book.w) == ("workout.pause", {"reason": "idle"}, 90_000)


def test_the_end_completes_what_has_a_set_and_abandons_the_rest(book):
    book.create()
    book.exercise("a")
    book("workout.start", 0)
    assert finish_op(book.w) == ("workout.abandon", {"reason": "idle"}, 0)
    one = book.log("a", 1, 10)
    assert finish_op(book.w) == ("workout.complete", {"reason": "idle"}, 10_000)
    book("set.edit", 11, entity=one, field="done", value=False)
    assert finish_op(book.w).kind == "workout.abandon"


def test_what_is_due_is_never_early_and_an_end_goes_before_a_pause(book):
    book.create()
    book("workout.start", 0)
    assert due_op(book.w, 15 * MINUTE - 1) is None
    assert due_op(book.w, 15 * MINUTE) == ("workout.pause", {"reason": "idle"}, 0)
    assert due_op(book.w, 6 * HOUR) == ("workout.abandon", {"reason": "idle"}, 0)


def test_the_servers_ops_stand_and_after_them_nothing_is_due(book):
    book.create()
    book.exercise("a")
    book.log("a", 1, 10, rest_s=60)
    pause = due_op(book.w, HOUR)
    assert pause is not None
    book(pause.kind, pause.at / 1000, device=0, **pause.value)
    assert book.records[-1].verdict == "applied"
    assert (book.at, book.w.rest, book.state["reason"]) == ("paused.working", None, "idle")
    assert book.w.rest_ms == 60_000
    assert due_op(book.w, HOUR) is None
    end = due_op(book.w, 7 * HOUR)
    assert end is not None
    book(end.kind, end.at / 1000, device=0, **end.value)
    assert (book.at, book.state["ended_at"], book.state["reason"]) == ("completed", 70_000, "idle")
    assert due_op(book.w, 100 * HOUR) is None


def test_a_void_op_is_no_sign_of_life(book):
    book.create()
    book("workout.start", 0)
    book.now = 50_000
    book.take(book.op("workout.start", {}), Judgement(Verdict.VOID, "illegal_edge"))
    assert timers(book.w).idle_at == 15 * MINUTE
