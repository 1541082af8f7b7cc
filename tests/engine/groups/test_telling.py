from __future__ import annotations

from fitai.engine.groups.telling import tell
from tests.group_book import GROUP, GroupBook


def _heard(book: GroupBook, seq: int, by: int) -> dict | None:
    return tell(book.g, book.records[seq - 1], book.g.members[by])


def test_a_record_is_told_as_it_is_without_what_the_event_says_already():
    book = GroupBook().create().crew()
    book("chat.say", by=4, text="hello")
    told = _heard(book, len(book.records), by=3)
    assert told is not None
    assert (told["value"], told["device"], told["verdict"]) == ({"text": "hello"}, 4, "applied")
    assert GROUP not in str(told)


def test_what_is_void_is_told_to_its_author_only():
    book = GroupBook().create().crew()
    book.let_in(4, device=40)
    book("group.cancel", by=4)
    seq = len(book.records)
    assert _heard(book, seq, by=4)["code"] == "forbidden"
    assert [_heard(book, seq, by=no) for no in (1, 2, 3, 5)] == [None] * 4


def test_a_void_op_of_a_device_that_nobody_let_in_is_told_to_nobody():
    book = GroupBook().create().crew()
    book("group.cancel", by=99)
    assert [_heard(book, len(book.records), by=no) for no in (1, 2, 3, 4, 5)] == [None] * 5


def test_a_message_that_is_held_is_heard_by_its_author_and_the_crew():
    book = GroupBook().create().crew()
    book("chat.say", by=3, held=True, text="buy this")
    seq, dot = len(book.records), book.records[-1].dot
    assert [_heard(book, seq, no)["value"] for no in (1, 2, 3)] == [{"text": "buy this"}] * 3
    others = _heard(book, seq, 4)
    assert (others["value"], others["withheld"]) == ({}, "held")
    book("chat.release", by=0, dot=[*dot], text="buy this")
    assert _heard(book, len(book.records), 4)["value"]["text"] == "buy this"
    assert _heard(book, seq, 4)["value"] == {"text": "buy this"}


def test_a_message_that_was_taken_away_is_not_told_again_nor_its_release():
    book = GroupBook().create().crew()
    book("chat.say", by=3, held=True, text="buy this")
    seq, dot = len(book.records), book.records[-1].dot
    book("chat.release", by=0, dot=[*dot], text="buy this")
    book("chat.hide", by=2, dot=[*dot], reason="spam")
    for place in (seq, seq + 1):
        assert (_heard(book, place, 4)["value"], _heard(book, place, 4)["withheld"]) == ({}, "hidden")
        assert _heard(book, place, 2)["value"]["text"] == "buy this"


def test_of_who_was_erased_no_word_and_no_name_is_left():
    book = GroupBook().create().crew()
    book("chat.say", by=3, text="my secret")
    book("chat.say", by=3, held=True, text="my secret")
    book("chat.release", by=0, dot=[*book.records[-1].dot], text="my secret")
    book("member.erase", by=0, member=3)
    told = str([_heard(book, seq, by=1) for seq in range(1, len(book.records) + 1)])
    assert "my secret" not in told and "m3" not in told
    assert "m2" in told


def test_with_which_invitation_somebody_came_is_told_to_nobody():
    book = GroupBook().create().crew()
    assert "invite" not in str([_heard(book, seq, by=1) for seq in range(1, len(book.records) + 1)])
    assert "invite" in str([record.op.value for record in book.records])
