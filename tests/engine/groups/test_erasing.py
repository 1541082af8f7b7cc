"""What is left of an erased member's records: their places, and nothing that leads to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fitai.engine.groups.document import digest, document
from fitai.engine.groups.erasing import emptied
from fitai.engine.groups.fold import fold
from fitai.engine.ops import Record
from tests.group_book import GROUP, GroupBook

WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
NAME, WORDS = "Ada Lovelace", "my knee hurts"


def left_of(book: GroupBook, records: Sequence[Record], member: int) -> list[Record]:
    """The records as they lie in the log once what leads to a member is taken out."""
    raws = [emptied(book.g, record, member) for record in records]
    return [
        record
        if raw is None
        else replace(record, op=replace(record.op, value=raw["value"], raw=raw), detail=None)
        for record, raw in zip(records, raws, strict=True)
    ]


def erased(book: GroupBook, member: int) -> list[Record]:
    """The book's records as they lie in the log after `member.erase`."""
    assert book("member.erase", by=0, member=member).verdict == "applied"
    return left_of(book, book.records, member)


def let_in(book: GroupBook, member: int = 9) -> None:
    book("device.enrol", by=0, device=member, member=member, name=NAME, invite=book.g.invite)


def bytes_of(records: list[Record]) -> bytes:
    return b"\n".join(orjson.dumps(record.op.raw) + orjson.dumps(record.detail) for record in records)


def everything(book: GroupBook) -> GroupBook:
    """A group in which member 9 did and said all that a member can."""
    book.crew()
    let_in(book)
    book("member.join", by=9, share="everything", workout=WORKOUT, motto=WORDS)
    book("member.role", by=1, member=9, role="coach")
    book("member.workout", by=9, workout=WORKOUT)
    book("chat.say", by=9, text=WORDS)
    book("chat.say", by=9, held=True, text=WORDS)
    held = [9, book.counters[9]]
    book("chat.say", by=9, held=True, text=WORDS)
    book("chat.release", by=0, dot=held, text=WORDS)
    book("chat.hide", by=9, dot=[4, 1], reason=WORDS)
    book("member.kick", by=9, member=4, reason=WORDS)
    book("group.start", by=9, base=0)  # void, stale or not
    book("group.edit", by=9, field="title", value=7, was=WORDS)
    book("group.edit", by=9, field=WORDS, value=WORDS)
    book("x.new", by=9, secret=WORDS)
    book("group.edit", by=9, v=2, field="mood", value=WORDS)
    book("chat.say", by=9, text=WORDS * 100)
    let_in(book)
    book("member.role", by=9, member=9, role="participant")
    book("group.edit", by=9, field="title", value="Evening")  # forbidden by now
    return book


@pytest.mark.parametrize(
    "format",
    [
        {"type": "led", "steps": [{"title": "Row", "target": {"reps": 5}}, {}], "measure": {"of": "reps"}},
        {
            "type": "for_time",
            "tasks": [{"exercise": "row", "distance_m": 0.5}],
            "rounds": 2,
            "limit_ms": 60_000,
        },
        {"type": "open"},
    ],
    ids=lambda format: format["type"],
)
def test_nothing_leads_to_them_and_the_group_is_the_same(format):
    book = everything(GroupBook().create(format=format))
    assert NAME in str(bytes_of(book.records)) and WORDS in str(bytes_of(book.records))
    left = erased(book, 9)
    for what in (NAME, WORDS, WORKOUT):
        assert what not in str(bytes_of(left))
    assert digest(document(fold(GROUP, left))) == digest(document(fold(GROUP, book.records)))
    assert document(fold(GROUP, left))["messages"] == 3


def test_who_made_the_group_leaves_it_as_it_is():
    format = {"type": "emom", "rounds": 3, "stations": [{"title": "Row"}]}
    book = GroupBook().create(format=format, capacity=5, note=WORDS)
    book("group.edit", field="chat", value="training")
    book.join(2)
    book("group.start", 5, in_ms=1000)
    book("group.pause", 7, reason=WORDS)
    book("group.resume", 8)
    book("group.finish", 9, reason="rain")
    before = document(fold(GROUP, book.records))
    left = fold(GROUP, erased(book, 1))
    after = document(left)
    assert (after["title"], after["format"], after["reason"]) == ("Class", before["format"], "rain")
    assert (after["clock"], after["phases"], after["chat"]) == (
        before["clock"],
        before["phases"],
        "training",
    )
    assert after["host"] is None
    assert digest(after) == digest(document(book.g))


def test_what_is_emptied_twice_is_what_is_emptied_once():
    book = everything(GroupBook().create())
    left = erased(book, 9)
    assert left_of(book, left, 9) == left


def test_what_others_said_and_did_stays_word_for_word():
    book = everything(GroupBook().create())
    book("chat.say", by=2, text="Ada is gone?")
    before = {record.seq: record.op.raw for record in book.records}
    left = erased(book, 9)
    theirs = {9}
    for record in left[: len(before)]:
        if record.device not in theirs and record.op.kind not in ("device.enrol", "chat.release"):
            assert record.op.raw == before[record.seq]
    assert [r.op.value["name"] for r in left if r.op.kind == "device.enrol"] == [
        "m1",
        "m2",
        "m3",
        "m4",
        "m5",
        "",
        "",
    ]
    for record, was in zip(left, book.records, strict=True):
        assert (record.seq, record.dot, record.verdict, record.code) == (
            was.seq,
            was.dot,
            was.verdict,
            was.code,
        )


KINDS: dict[str, dict[str, Any]] = {
    "member.join": {"share": "everything", "workout": WORKOUT},
    "member.leave": {},
    "member.share": {"share": "presence"},
    "member.role": {"member": 3, "role": "coach"},
    "chat.say": {"text": WORDS},
    "chat.hide": {"dot": [2, 1], "reason": WORDS},
    "group.edit": {"field": "capacity", "value": 3},
    "group.start": {},
    "group.hold": {"reason": WORDS},
    "group.pause": {},
    "group.resume": {"in_ms": 2000},
    "group.finish": {},
    "member.kick": {"member": 2, "reason": WORDS},
    "member.ban": {"member": 2},
    "member.unban": {"member": 2},
    "group.invite": {},
    "group.next": {"to": 1},
}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 3), st.booleans()), max_size=30),
    st.integers(1, 3),
)
def test_whatever_happened_the_group_is_the_same_afterwards(plays, member):
    book = GroupBook().create(format={"type": "led", "steps": [{}, {}]})
    for joins in (2, 3):
        book.join(joins)
    book("member.role", member=2, role="coach")
    for second, (kind, by, held) in enumerate(plays, 10):
        book(kind, second, by=by, held=held and kind == "chat.say", **KINDS[kind])
    left = erased(book, member)
    assert digest(document(fold(GROUP, left))) == digest(document(book.g))
    texts = [r.op.value for r in left if r.op.kind == "chat.say" and book.g.devices[r.device] == member]
    assert all(value.get("text", "") == "" for value in texts)
