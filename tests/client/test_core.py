"""The core as a playbook: what happens, what it wants, and what it has written down."""

from __future__ import annotations

import uuid

import pytest

from fitai.gateways.client import messages as m
from fitai.gateways.client.core import Patience
from tests.client.phone import Phone, agree
from tests.client.stand_in import Stream

W = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
V = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e10"


def exercise(phone, workout=W):
    entry = str(uuid.uuid4())
    phone.write("exercise.add", workout, {"exercise": "squat", "position": "a"}, entry)
    return entry


def set_log(phone, entry, reps=5, workout=W, entity=None):
    value = {"exercise_entry": entry, "type": "working", "reps": reps, "load": {"value": 100, "unit": "kg"}}
    return phone.write("set.log", workout, value, entity or str(uuid.uuid4()))


def begin(phone, workout=W):
    phone.write("workout.create", workout, {"title": "Legs"})
    phone.write("workout.start", workout)
    return exercise(phone, workout)


@pytest.fixture(params=[True, False], ids=["socket", "rest"])
def live(request):
    return request.param


@pytest.fixture
def stream():
    return Stream()


def test_an_op_is_in_the_outbox_and_in_the_state_before_anybody_was_asked(stream):
    phone = Phone(stream)
    entry = begin(phone)
    set_log(phone, entry)
    assert [op["n"] for op in phone.store.outbox()] == [1, 2, 3, 4]
    document = phone.state(W)
    assert document["status"] == "active"
    assert len(document["exercises"][0]["sets"]) == 1
    assert not phone.asked


def test_what_was_written_before_the_sign_in_is_sent_after_it(stream, live):
    phone = Phone(stream, live=live)
    set_log(phone, begin(phone))
    phone.sign_in()
    agree(stream, phone)
    assert stream.head == 4


def test_two_phones_that_were_offline_end_up_with_the_servers_state(stream, live):
    one, two = Phone(stream, live=live), Phone(stream, live=live)
    for phone in (one, two):
        phone.sign_in()
    entry = begin(one)
    agree(stream, one, two)
    for phone in (one, two):
        phone.lose()
    set_log(one, entry)
    set_log(two, entry)
    two.write("workout.edit", W, {"field": "title", "value": "Legs again"})
    agree(stream, one, two)
    assert stream.head == 6


def test_the_preview_of_a_lone_phone_is_the_state_after_the_acknowledgement(stream, live):
    phone = Phone(stream, live=live)
    phone.sign_in()
    phone.settle()
    entry = begin(phone)
    set_log(phone, entry)
    phone.write("workout.complete", W, {"rating": 8})
    phone.write("workout.pause", W)
    before = phone.digests()
    phone.settle()
    assert before == phone.digests() == stream.digests()


def test_base_is_the_end_of_the_run_and_never_moves_once_written(stream):
    one, two = Phone(stream), Phone(stream)
    one.sign_in()
    two.sign_in()
    begin(one)
    one.settle()
    assert two.write("workout.start", V)["base"] == 0
    two.settle()
    later = two.write("workout.start", V)
    assert later["base"] == two.held.cursor == stream.head == 4
    assert [r.op.base for r in stream.records if r.device == two.held.device] == [0]


def test_a_lost_acknowledgement_is_asked_for_again_and_the_op_is_there_once(stream, live):
    phone = Phone(stream, live=live)
    phone.sign_in()
    phone.settle()
    phone.write("workout.create", W)
    while stream.head == 0:
        phone.reach()
    phone.lose()
    assert phone.held.outbox
    agree(stream, phone)
    assert stream.head == 1


def test_an_acknowledgement_over_a_hole_waits_until_the_hole_is_filled(stream):
    one, two = Phone(stream, live=False), Phone(stream, live=False)
    one.sign_in()
    two.sign_in()
    one.settle()
    two.settle()
    begin(one)
    one.settle()
    two.write("workout.create", V)
    assert isinstance(two.asked[0], m.Push)
    two.reach()
    two.arrive()
    assert (two.held.cursor, len(two.held.outbox)) == (0, 1)
    assert two.asked == two.asked.__class__([m.Pull(0, 500)])
    agree(stream, two)


def test_later_waits_at_least_as_long_as_was_asked_and_longer_each_time():
    stream = Stream(room=0)
    phone = Phone(stream)
    phone.sign_in()
    phone.write("workout.create", W)
    phone.tell(m.Asked())
    for _ in range(3):
        while not phone.wakes or phone.asked or phone.coming:
            phone.reach() if phone.asked else phone.arrive()
        phone.tell(m.Woke())
    assert phone.wakes[:3] == [1100, 1200, 1400]
    stream.room = None
    agree(stream, phone)


