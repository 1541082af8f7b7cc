from __future__ import annotations

import random

import msgspec
import pytest

from fitai.engine.groups.document import digest, document
from fitai.engine.groups.fold import fold
from fitai.engine.groups.judgement import GroupLimits
from fitai.engine.ops import Verdict
from tests.group_book import GROUP, GroupBook

MINUTE = {"type": "open", "limit_ms": 60_000}


def _roles(book: GroupBook) -> dict[int, str]:
    return {member.no: member.role for member in book.g.here()}


# -- the machine, and time -------------------------------------------------------------------------


def test_a_group_begins_and_ends_by_the_clock_without_an_op():
    book = GroupBook().create(format=MINUTE)
    book("group.start", 10, in_ms=5_000)
    states = [book.g.status_at(at) for at in (10_000, 14_999, 15_000, 74_999, 75_000)]
    assert states == ["countdown", "countdown", "live", "live", "finished"]
    assert book.g.status == "countdown"  # nothing was folded since
    book("chat.say", 80, text="well done")
    assert (book.g.status, book.g.ended_at) == ("finished", 75_000)


def test_the_defaults_are_ten_seconds_and_three():
    book = GroupBook().create()
    book("group.start", 10)
    assert book.g.live_at == 20_000
    book("group.pause", 30)
    book("group.resume", 40)
    assert book.g.clock.runs[-1].from_ == 43_000


def test_hold_goes_back_to_the_lobby_and_a_new_start_counts_anew():
    book = GroupBook().create(format=MINUTE)
    book("group.start", 10, in_ms=5_000)
    assert book("group.hold", 12).verdict == "applied"
    assert (book.status, book.g.live_at, book.g.clock.runs) == ("lobby", None, [])
    book("group.start", 20, in_ms=5_000)
    assert (book.g.clock.runs[0].from_, book.g.clock.ends_at) == (25_000, 85_000)


def test_it_is_too_late_to_hold_when_the_countdown_is_over():
    book = GroupBook().create()
    book("group.start", 10, in_ms=5_000)
    judged = book("group.hold", 15)
    assert (judged.code, judged.detail) == ("illegal_edge", {"from": "live", "trigger": "hold"})


def test_an_edge_after_the_end_by_the_clock_is_illegal():
    book = GroupBook().create(format=MINUTE).live(10)
    judged = book("group.pause", 70)
    assert judged.detail == {"from": "finished", "trigger": "pause"}


def test_ending_early():
    book = GroupBook().create(format=MINUTE).live(10)
    book("group.finish", 30, reason="rain")
    assert (book.status, book.g.ended_at, book.g.reason) == ("finished", 30_000, "rain")
    assert book.g.clock.elapsed(99_000) == 20_000


def test_finishing_while_paused_leaves_the_clock_where_it_stood():
    book = GroupBook().create(format=MINUTE).live(10)
    book("group.pause", 30)
    book("group.finish", 50)
    assert (book.g.clock.elapsed(99_000), book.g.ended_at) == (20_000, 50_000)


def test_a_group_that_is_cancelled_in_the_countdown_never_ran():
    book = GroupBook().create(format=MINUTE)
    book("group.start", 10, in_ms=5_000)
    book("group.cancel", 12)
    assert (book.status, book.g.clock.elapsed(99_000)) == ("cancelled", 0)


@pytest.mark.parametrize("state", ["lobby", "countdown", "live", "paused", "finished", "cancelled"])
@pytest.mark.parametrize("trigger", ["start", "hold", "pause", "resume", "finish", "cancel"])
def test_edges_are_judged_by_the_machine(state, trigger):
    from fitai.engine.groups.machine import TABLE

    book = GroupBook().create()
    way = {"lobby": 0, "countdown": 1, "live": 1, "paused": 2, "finished": 2, "cancelled": 0}[state]
    for kind in ["start", "pause" if state == "paused" else "finish"][:way]:
        book(f"group.{kind}", book.now / 1000 + 60)
    if state == "cancelled":
        book("group.cancel")
    book.now += 0 if state == "countdown" else 60_000
    assert book.status == state
    judged = book(f"group.{trigger}")
    if trigger in TABLE[state]:
        assert judged.verdict == "applied"
        assert book.status in (TABLE[state][trigger], "live")
    else:
        assert judged.detail == {"from": state, "trigger": trigger}


# -- what the author had seen ----------------------------------------------------------------------


