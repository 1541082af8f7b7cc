from __future__ import annotations

import pytest

from fitai.engine.kinds import BadValue
from fitai.engine.machine import IllegalEdge
from fitai.gateways.identity import NotAuthenticated
from fitai.gateways.live.hosts import UnknownUser
from fitai.gateways.live.jobs import KeyReuse, RevClash, StateAt
from fitai.http.problems import CATALOGUE, NotReady, Problem, translate
from fitai.persistence.database import CommitUnknown, Unavailable
from fitai.sync.wire import Refusal


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotAuthenticated("token_expired", "Expired."), 401, "token_expired"),
        (IllegalEdge("planned", "pause"), 409, "illegal_edge"),
        (BadValue("reps", "is negative"), 422, "bad_value"),
        (KeyReuse("k"), 422, "idempotency_key_reused"),
        (UnknownUser("u"), 404, "not_found"),
        (Refusal("later", "busy", retry_after_ms=1500), 429, "later"),
        (Refusal("too_large", "at most 5", max=5), 413, "too_large"),
        (Refusal("unavailable", "away"), 503, "unavailable"),
        (Refusal("something_new", "?"), 400, "bad_request"),
        (Unavailable("away"), 503, "unavailable"),
        (CommitUnknown("away"), 503, "unavailable"),
        (NotReady({"bus": "down"}), 503, "unavailable"),
    ],
)
def test_each_error_of_the_lower_layers_has_its_problem(error, status, code):
    problem = translate(error)

    assert problem is not None
    assert (problem.kind.status, problem.code) == (status, code)


def test_an_unexpected_error_has_none():
    assert translate(ValueError("?")) is None


def test_a_clash_carries_the_present_state_and_its_tag():
    problem = translate(RevClash(StateAt(9, 4, {"id": "w", "rev": 4})))

    assert problem is not None
    assert problem.extra["current"] == {"id": "w", "rev": 4}
    assert problem.headers["ETag"] == '"4"'


def test_later_says_when_in_whole_seconds():
    problem = translate(Refusal("later", "busy", retry_after_ms=1500))

    assert problem is not None
    assert problem.headers["Retry-After"] == "2"
    assert problem.document("r")["retry_after_ms"] == 1500


def test_an_illegal_edge_names_state_and_trigger():
    problem = translate(IllegalEdge("planned", "pause"))

    assert problem is not None
    document = problem.document("r")
    assert (document["from"], document["trigger"]) == ("planned", "pause")


def test_extra_members_never_replace_the_reserved_ones():
    document = Problem("limit", extra={"status": 200, "code": "fine", "limit": "sets"}).document("r")

    assert (document["status"], document["code"], document["limit"]) == (422, "limit", "sets")


def test_every_code_is_a_stable_word_with_a_status_of_an_error():
    for code, kind in CATALOGUE.items():
        assert code.replace("_", "").isalpha()
        assert code == code.lower()
        assert 400 <= kind.status < 600
        assert kind.title
        assert kind.advice
