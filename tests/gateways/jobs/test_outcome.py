from __future__ import annotations

from random import Random

import pytest

from fitai.gateways.jobs.contract import Kind, Kinds, Permanent, Temporary
from fitai.gateways.jobs.outcome import (
    FIRST_MS,
    LONGEST_MS,
    UNKNOWN_ATTEMPTS,
    BadPayload,
    Dead,
    Done,
    Later,
    judge,
    parse,
    pause_ms,
)
from fitai.persistence.jobs import Taken
from tests.gateways.jobs.kit import NOW, Note, kind


async def nothing(attempt, note):
    pass


def judged(error, *, attempts=1, of=12, known=True):
    taken = Taken("id", "note", {}, attempts, NOW, "run:x", None)
    return judge(kind(nothing, attempts=of) if known else None, taken, error, NOW, Random(1))


def test_no_error_is_done():
    assert judged(None) == Done()


def test_a_permanent_error_is_dead_at_once_and_says_why():
    assert judged(Permanent("550 no\r\nsuch user")) == Dead("550 no such user")


def test_a_temporary_error_is_tried_again_until_the_last_attempt():
    first = judged(Temporary("not now"), of=3)
    assert isinstance(first, Later) and first.error == "not now"
    assert NOW + FIRST_MS // 2 <= first.due <= NOW + FIRST_MS * 3 // 2
    assert isinstance(judged(Temporary("not now"), attempts=2, of=3), Later)
    assert judged(Temporary("not now"), attempts=3, of=3) == Dead("not now (given up after 3 attempts)")


def test_an_error_that_nobody_expected_is_told_without_its_words():
    told = judged(RuntimeError("the password is 123"))
    assert isinstance(told, Later) and told.error == "RuntimeError (the log has more)"


def test_a_kind_that_nobody_knows_waits_for_an_upgrade_and_then_is_dead():
    assert isinstance(judged(None, known=False), Later)
    last = judged(None, known=False, attempts=UNKNOWN_ATTEMPTS)
    assert isinstance(last, Dead) and last.error.startswith("unknown kind: note")


def test_pauses_double_within_bounds_and_are_spread():
    chance = Random(7)
    for attempts in range(1, 40):
        whole = min(FIRST_MS * 2 ** (attempts - 1), LONGEST_MS)
        pauses = [pause_ms(attempts, chance) for _ in range(50)]
        assert all(whole * 0.5 <= pause <= whole * 1.5 for pause in pauses)
        assert len(set(pauses)) > 10


def test_a_payload_that_does_not_fit_is_refused_without_its_values():
    with pytest.raises(BadPayload) as refused:
        parse(kind(nothing), {"n": "my secret", "more": "another secret"})
    assert "n: " in str(refused.value) and "more: " in str(refused.value)
    assert "secret" not in str(refused.value)
    for payload in (None, [], "text", 7):
        with pytest.raises(BadPayload):
            parse(kind(nothing), payload)
    assert parse(kind(nothing), {"n": 3}) == Note(n=3)


def test_kinds_have_names_of_their_own_and_times_within_reason():
    with pytest.raises(ValueError, match="two kinds"):
        Kinds([kind(nothing), kind(nothing)])
    for options in ({"within_s": 0}, {"within_s": 1801}, {"attempts": 0}):
        with pytest.raises(ValueError):
            Kind("note", Note, nothing, **options)
