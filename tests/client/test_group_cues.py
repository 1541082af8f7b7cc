from __future__ import annotations

from fitai.gateways.client.group_cues import cue, next_change
from tests.group_book import GroupBook

TABATA = {"type": "tabata", "work_ms": 20_000, "rest_ms": 10_000, "rounds": 2}


def shown(book: GroupBook, at_s: float) -> tuple[str, str, int, bool]:
    now = cue(book.g, at_s * 1000)
    phase = now.phase
    return now.status, phase.kind if phase else "", phase.round if phase else 0, now.runs


def plan(book: GroupBook, at_s: float) -> list[tuple[float, tuple[str, str, int, bool]]]:
    """Every change from a moment on, as an alarm after the other meets it."""
    met, at = [], at_s * 1000
    while (change := next_change(book.g, at)) is not None:
        at = change
        met.append((at / 1000, shown(book, at / 1000)))
    return met


def test_from_the_start_on_a_device_knows_every_change():
    book = GroupBook().create(format=TABATA)
    assert next_change(book.g, 0) is None
    book("group.start", 10, in_ms=5_000)
    assert shown(book, 14.999) == ("countdown", "", 0, False)
    assert plan(book, 10) == [
        (15.0, ("live", "work", 1, True)),
        (35.0, ("live", "rest", 1, True)),
        (45.0, ("live", "work", 2, True)),
        (65.0, ("live", "rest", 2, True)),
        (75.0, ("finished", "", 0, False)),
    ]


def test_a_pause_shifts_what_is_to_come_and_resumes_where_it_stood():
    book = GroupBook().create(format=TABATA).live(15)
    book("group.pause", 25)
    assert (shown(book, 26)[0], next_change(book.g, 26_000)) == ("paused", None)
    book("group.resume", 60, in_ms=3_000)
    assert shown(book, 61) == ("live", "work", 1, False)
    assert plan(book, 60)[:2] == [(63.0, ("live", "work", 1, True)), (73.0, ("live", "rest", 1, True))]


def test_a_led_class_changes_when_the_coach_says_and_not_before():
    led = {"type": "led", "steps": [{"title": "warm up"}, {"title": "squat"}]}
    book = GroupBook().create(format=led).live(10)
    assert (shown(book, 11), next_change(book.g, 11_000)) == (("live", "work", 1, True), None)
    book("group.next", 20, to=1, in_ms=2_000)
    now = cue(book.g, 21_999)
    assert (now.phase and now.phase.station, next_change(book.g, 20_000)) == (0, 22_000)
    now = cue(book.g, 22_000)
    assert (now.phase and now.phase.station) == 1


def test_what_was_held_does_not_begin():
    book = GroupBook().create(format=TABATA)
    book("group.start", 10, in_ms=5_000)
    book("group.hold", 12)
    assert (shown(book, 16)[0], next_change(book.g, 12_000)) == ("lobby", None)
