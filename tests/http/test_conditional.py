from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from fitai.http.conditional import NEVER, IfMatch, etag, idempotency_key, if_match, none_match
from fitai.http.problems import Problem


def request(path: str = "/x", method: str = "PUT", **headers: str):
    return make_mocked_request(
        method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


@pytest.mark.parametrize(
    ("header", "revs"),
    [
        ('"17"', (17,)),
        (' "17" ', (17,)),
        ('"17", "18"', (17, 18)),
        ('W/"17"', (NEVER,)),
        ('"abc"', (NEVER,)),
        ('"017"', (NEVER,)),
        ('"17.9d2f5a6b7c8d"', (17,)),
        ('W/"17.9d2f5a6b7c8d"', (NEVER,)),
        ('"17."', (NEVER,)),
        ('"17.9d2f5a6b7c8d0"', (NEVER,)),
        ('"99999999999999999999"', (NEVER,)),
        ('""', (NEVER,)),
        ("*", None),
    ],
)
def test_entity_tags_are_read_as_revisions(header, revs):
    assert if_match(request(If_Match=header)) == IfMatch(revs)


@pytest.mark.parametrize("header", ["17", '"17', '"17" "18"', '"17",,', "w/", "*, *"])
def test_what_is_no_entity_tag_is_not_valid(header):
    with pytest.raises(Problem) as refused:
        if_match(request(If_Match=header))
    assert refused.value.code == "validation_failed"


@pytest.mark.parametrize("headers", [{}, {"If_Match": ""}, {"If_Match": "  "}])
def test_without_one_it_is_required(headers):
    with pytest.raises(Problem) as refused:
        if_match(request(**headers))
    assert refused.value.code == "precondition_required"


def test_of_several_revisions_the_present_one_is_expected():
    assert IfMatch((3, 5)).expected(5) == 5
    assert IfMatch((3, 5)).expected(9) == 3
    assert IfMatch(None).expected(9) is None


def test_a_long_header_is_read_in_a_moment():
    with pytest.raises(Problem):
        if_match(request(If_Match='"1", ' * 1500 + "x"))


def test_a_tag_that_the_caller_has_is_not_sent_again():
    assert none_match(request(If_None_Match='"4", W/"5"'), etag(5))
    assert none_match(request(If_None_Match="*"), etag(5))
    assert not none_match(request(If_None_Match='"4"'), etag(5))
    assert not none_match(request(), etag(5))


def test_the_tag_of_a_workout_in_a_group_is_another_one_and_names_the_same_revision():
    tag = etag(5, "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f")

    assert tag == '"5.5a6b7c8d9e0f"'
    assert not none_match(request(If_None_Match=etag(5)), tag)
    assert if_match(request(If_Match=tag)) == if_match(request(If_Match=etag(5)))


def test_a_key_stands_for_method_path_and_body():
    def digest(path: str = "/x", method: str = "POST", body: bytes = b"{}") -> str:
        key = idempotency_key(request(path, method, Idempotency_Key="k"), body)
        assert key is not None
        assert key.key == "k"
        return key.request

    same = digest()
    assert digest("/v1/x") == same
    assert len({same, digest("/y"), digest(method="PUT"), digest(body=b"{ }")}) == 4


def test_no_key_is_no_key_and_a_strange_one_is_not_valid():
    assert idempotency_key(request(), b"") is None
    for strange in ("", "a b", "x" * 256, "ä"):
        with pytest.raises(Problem) as refused:
            idempotency_key(request(Idempotency_Key=strange), b"")
        assert refused.value.code == "validation_failed"