def test_the_wait_is_a_random_part_of_a_bounded_growing_time():
    patience = Patience(base_ms=100, cap_ms=1_000)
    assert [patience.after(n, 1.0) for n in (0, 1, 2, 3, 4, 500)] == [100, 200, 400, 800, 1000, 1000]
    assert [patience.after(2, random) for random in (0.0, 0.25, 0.5)] == [0, 100, 200]


def test_only_a_part_accepted_the_rest_is_sent_again(live):
    stream = Stream(room=2)
    phone = Phone(stream, live=live)
    phone.sign_in()
    set_log(phone, begin(phone))
    agree(stream, phone)
    assert (stream.head, stream.pushes) == (4, 2)


def test_a_void_op_goes_to_the_quarantine_and_blocks_nothing(stream, live):
    phone = Phone(stream, live=live)
    phone.sign_in()
    entry = begin(phone)
    phone.write("workout.resume", W)
    set_log(phone, entry)
    agree(stream, phone)
    (void,) = phone.store.void()
    assert (void.n, void.seq, void.code, void.op["kind"]) == (4, 4, "illegal_edge", "workout.resume")
    assert stream.head == 5


def test_an_unknown_kind_is_deferred_and_kept_with_all_its_fields(stream, live):
    phone, other = Phone(stream, live=live), Phone(stream, live=live)
    phone.sign_in()
    other.sign_in()
    begin(phone)
    phone.write("mood.set", W, {"mood": {"colour": "blue"}})
    agree(stream, phone, other)
    (row,) = [row for row in other.store.of(W) if row.body["kind"] == "mood.set"]
    assert (row.body["verdict"], row.body["value"]) == ("deferred", {"mood": {"colour": "blue"}})


def test_a_restored_copy_forks_and_neither_loses_anything(stream, live, tmp_path):
    phone = Phone(stream, tmp_path / "phone.db", live=live)
    device = phone.sign_in()
    entry = begin(phone)
    agree(stream, phone)
    copy = Phone(stream, live=live)
    phone.store._db.backup(copy.store._db)
    copy.core = copy._core()
    set_log(phone, entry, 5)
    agree(stream, phone)
    kept = [set_log(copy, entry, reps) for reps in (6, 7)]
    assert [op["n"] for op in kept] == [4, 5]
    agree(stream, copy, phone)
    assert copy.held.device == copy.held.author != device
    mine = [r.op.raw for r in stream.records if r.device == copy.held.device]
    assert [op["n"] for op in mine] == [1, 2]
    assert [(op["entity"], op["at"], op["base"]) for op in mine] == [
        (op["entity"], op["at"], op["base"]) for op in kept
    ]
    assert len(phone.state(W)["exercises"][0]["sets"]) == 3


def test_a_copy_that_is_told_of_an_equivocation_forks_at_the_first_op_that_differs(stream):
    """Both pushed the same op 4 (the copy was made before its acknowledgement came), then parted."""
    phone = Phone(stream)
    phone.sign_in()
    entry = begin(phone)
    phone.settle()
    phone.lose()
    common = set_log(phone, entry, 5)
    copy = Phone(stream)
    phone.store._db.backup(copy.store._db)
    copy.core = copy._core()
    set_log(phone, entry, 6)
    set_log(copy, entry, 7)
    agree(stream, phone)
    agree(stream, copy, phone)
    sets = [r for r in stream.records if r.op.kind == "set.log"]
    assert [r.op.value["reps"] for r in sets] == [5, 6, 7]
    assert sets[0].op.raw["entity"] == common["entity"]
    assert stream.forks[copy.held.device].beyond == {phone.held.device: 4}


def test_an_op_that_a_copy_has_sent_for_us_is_not_sent_again_under_another_name(stream, live):
    """The copy held it too, sent it and went on; we find our counter used up and are in doubt."""
    phone = Phone(stream, live=live)
    device = phone.sign_in()
    entry = begin(phone)
    phone.settle()
    phone.lose()
    common = set_log(phone, entry, 5)
    copy = Phone(stream, live=live)
    phone.store._db.backup(copy.store._db)
    copy.core = copy._core()
    set_log(copy, entry, 6)
    agree(stream, copy)
    agree(stream, phone, copy)
    sets = [record for record in stream.records if record.op.kind == "set.log"]
    assert [record.op.value["reps"] for record in sets] == [5, 6]
    assert sets[0].op.raw["entity"] == common["entity"]
    assert phone.held.device == copy.held.device == device, "nothing differs: nobody has to fork"


