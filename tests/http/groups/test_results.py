"""The final table: what each member shows of their line, and how it is written for people."""

from __future__ import annotations

import pytest

from fitai.engine.groups.measure import measured
from fitai.http.groups import results
from fitai.persistence.group_results import Result
from tests.group_book import GroupBook

VOLUME = {"type": "race", "limit_ms": 600_000, "measure": {"of": "volume"}}
DOTS = {"type": "race", "limit_ms": 600_000, "measure": {"of": "volume", "by": "dots"}}
REPS = {"type": "tabata"}


def line(member, rank, **more):
    counted = {
        "sets": 2,
        "reps": 20,
        "distance_mm": 1_500,
        "duration_ms": 90_500,
        "volume_ug": 1_250_000_000_000,
    }
    fields = {"amount": 1_250_000_000_000, "time_ms": None, "rev": 7, **counted, **more}
    return Result(member=member, rank=rank, **fields)


def book(format_, shares=("everything", "progress", "presence")):
    """A group of members who share this and that, the host everything."""
    book = GroupBook().create(format=format_)
    for member, share in enumerate(shares, 1):
        if member > 1:
            book.join(member)
        assert book("member.share", by=member, share=share).verdict == "applied"
    return book


@pytest.mark.parametrize("format_", [VOLUME, DOTS], ids=["volume", "dots"])
def test_loads_and_what_is_made_of_them_are_told_of_who_shows_everything(format_):
    g = book(format_).g

    everything, progress = results.rows(g, [line(2, 2, time_ms=5), line(1, 1, time_ms=4), line(3, 3)])

    assert (everything.member, everything.rank, everything.volume_ug) == (1, 1, 1_250_000_000_000)
    assert (everything.amount, everything.time_ms) == (1_250_000_000_000, 4)
    assert (progress.member, progress.rank, progress.volume_ug) == (2, 2, None)
    assert (progress.amount, progress.time_ms) == (None, None)
    assert (progress.sets, progress.reps, progress.distance_mm, progress.duration_ms) == (
        2,
        20,
        1_500,
        90_500,
    )


def test_an_amount_that_is_not_made_of_loads_is_told_of_everybody_who_is_on_the_board():
    g = book(REPS).g

    rows = results.rows(g, [line(no, no, amount=20 - no) for no in (1, 2, 3)])

    assert [(row.member, row.amount) for row in rows] == [(1, 19), (2, 18)]
    assert [row.volume_ug for row in rows] == [1_250_000_000_000, None]


def test_who_shows_presence_only_is_not_on_it_whatever_is_stored():
    g = book(REPS, ("presence", "presence", "presence")).g

    assert results.rows(g, [line(no, no) for no in (1, 2, 3)]) == []


def test_the_best_come_first_equals_by_number_and_those_without_a_rank_last():
    g = book(REPS, ("progress",) * 5).g

    rows = results.rows(g, [line(5, None), line(3, 1), line(1, None), line(4, 2), line(2, 1)])

    assert [row.member for row in rows] == [2, 3, 4, 1, 5]


def test_who_left_is_said_to_have_and_who_was_erased_has_no_name():
    book_ = book(REPS, ("progress",) * 3)
    book_("member.leave", by=2)
    book_("member.erase", by=0, member=3)

    rows = results.rows(book_.g, [line(no, no) for no in (1, 2, 3)])

    assert [(row.name, row.left) for row in rows] == [("m1", False), ("m2", True), ("", True)]


def golden(format_, *lines):
    g = book(format_).g
    return results.table(measured(g.format), results.rows(g, lines)).decode()


def test_the_table_of_a_race_for_volume():
    assert golden(VOLUME, line(1, 1, time_ms=61_234), line(2, 2), line(3, 3)) == (
        "rank,name,amount,unit,time_s,sets,reps,distance_m,duration_s,volume_kg,left\r\n"
        "1,m1,1250,kg,61.234,2,20,1.5,90.5,1250,\r\n"
        "2,m2,,,,2,20,1.5,90.5,,\r\n"
    )


@pytest.mark.parametrize(
    ("format_", "amount", "told"),
    [
        (REPS, 123, "123,reps"),
        ({**VOLUME, "measure": {"of": "distance"}}, 5_020_400, "5020.4,m"),
        ({**VOLUME, "measure": {"of": "volume", "by": "body_weight"}}, 12_345, "12.345,body weights"),
        (DOTS, 400_000, "400,DOTS"),
        (VOLUME, 1, "0.000000001,kg"),
        (VOLUME, 0, "0,kg"),
        (VOLUME, None, ","),
        ({"type": "open"}, 5, "5,"),
    ],
)
def test_amounts_are_written_in_units_of_people_and_whole(format_, amount, told):
    lines = golden(format_, line(1, 1, amount=amount)).splitlines()

    assert lines[1] == f"1,m1,{told},,2,20,1.5,90.5,1250,"


def test_a_name_that_a_spreadsheet_would_compute_is_text():
    book_ = book(REPS)
    book_("device.enrol", by=0, device=1, member=1, name='=HYPERLINK("https://evil.example","1st")')

    told = results.table("reps", results.rows(book_.g, [line(1, 1, amount=3)])).decode()

    assert '\r\n1,"\'=HYPERLINK(""https://evil.example"",""1st"")",3,reps,' in told