def test_of_two_who_press_next_at_once_one_moves_the_class():
    book = GroupBook().create(format={"type": "led", "steps": [{}] * 4}).crew().live(100)
    head = len(book.records)
    assert book("group.next", 110, by=1, to=1, base=head).verdict == "applied"
    judged = book("group.next", 110, by=2, to=2, base=head)
    assert (judged.code, judged.detail) == ("stale", {"seq": head + 1})
    assert book("group.next", 111, by=2, to=2).verdict == "applied"
    assert [step.step for step in book.g.called] == [0, 1, 2]


def test_two_taps_of_one_device_are_not_stale_but_illegal():
    book = GroupBook().create().live(10)
    head = len(book.records)
    assert book("group.pause", 20, base=head).verdict == "applied"
    assert book("group.pause", 20, base=head).code == "illegal_edge"


def test_whoever_starts_has_seen_the_format():
    book = GroupBook().create().crew()
    head = len(book.records)
    book("group.edit", field="format", value={"type": "tabata"})
    assert book("group.start", by=2, base=head).code == "stale"


def test_ending_is_meant_whatever_was_not_seen():
    book = GroupBook().create().crew().live(10)
    head = len(book.records)
    book("group.pause", 20, by=2)
    assert book("group.finish", 21, base=head).verdict == "applied"


def test_next_is_for_led_groups_that_are_live():
    book = GroupBook().create(format={"type": "led", "steps": [{}, {}]})
    assert book("group.next", to=1).detail == {"from": "lobby", "trigger": "next"}
    book.live(10)
    assert book("group.next", to=0).code == "illegal_edge"  # that is where it is
    assert book("group.next", to=2).code == "bad_value"
    other = GroupBook().create().live(10)
    assert other("group.next", to=1).code == "illegal_edge"


def test_the_format_is_changed_in_the_lobby_only():
    book = GroupBook().create().live(10)
    judged = book("group.edit", field="format", value=MINUTE)
    assert judged.detail == {"from": "live", "trigger": "edit"}
    assert book("group.edit", field="title", value="other").verdict == "applied"
    assert book.g.title == "other"


# -- who is in it ----------------------------------------------------------------------------------


def test_join_late_leave_and_come_back():
    book = GroupBook().create(format=MINUTE).live(10)
    assert book.join(2).verdict == "applied"
    assert book("member.leave", 20, by=2).verdict == "applied"
    assert (book.g.count, book.g.members[2].gone, book.g.members[2].gone_at) == (1, "left", 20_000)
    book("group.edit", field="open", value=False)
    assert book("member.join", 25, by=2).verdict == "applied"  # by themselves, closed or not
    assert (book.g.count, book.g.members[2].gone) == (2, None)
    assert book("member.join", 25, by=2).code == "forbidden"  # is a member already
    judged = book.join(3)
    assert judged.code == "closed"


def test_nobody_joins_what_is_over():
    book = GroupBook().create(format=MINUTE).live(10)
    book.now = 70_000
    assert book.join(2).detail == {"from": "finished", "trigger": "join"}


def test_a_code_opens_until_it_is_changed():
    book = GroupBook().create()
    book.let_in(2)
    book.let_in(3, invite=None)
    book.let_in(4, invite=9)
    assert book("group.invite").verdict == "applied"
    for member in (2, 3, 4):
        assert book("member.join", by=member).code == "invite_over"
    book.let_in(2)
    assert book("member.join", by=2).verdict == "applied"


def test_what_a_client_says_of_its_invitation_is_not_heard():
    book = GroupBook().create()
    book.let_in(2, invite=None)
    assert book("member.join", by=2, invite=1).code == "invite_over"


def test_who_was_kicked_needs_a_code_newer_than_that():
    book = GroupBook().create().crew()
    book("member.kick", by=2, member=3, reason="rude")
    assert (book.g.members[3].gone, book.g.members[3].role) == ("kicked", "stranger")
    book.let_in(3)
    assert book("member.join", by=3).code == "invite_over"
    book("group.invite")
    book.let_in(3)
    assert book("member.join", by=3).verdict == "applied"


def test_a_ban_holds_for_all_devices_until_it_is_lifted():
    book = GroupBook().create().crew()
    book("member.ban", member=3)
    assert book("member.join", by=3).code == "banned"
    assert book.let_in(3, device=33).code == "banned"
    assert book("member.join", by=33).code == "forbidden"
    assert book("member.unban", member=3).verdict == "applied"
    assert book("member.unban", member=3).code == "member"
    book.let_in(3)
    assert book("member.join", by=3).code == "invite_over"  # with a newer code, as if kicked
    book("group.invite")
    book.let_in(3)
    assert book("member.join", by=3).verdict == "applied"