def test_a_dot_that_names_an_op_which_is_numbered_anew_goes_with_it(stream):
    phone = Phone(stream)
    phone.write("workout.create", W)
    first = phone.write("note.set", W, {"text": "one"})
    phone.write("note.set", W, {"text": "two", "parent": [2**31 - 1, first["n"]]})
    device = phone.sign_in(41)
    agree(stream, phone)
    assert stream.records[2].op.value["parent"] == [device, 2]


def test_a_sign_in_as_another_device_sends_what_waits_under_the_new_name(stream, live):
    """The old device was revoked; one of its ops had arrived, and its acknowledgement was lost."""
    phone = Phone(stream, live=live)
    old = phone.sign_in()
    entry = begin(phone)
    phone.settle()
    set_log(phone, entry, 5)
    while stream.head == 3:
        phone.reach()
    phone.lose()
    set_log(phone, entry, 6)
    new = phone.sign_in()
    agree(stream, phone)
    assert [(r.device, r.op.n) for r in stream.records[3:]] == [(old, 4), (new, 1)]
    assert stream.records[4].beyond == {old: 4} or stream.records[4].base == 4
    assert stream.records[4].verdict == "applied"


def test_what_waits_under_a_new_name_is_shown_offline_as_it_will_be(stream, live, tmp_path):
    """Its own ops of the time before are in its context already, of a sign-in as of a fork."""
    phone, other = Phone(stream, tmp_path / "phone.db", live=live), Phone(stream, live=live)
    old = phone.sign_in()
    other.sign_in()
    other.write("workout.create", V)
    other.settle()
    entry = begin(phone)
    entity = str(uuid.uuid4())
    set_log(phone, entry, 5, entity=entity)
    phone.settle()
    copy = Phone(stream, live=live)
    phone.store._db.backup(copy.store._db)
    copy.core = copy._core()
    set_log(phone, entry, 8)
    phone.settle()
    for each in (phone, copy):
        each.lose()
        each.write("set.edit", W, {"field": "reps", "value": 6}, entity)
    phone.sign_in()
    for each, seen in ((phone, 5), (copy, 4)):
        each.tell(m.Asked())
        while each.held.author == old:
            each.reach() if each.asked else each.arrive()
        each.lose()
        assert each.held.position.beyond[old] == seen
        each.die() if each is phone else None
        assert each.held.position.beyond[old] == seen
        before = each.digests()
        each.settle()
        assert before == each.digests()
    agree(stream, phone, copy)


def test_after_a_restore_what_was_written_under_an_old_name_is_offered_again_under_the_new(stream, live):
    """Nobody signs in as the old device any more, and its notes are named by dots."""
    phone = Phone(stream, live=live)
    old = phone.sign_in()
    entry = begin(phone)
    set_log(phone, entry, 5)
    phone.write("note.set", W, {"text": "one"})
    phone.settle()
    new = phone.sign_in()
    phone.settle()
    phone.write("note.set", W, {"text": "two", "parent": [old, 5]})
    agree(stream, phone)
    phone.lose()
    set_log(phone, entry, 6)
    stream.rewind(3)
    agree(stream, phone)
    assert [(r.device, r.op.n) for r in stream.records[3:]] == [(new, n) for n in (1, 2, 3, 4)]
    assert [r.op.value.get("reps") or r.op.value["text"] for r in stream.records[3:]] == [5, "one", "two", 6]
    assert stream.records[5].op.value["parent"] == [new, 2]


def test_after_a_restore_no_clock_names_what_is_not_there_any_more(stream, live):
    """What another device wrote is lost for good, and our first op under a new name had seen it."""
    phone, other = Phone(stream, live=live), Phone(stream, live=live)
    phone.sign_in()
    other.sign_in()
    begin(phone)
    agree(stream, phone, other)
    other.write("workout.pause", W)
    agree(stream, other, phone)
    phone.lose()
    phone.write("workout.resume", W)
    phone.sign_in()
    phone.tell(m.Asked())
    while not phone.held.unsaid:
        phone.reach() if phone.asked else phone.arrive()
    phone.lose()
    stream.rewind(2)
    agree(stream, phone)
    assert [r.op.kind for r in stream.records][-1] == "workout.resume"


def test_after_a_restored_backup_what_was_acknowledged_is_offered_again(stream, live):
    one, two = Phone(stream, live=live), Phone(stream, live=live)
    one.sign_in()
    two.sign_in()
    entry = begin(one)
    agree(stream, one, two)
    set_log(one, entry, 5)
    set_log(two, entry, 6)
    agree(stream, one, two)
    for phone in (one, two):
        phone.lose()
    unsent = set_log(one, entry, 7)
    assert unsent["base"] == 5
    stream.rewind(3)
    agree(stream, one, two)
    assert sorted(r.op.value["reps"] for r in stream.records if r.op.kind == "set.log") == [5, 6, 7]
    assert stream.head == 6
    assert next(r for r in stream.records if r.op.value.get("reps") == 7).op.raw["base"] == 3


