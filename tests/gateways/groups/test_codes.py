"""Codes open one group each, are read as people type them, and give nothing away."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest

from fitai.gateways.groups.codes import LENGTH, LETTERS, Codes, normal

SECRET = "a-secret-for-tests-that-is-long-enough"
GROUP = "018f0000-0000-7000-8000-0000000000aa"
CODES = Codes(SECRET)


def test_a_code_is_the_same_on_every_node_and_after_every_restart():
    """Pinned: another way to make them would close every group."""
    assert Codes(SECRET).code(GROUP, 1) == CODES.code(GROUP, 1) == "ATJC5BHTQS"
    assert CODES.hash_of(CODES.code(GROUP, 1)) == Codes(SECRET).hash_of(CODES.code(GROUP, 1))


def test_another_group_serial_or_installation_has_another_code():
    codes = {
        CODES.code(GROUP, 1),
        CODES.code(GROUP, 2),
        CODES.code(str(uuid.UUID(int=1)), 1),
        Codes(SECRET + "!").code(GROUP, 1),
    }
    assert len(codes) == 4


def test_a_code_has_fifty_bits_that_are_spread_evenly():
    codes = [CODES.code(GROUP, serial) for serial in range(1, 3_201)]
    assert {len(code) for code in codes} == {LENGTH}
    assert len(set(codes)) == len(codes)
    for place in range(LENGTH):
        counts = Counter(code[place] for code in codes)
        assert set(counts) == set(LETTERS)
        assert min(counts.values()) > 55 and max(counts.values()) < 150  # 100 each, more or less


@pytest.mark.parametrize(
    "typed",
    [
        "0123ABCDEF",
        "0123abcdef",
        "O1Z3ABCDEF".replace("Z", "2"),
        "oI23abcdef",
        "0l23-ABC-DEF",
        " 01 23 abcdef ",
    ],
)
def test_a_code_is_read_as_people_type(typed):
    assert normal(typed) == "0123ABCDEF"
    assert CODES.hash_of(typed) == CODES.hash_of("0123ABCDEF")


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "0123ABCDE",
        "0123ABCDEFG",
        "0123ABCDEU",
        "0123ABCDE\n",
        "0123ABCDE\u0660",
        "\uff10123ABCDEF",
        "-" * 10**6,
    ],
)
def test_what_can_be_no_code_has_no_hash(typed):
    assert normal(typed) is None
    assert CODES.hash_of(typed) is None


def test_a_text_without_end_is_not_looked_at():
    assert normal("-" * 10**7 + "0123ABCDEF") is None


def test_who_has_the_hash_alone_can_not_try_codes():
    code = CODES.code(GROUP, 1)
    assert Codes(SECRET + "!").hash_of(code) != CODES.hash_of(code)
    assert len(CODES.hash_of(code) or b"") == 32
