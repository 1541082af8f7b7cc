"""Tables: lines are those of RFC 4180, and what a spreadsheet would compute is text."""

from __future__ import annotations

import csv
import io

import pytest

from fitai.http import tables


def test_lines_are_those_of_rfc_4180():
    told = tables.lines([("name", "reps"), ('Ada "the" first, of hers', 3), ("two\nlines", None), ("Zoë", 0)])

    assert told == b'name,reps\r\n"Ada ""the"" first, of hers",3\r\n"two\nlines",\r\nZo\xc3\xab,0\r\n'
    assert list(csv.reader(io.StringIO(told.decode(), newline=""))) == [
        ["name", "reps"],
        ['Ada "the" first, of hers', "3"],
        ["two\nlines", ""],
        ["Zoë", "0"],
    ]


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\ufeff=1", "＝1", "－1"],
)
def test_what_begins_like_a_formula_is_text(cell):
    assert tables.safe(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["Ada", "a=b", "3", "'quoted", "", -3, 0, None])
def test_everything_else_stays_as_it_is(cell):
    assert tables.safe(cell) == cell