def test_a_stranger_can_be_banned_before_they_come():
    book = GroupBook().create().crew()
    assert book("member.ban", member=5).verdict == "applied"
    assert book("member.join", by=5).code == "banned"
    assert book("member.ban", member=5).code == "member"


def test_a_full_group_lets_in_the_next_when_somebody_leaves():
    book = GroupBook().create(capacity=2)
    assert book.join(2).verdict == "applied"
    judged = book.join(3)
    assert (judged.code, judged.detail) == ("full", {"capacity": 2})
    book("member.leave", by=2)
    assert book("member.join", by=3).verdict == "applied"
    assert book("member.join", by=2).code == "full"


def test_no_group_is_larger_than_the_server_allows():
    book = GroupBook(GroupLimits(capacity=2)).create()
    assert book("group.edit", field="capacity", value=3).code == "limit"
    book.join(2)
    assert book.join(3).detail == {"capacity": 2}


def test_phone_and_watch_are_one_member():
    book = GroupBook().create().crew()
    book.let_in(3, device=30)
    book("member.share", by=30, share="everything")
    assert book.g.members[3].share == "everything"
    assert book("member.join", by=30).code == "forbidden"
    book("member.leave", by=30)
    assert book("chat.say", by=3, text="still here?").code == "forbidden"


def test_a_device_stays_whose_it_is():
    book = GroupBook().create().crew()
    judged = book("device.enrol", by=0, device=3, member=2, name="x")
    assert judged.code == "bad_value"
    assert book.g.devices[3] == 3


def test_hand_over():
    book = GroupBook().create().crew()
    assert book("member.hand_over", member=3).verdict == "applied"
    assert book.g.host == 3
    assert _roles(book) == {1: "coach", 2: "coach", 3: "host", 4: "spectator"}


def test_a_host_who_leaves_leaves_nobody_until_the_server_names_one():
    book = GroupBook().create().crew()
    book("member.leave", by=1)
    assert document(book.g)["host"] is None
    assert book("group.start", by=2).verdict == "applied"  # a coach can go on meanwhile
    assert book("group.host", by=0, member=2, was=None, reason="left").verdict == "applied"
    assert (book.g.host, _roles(book)) == (2, {2: "host", 3: "participant", 4: "spectator"})


def test_two_nodes_name_a_host_once():
    book = GroupBook().create().crew()
    head = len(book.records)
    assert book("group.host", by=0, member=2, was=1, reason="lost", base=head).verdict == "applied"
    assert book("group.host", by=0, member=3, was=1, reason="lost", base=head).code == "stale"
    assert _roles(book) == {1: "coach", 2: "host", 3: "participant", 4: "spectator"}


def test_the_server_names_nobody_who_can_not_host():
    book = GroupBook().create().crew()
    for member in (4, 5, 99):
        assert book("group.host", by=0, member=member, was=1, reason="lost").code == "member"


def test_an_account_that_is_deleted_leaves_a_number():
    book = GroupBook().create().crew()
    book("member.workout", by=1, workout=GROUP)
    assert book("member.erase", by=0, member=1).verdict == "applied"
    gone = book.g.members[1]
    assert (gone.name, gone.gone, gone.workout, book.g.host, book.g.count) == ("", "erased", None, None, 3)
    assert book("chat.say", by=1, text="ghost").code == "forbidden"
    assert book("member.kick", by=2, member=1).code == "member"
    assert book.let_in(1, device=50).code == "member"


def test_a_workout_is_named_by_its_member():
    book = GroupBook().create().crew()
    book("member.workout", by=3, workout=GROUP.upper())
    assert book.g.members[3].workout == GROUP
    assert "workout" not in str(document(book.g)["members"])
    book("member.workout", by=3, workout=None)
    assert book.g.members[3].workout is None
    assert book("member.workout", by=3, workout="mine").code == "bad_value"


# -- chat ------------------------------------------------------------------------------------------


def test_who_may_speak_is_a_setting():
    book = GroupBook().create().crew()
    assert book("chat.say", by=4, text="hello").verdict == "applied"
    book("group.edit", field="chat", value="training")
    assert book("chat.say", by=4, text="hello").code == "chat_off"
    assert book("chat.say", by=3, text="hello").verdict == "applied"
    book("group.edit", field="chat", value="off")
    assert book("chat.say", by=1, text="hello").code == "chat_off"