def test_a_backup_under_the_old_epoch_is_found_out_too(stream, live):
    phone = Phone(stream, live=live)
    phone.sign_in()
    set_log(phone, begin(phone))
    agree(stream, phone)
    phone.lose()
    stream.rewind(2, "first")
    agree(stream, phone)
    assert stream.head == 4
    assert max(phone.wakes) > 100, "a node that only lags is given time"


def test_a_new_epoch_met_in_a_push_starts_over(stream, live):
    phone = Phone(stream, live=live)
    phone.sign_in()
    entry = begin(phone)
    agree(stream, phone)
    stream.rewind(1)
    set_log(phone, entry)
    agree(stream, phone)
    assert stream.head == 4


def test_an_op_that_no_server_can_read_is_kept_apart_and_the_others_move_up(live):
    stream = Stream()
    phone = Phone(stream, live=live)
    phone.sign_in()
    phone.write("workout.create", W)
    phone.write("note.set", "no uuid", {"text": "x"})
    phone.write("workout.start", W)
    phone.settle()
    (refused,) = phone.store.void()
    assert (refused.seq, refused.code, refused.op["workout"]) == (None, "bad_request", "no uuid")
    assert [(r.op.n, r.op.kind) for r in stream.records] == [(1, "workout.create"), (2, "workout.start")]


def test_a_long_history_begins_with_a_snapshot_whose_pages_resume(stream):
    writer = Phone(stream)
    writer.sign_in()
    names = [str(uuid.uuid4()) for _ in range(5)]
    for name in names:
        set_log(writer, begin(writer, name), workout=name)
    agree(stream, writer)
    phone = Phone(stream, snapshot_over=10)
    phone.sign_in()
    phone.tell(m.Asked())
    while phone.held.page is None or phone.held.page["after"] is None:
        phone.reach() if phone.asked else phone.arrive()
    assert len(phone.store.workouts()) == 2
    assert phone.write("workout.create", W)["base"] == 0
    phone.lose()
    phone.tell(m.Woke())
    asked = []
    while not (phone.held.page and phone.held.page["done"]):
        asked += [question for question in phone.asked if isinstance(question, m.TakePage)]
        phone.reach() if phone.asked else phone.arrive()
    assert asked[0] == m.TakePage(20, names[3])
    assert {name: phone.store.state(name)["id"] for name in names} == {name: name for name in names}
    assert phone.write("workout.create", V)["base"] == 20
    agree(stream, phone)
    assert phone.held.page is None
    assert phone.store.state(names[0]) is None


def test_a_server_without_snapshots_is_pulled(stream):
    writer = Phone(stream)
    writer.sign_in()
    begin(writer)
    writer.settle()
    phone = Phone(stream, snapshot_over=1)
    phone.sign_in()
    phone.tell(m.Asked())
    phone.reach()
    phone.arrive()
    assert phone.asked.popleft() == m.TakePage(None, None)
    phone.tell(m.Paged({"ok": False, "code": "not_found"}))
    agree(stream, phone)


def connected(stream, **options):
    phone = Phone(stream, **options)
    phone.sign_in()
    phone.settle()
    return phone


@pytest.mark.parametrize("code", ["revoked", "protocol"])
def test_a_bye_that_says_do_not_reconnect_is_obeyed(stream, code):
    phone = connected(stream)
    phone.tell(m.SaidBye(code, reconnect=False))
    phone.tell(m.Lost())
    assert (phone.core.stopped, list(phone.asked), phone.wakes) == (code, [], [])


@pytest.mark.parametrize("code", ["draining", "slow", "overload"])
def test_a_bye_that_says_reconnect_is_obeyed_after_the_time_it_names(stream, code):
    phone = connected(stream)
    phone.tell(m.SaidBye(code, reconnect=True, after_ms=5_000))
    phone.tell(m.Lost())
    assert phone.wakes == [5_100]
    phone.tell(m.Woke())
    assert phone.asked.popleft() == m.Connect({"epoch": "first", "seq": 0})


def test_an_expired_token_is_renewed_before_the_next_attempt(stream):
    phone = connected(stream)
    phone.tell(m.SaidBye("expired", reconnect=True))
    phone.tell(m.Lost())
    assert phone.asked.popleft() == m.Renew()
    phone.tell(m.Renewed(ok=True))
    assert isinstance(phone.asked.popleft(), m.Connect)


