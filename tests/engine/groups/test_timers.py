from __future__ import annotations

import pytest

from fitai.engine.groups.clock import GRACE_MS
from fitai.engine.groups.timers import (
    HOST_GRACE_MS,
    LIVE_IDLE_MS,
    LOBBY_IDLE_MS,
    Due,
    due,
    due_op,
    succession,
)
from fitai.engine.timers import ServerOp
from tests.group_book import GroupBook

MINUTE = {"type": "open", "limit_ms": 60_000}


def test_a_countdown_and_a_format_are_over_by_themselves():
    book = GroupBook().create(format=MINUTE)
    book("group.start", 10, in_ms=5_000)
    assert due(book.g, 10_000) == Due(moves_at=15_000)
    assert due(book.g, 15_000) == Due(moves_at=75_000)
    assert due(book.g, 75_000) == Due(results_at=75_000 + GRACE_MS)
    assert due(book.g, 75_000).due_at == 75_000 + GRACE_MS
    book("chat.say", 76, text="well done")
    assert due(book.g, 76_000) == Due(results_at=75_000 + GRACE_MS)
    assert due_op(book.g, 999_999_999) is None


def test_a_lobby_that_nobody_comes_back_to_is_cancelled():
    book = GroupBook().create(at=5)
    assert due(book.g, 5_000) == Due(idle_at=5_000 + LOBBY_IDLE_MS)
    assert due_op(book.g, 4_999 + LOBBY_IDLE_MS) is None
    assert due_op(book.g, 5_000 + LOBBY_IDLE_MS) == ServerOp(
        "group.cancel", {"reason": "idle"}, 5_000 + LOBBY_IDLE_MS
    )
    assert book("group.cancel", 5 + LOBBY_IDLE_MS / 1000, by=0, reason="idle").verdict == "applied"
    assert due(book.g, book.now).due_at is None


@pytest.mark.parametrize("paused", [False, True])
def test_what_does_not_end_by_itself_is_finished_when_it_is_idle(paused):
    book = GroupBook().create(format=MINUTE if paused else {"type": "open"}).live(10)
    if paused:
        book("group.pause", 20)
    idle_at = book.g.te + LIVE_IDLE_MS
    assert due(book.g, max(book.now, 10_000)) == Due(idle_at=idle_at)
    op = due_op(book.g, idle_at)
    assert op is not None
    assert book(op.kind, op.at / 1000, by=0, **op.value).verdict == "applied"
    assert (book.status, book.g.reason) == ("finished", "idle")


def _heir(
    book: GroupBook, present: dict[int, int], gone_since: int | None = 0, now: int = HOST_GRACE_MS
) -> int | None:
    op = succession(book.g, present, gone_since, now)
    return None if op is None else op.value["member"]


def test_a_host_who_vanished_is_succeeded_after_the_grace():
    book = GroupBook().create().crew()
    assert _heir(book, {2: 0}, now=HOST_GRACE_MS - 1) is None
    assert succession(book.g, {2: 0}, 0, HOST_GRACE_MS) == ServerOp(
        "group.host", {"member": 2, "was": 1, "reason": "lost"}, HOST_GRACE_MS
    )


def test_a_host_who_is_connected_or_of_whom_nobody_knows_stays():
    book = GroupBook().create().crew()
    assert _heir(book, {1: 5, 2: 0}) is None
    assert _heir(book, {2: 0}, gone_since=None) is None


def test_a_host_who_left_is_succeeded_at_once():
    book = GroupBook().create().crew()
    book("member.leave", by=1)
    op = succession(book.g, {3: 7}, None, 8)
    assert op == ServerOp("group.host", {"member": 3, "was": None, "reason": "left"}, 8)
    assert book(op.kind, by=0, **op.value).verdict == "applied"
    assert succession(book.g, {3: 7}, None, 8) is None


@pytest.mark.parametrize(
    ("present", "heir"),
    [
        ({2: 9, 3: 1}, 2),  # a coach before a participant who is there for longer
        ({2: 9, 6: 8, 3: 1}, 6),  # of two coaches the one who is there for longer
        ({2: 9, 6: 9}, 2),  # of equals the first
        ({3: 9, 7: 1}, 7),
        ({4: 1, 5: 1}, None),  # neither a spectator nor a stranger
        ({}, None),
    ],
)
def test_the_coach_or_else_the_participant_who_is_connected_longest_hosts(present, heir):
    book = GroupBook().create().crew()
    book.join(6)
    book("member.role", member=6, role="coach")
    book.join(7)
    assert _heir(book, present) == heir


def test_nobody_hosts_what_is_over():
    book = GroupBook().create(format=MINUTE).crew().live(10)
    assert _heir(book, {2: 0}, now=69_999) == 2
    assert _heir(book, {2: 0}, now=70_000) is None
