from __future__ import annotations

from typing import Any

import jwt
import pytest

from fitai.gateways.identity import NotAuthenticated
from fitai.http.auth.keys import Ring
from fitai.http.auth.tokens import TYPE, AccessTokens
from fitai.persistence.sealed import Seal
from tests.keys import ring_of, ring_of_release_before

SECRET = "a secret for tests, which is long enough"
NOW = 1_767_225_600_500
RING = ring_of(SECRET)


def tokens(now: int = NOW, ring: Ring = RING, **options: Any) -> AccessTokens:
    return AccessTokens(ring, lambda: now, **options)


async def refusal(authority: AccessTokens, token: str) -> str:
    with pytest.raises(NotAuthenticated) as refused:
        await authority.read(token)
    return refused.value.code


def signed(claims: dict[str, Any], ring: Ring = RING) -> str:
    """Claims with a good signature of ours; those that are None are left out."""
    key = ring.signer(NOW)
    assert key.private is not None
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, key.private, key.algorithm, {"kid": key.kid, "typ": TYPE})


async def test_a_token_names_its_user_device_and_sign_in_until_it_expires():
    token = tokens(life_ms=60_000).issue("ada", 7, "here")

    identity = await tokens().read(token)

    assert (identity.user, identity.device, identity.sign_in) == ("ada", 7, "here")
    assert identity.scopes is None
    assert NOW + 60_000 <= identity.expires_at < NOW + 61_000
    assert await tokens(identity.expires_at - 1).read(token) == identity
    assert await refusal(tokens(identity.expires_at), token) == "token_expired"


async def test_a_token_that_was_verified_before_still_expires():
    clock = [NOW]
    authority = AccessTokens(RING, lambda: clock[0], life_ms=60_000)
    token = authority.issue("ada", 7)
    assert await authority.read(token) == await authority.read(token)
    clock[0] += 61_000
    assert await refusal(authority, token) == "token_expired"


async def test_no_more_verified_tokens_are_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr("fitai.http.auth.tokens._VERIFIED", 3)
    authority = tokens()
    made = [authority.issue("ada", device) for device in range(10)]
    for _ in range(2):
        assert [(await authority.read(token)).device for token in made] == list(range(10))
    assert len(authority._verified) == 3


async def test_two_tokens_of_one_moment_differ():
    assert tokens().issue("ada", 7) != tokens().issue("ada", 7)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"sub": None},
        {"sub": 5},
        {"dev": "7"},
        {"dev": True},
        {"dev": None},
        {"sid": 5},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": 1e400},
        {"jti": None},
    ],
)
async def test_a_token_with_claims_of_another_kind_is_refused_even_with_our_signature(change):
    claims = jwt.decode(tokens().issue("ada", 7), options={"verify_signature": False})
    assert (await tokens().read(signed(claims))).user == "ada"

    assert await refusal(tokens(), signed(claims | change)) == "unauthorized"


@pytest.mark.parametrize("ring", [RING, ring_of_release_before(SECRET)])
async def test_another_secret_or_no_signature_is_refused(ring):
    claims = jwt.decode(tokens().issue("ada", 7), options={"verify_signature": False})

    for secret, algorithm in (("x" * 40, "HS256"), ("", "none"), (SECRET * 2, "HS512")):
        forged = jwt.encode(claims, secret, algorithm=algorithm)
        assert await refusal(tokens(ring=ring), forged) == "unauthorized"


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "ä.ö.ü", "." * 1000, "e30.e30.e30", "\ud800.a.b"])
async def test_what_is_no_token_is_refused(text):
    assert await refusal(tokens(), text) == "unauthorized"


def test_a_short_secret_is_refused_at_the_start():
    with pytest.raises(ValueError, match="32 bytes"):
        Seal("short", "signing-key")