@pytest.mark.parametrize("text", ["", "  \n", "x" * 501, 7, None])
def test_a_message_has_something_to_say(text):
    assert GroupBook().create()("chat.say", text=text).code == "bad_value"


def test_a_message_that_is_held_waits_for_its_release():
    book = GroupBook().create().crew()
    book("chat.say", by=3, held=True, text="buy this")
    dot = book.records[-1].dot
    assert book.g.held == {dot}
    assert book("chat.release", by=0, dot=[*dot], text="buy this").verdict == "applied"
    assert (book.g.held, book.g.messages) == (set(), 1)
    assert book("chat.release", by=0, dot=[*dot], text="buy this").code == "bad_value"


def test_a_chat_is_bounded():
    book = GroupBook(GroupLimits(messages=2)).create()
    for _ in range(2):
        assert book("chat.say", text="hello").verdict == "applied"
    assert book("chat.say", text="hello").detail == {"limit": "messages", "max": 2}
    for n in (1, 2):
        assert book("chat.hide", dot=[1, n]).verdict == "applied"
    assert book("chat.hide", dot=[1, 3]).code == "limit"
    assert book("chat.hide", dot=[9, 1]).code == "bad_value"


# -- the log ---------------------------------------------------------------------------------------


def test_what_this_version_does_not_know_is_kept_and_does_nothing():
    book = GroupBook().create()
    before = digest(document(book.g))
    for kind, v in (("group.dance", 1), ("group.start", 2)):
        assert book(kind, v=v).verdict is Verdict.DEFERRED
    assert digest(document(book.g)) == before


def test_what_builds_on_a_newer_version_does_nothing_in_this_one():
    """A node of this release folds what one of the next has written: it may lack what later ops are about."""
    book = GroupBook().create().crew().live(10)
    book("group.pause", 20)
    for unknown in range(len(book.records)):
        records = list(book.records)
        newer = msgspec.structs.replace(records[unknown].op, v=2)
        records[unknown] = msgspec.structs.replace(records[unknown], op=newer)
        assert fold(GROUP, records).seq == len(records)


def test_nothing_comes_before_the_group_is_made():
    book = GroupBook()
    book.let_in(1)
    assert book("member.join").code == "forbidden"
    assert book("group.create", title="", format=MINUTE).code == "bad_value"
    assert book("group.create", title="a", format=MINUTE, capacity=5_000).code == "limit"
    assert book("group.create", title="a", format=MINUTE).verdict == "applied"
    book.let_in(2)
    assert book("group.create", by=2, title="mine", format=MINUTE).detail == {
        "from": "lobby",
        "trigger": "create",
    }
    assert (book.g.host, book.g.title) == (1, "a")


def test_a_log_is_bounded():
    book = GroupBook(GroupLimits(ops=3)).create()
    book("chat.say", text="hello")
    assert book("chat.say", text="hello").detail == {"limit": "ops", "max": 3}


def test_any_order_and_any_number_of_the_records_is_one_group():
    book = GroupBook().create(format=MINUTE).crew().live(10)
    book("group.pause", 30)
    book("chat.say", by=4, text="hello")
    book("member.leave", 50, by=1)
    told = document(book.g)
    rng = random.Random(7)
    for _ in range(20):
        records = [*book.records, *rng.choices(book.records, k=5)]
        rng.shuffle(records)
        assert document(fold(GROUP, records)) == told


def test_the_document():
    book = (
        GroupBook().create(format={"type": "race", "measure": {"of": "volume"}, "limit_ms": 60_000}).live(10)
    )
    told = document(book.g)
    assert told["format"] == {
        "type": "race",
        "measure": {"of": "volume", "by": "absolute"},
        "limit_ms": 60_000,
    }
    assert told["clock"] == {"from": 10_000, "elapsed": 0, "until": 70_000}
    assert told["phases"] == [{"kind": "work", "round": 1, "station": None, "from_ms": 0, "until_ms": 60_000}]
    assert (told["unit"], told["host"], told["invite"], told["seq"]) == ("ug", 1, 1, 3)
    assert told["members"] == [
        {
            "no": 1,
            "name": "m1",
            "role": "host",
            "gone": None,
            "joined_at": 0,
            "gone_at": None,
            "share": "progress",
        }
    ]
    assert digest(told) == digest({**told, "seq": 99}) != digest({**told, "title": "x"})
