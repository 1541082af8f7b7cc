from __future__ import annotations

import pytest

from fitai.bench import ledger
from fitai.bench.ledger import Ledger


def record(seq, device, n):
    return {"seq": seq, "device": device, "n": n}


def result(seq, n, verdict="applied", **more):
    return {"seq": seq, "n": n, "verdict": verdict, **more}


@pytest.fixture
def book():
    return Ledger()


def test_acks_and_ops_that_run_on_from_each_other_are_right(book):
    phone, watch = book.sit(1, 0), book.sit(2, 0)
    phone.acked([result(1, 1), result(2, 2)])
    assert watch.ops(1, 2, [record(1, 1, 1), record(2, 1, 2)]) == [(1, 1), (1, 2)]
    watch.acked([result(3, 1)])
    phone.ops(3, 3, [record(3, 2, 1)])
    phone.acked([result(4, 3)])
    watch.ops(4, 4, [record(4, 1, 3)])
    book.close()
    assert not +book.failures
    assert book.told == 4


def test_own_acknowledged_ops_may_be_left_out_of_a_range_and_no_others(book):
    phone = book.sit(1, 0)
    book.at(2, (1, 1))
    assert phone.ops(1, 3, [record(1, 2, 1), record(3, 2, 2)]) == [(2, 1), (2, 2)]
    assert not +book.failures
    watch = book.sit(2, 0)
    watch.ops(1, 2, [record(1, 2, 1)])
    assert book.failures["lost"] == 1


def test_a_gap_before_ops_and_before_an_ack_is_a_loss(book):
    seat = book.sit(1, 0)
    seat.ops(2, 2, [record(2, 2, 1)])
    seat.acked([result(4, 1)])
    assert book.failures == {"lost": 2}


def test_what_is_told_again_is_doubled_but_a_retry_is_not(book):
    seat = book.sit(1, 0)
    seat.ops(1, 1, [record(1, 2, 1)])
    assert seat.ops(1, 1, [record(1, 2, 1)]) == []
    seat.acked([result(2, 1)])
    seat.acked([result(2, 1, "duplicate", first={"verdict": "applied"})])
    assert book.failures == {"doubled": 1}
    seat.acked([result(2, 1)])
    assert book.failures == {"doubled": 2}


def test_two_devices_that_are_told_of_different_ops_at_one_place(book):
    phone, watch = book.sit(1, 0), book.sit(2, 0)
    phone.acked([result(1, 1)])
    watch.ops(1, 1, [record(1, 3, 1)])
    assert book.failures == {"different": 1}


def test_one_op_at_two_places(book):
    book.at(1, (1, 1))
    book.at(2, (1, 1))
    assert book.failures == {"different": 1}


def test_ops_of_the_load_that_did_not_stand(book):
    seat = book.sit(1, 0)
    seat.acked([result(1, 1, "void"), result(2, 2, "duplicate", first={"verdict": "void"})])
    assert book.failures == {"void": 2}


def test_what_a_connection_was_not_told_of_by_the_end_is_lost_unless_it_has_left(book):
    phone, watch = book.sit(1, 0), book.sit(2, 0)
    phone.acked([result(1, 1), result(2, 2)])
    assert book.behind == 2
    book.leave(watch)
    book.close()
    assert not +book.failures
    tablet = book.sit(3, 1)
    book.close()
    assert book.failures == {"lost": 1}
    assert tablet.position == 1


def test_a_connection_that_comes_back_goes_on_where_it_was(book):
    phone, watch = book.sit(1, 0), book.sit(2, 0)
    phone.acked([result(1, 1)])
    watch.ops(1, 1, [record(1, 1, 1)])
    book.leave(watch)
    phone.acked([result(2, 2)])
    back = book.sit(2, watch.position)
    assert back.ops(2, 2, [record(2, 1, 2)]) == [(1, 2)]
    book.close()
    assert not +book.failures


def test_a_long_run_is_remembered_only_as_far_as_somebody_is_behind(book, monkeypatch):
    monkeypatch.setattr(ledger, "MANY", 64)
    phone, watch = book.sit(1, 0), book.sit(2, 0)
    for seq in range(1, 1_001):
        phone.acked([result(seq, seq)])
        watch.ops(seq, seq, [record(seq, 1, seq)])
    assert len(book._dots) <= 65
    assert not +book.failures