def test_a_warning_renews_in_place_and_leaves_the_connection_alone(stream):
    phone = connected(stream)
    phone.tell(m.Expiring())
    assert phone.asked.popleft() == m.Renew(in_place=True)
    phone.tell(m.Renewed(ok=True))
    assert phone.core.online
    assert not phone.asked


def test_a_token_that_the_server_never_likes_does_not_make_a_storm(stream):
    phone = Phone(stream)
    phone.sign_in()
    phone.tell(m.Asked())
    attempts = 0
    while not phone.wakes:
        assert isinstance(phone.asked.popleft(), m.Connect)
        attempts += 1
        phone.tell(m.Refused("token_expired", retry=True))
        assert phone.asked.popleft() == m.Renew()
        phone.tell(m.Renewed(ok=True))
    assert attempts <= 4


def test_when_no_token_can_be_had_everything_is_kept_until_the_next_sign_in(stream):
    phone = connected(stream)
    phone.tell(m.SaidBye("expired", reconnect=True))
    phone.tell(m.Lost())
    phone.asked.clear()
    phone.tell(m.Renewed(ok=False, over=True))
    assert phone.core.stopped == "signed_out"
    set_log(phone, begin(phone))
    phone.sign_in(phone.held.device)
    agree(stream, phone)
    assert stream.head == 4


def copied(phone, stream, live):
    copy = Phone(stream, live=live)
    phone.store._db.backup(copy.store._db)
    copy.core = copy._core()
    return copy


def test_what_a_restored_copy_holds_unsent_and_the_log_has_already_is_not_sent_again(stream, live):
    """The copy knew from the server's counter that it was one, and no longer looked what had arrived."""
    phone = Phone(stream, live=live)
    phone.sign_in()
    entry = begin(phone)
    agree(stream, phone)
    common = set_log(phone, entry, 5)
    copy = copied(phone, stream, live)
    set_log(phone, entry, 6)
    set_log(phone, entry, 7)
    agree(stream, phone)
    set_log(copy, entry, 8)
    agree(stream, copy, phone)
    sets = [record for record in stream.records if record.op.kind == "set.log"]
    assert [record.op.value["reps"] for record in sets] == [5, 6, 7, 8]
    assert [record.op.raw["entity"] for record in sets].count(common["entity"]) == 1


def test_a_copy_of_a_file_that_was_never_sent_takes_over_what_was_refused(stream, live):
    """The first op of such a copy was put into the quarantine without a device, which no file takes."""
    phone = Phone(stream, live=live)
    phone.sign_in()
    early = copied(phone, stream, live)
    phone.write("workout.create", W)
    phone.write("workout.resume", W)
    copy = copied(phone, stream, live)
    phone.write("workout.resume", W)
    agree(stream, phone)
    agree(stream, copy, early, phone)
    for each in (phone, copy, early):
        assert [(void.device, void.n) for void in each.store.void()] == [(1, 2), (1, 3)]


def test_a_fork_does_not_write_again_what_its_parent_had_only_heard_of(stream, live):
    """After a restore it took all that its context named for its own: the ops of a watch were there twice."""
    phone, other, watch = Phone(stream, live=live), Phone(stream, live=live), stream.enrol()
    mine, theirs = phone.sign_in(), other.sign_in()
    begin(phone)
    agree(stream, phone, other)
    kept = stream.head
    other.write("workout.edit", W, {"field": "title", "value": "Legs, late"})
    other.settle()
    note = {
        "n": 1,
        "base": kept,
        "kind": "note.set",
        "workout": W,
        "value": {"text": "deep"},
        "at": stream.now,
    }
    assert stream.push(watch, {"ops": [note]})["ok"]
    heard = {str(mine): phone.held.next_n - 1, str(theirs): 0, str(watch): 1}
    op = {"kind": "rest.skip", "workout": W, "value": {}, "at": stream.now, "clock": heard}
    phone._perform(phone.core.write(op)[1])
    agree(stream, phone)
    assert stream.records[-1].beyond == {watch: 1}
    copy = copied(phone, stream, live)
    phone.write("workout.edit", W, {"field": "title", "value": "Arms"})
    agree(stream, phone)
    copy.write("workout.edit", W, {"field": "title", "value": "Back"})
    agree(stream, copy, phone, other)
    stream.rewind(kept)
    for each in (copy, phone, other):
        each.lose()
    agree(stream, copy, phone, other)
    kinds = [record.op.kind for record in stream.records]
    assert (kinds.count("rest.skip"), kinds.count("note.set")) == (2, 0)
