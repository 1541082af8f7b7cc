from __future__ import annotations

from typing import Any

import jwt
import pytest

from fitai.gateways.identity import NotAuthenticated
from fitai.http.auth.tokens import AccessTokens

SECRET = "a secret for tests, which is long enough"
NOW = 1_767_225_600_500


async def everyone(user: str, device: int) -> bool:
    return True


async def nobody(user: str, device: int) -> bool:
    return False


def tokens(now: int = NOW, enrolled: Any = everyone, **options: Any) -> AccessTokens:
    return AccessTokens(SECRET, enrolled, lambda: now, **options)


async def refusal(authority: AccessTokens, token: str) -> str:
    with pytest.raises(NotAuthenticated) as refused:
        await authority.authenticate(token)
    return refused.value.code


async def test_a_token_names_its_user_and_device_until_it_expires():
    token = tokens(life_ms=60_000).issue("ada", 7)

    identity = await tokens().authenticate(token)

    assert (identity.user, identity.device) == ("ada", 7)
    assert NOW + 60_000 <= identity.expires_at < NOW + 61_000
    assert await tokens(identity.expires_at - 1).authenticate(token) == identity
    assert await refusal(tokens(identity.expires_at), token) == "token_expired"


async def test_two_tokens_of_one_moment_differ():
    assert tokens().issue("ada", 7) != tokens().issue("ada", 7)


async def test_a_device_that_is_not_enrolled_any_more_is_told_so():
    assert await refusal(tokens(enrolled=nobody), tokens().issue("ada", 7)) == "device_revoked"


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
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": 1e400},
        {"jti": None},
    ],
)
async def test_a_token_with_claims_of_another_kind_is_refused_even_with_our_signature(change):
    claims = jwt.decode(tokens().issue("ada", 7), options={"verify_signature": False})
    claims |= change
    forged = jwt.encode({name: value for name, value in claims.items() if value is not None}, SECRET)

    assert await refusal(tokens(), forged) == "unauthorized"


async def test_another_secret_or_no_signature_is_refused():
    claims = jwt.decode(tokens().issue("ada", 7), options={"verify_signature": False})

    assert await refusal(tokens(), jwt.encode(claims, "x" * 40)) == "unauthorized"
    assert await refusal(tokens(), jwt.encode(claims, None, algorithm="none")) == "unauthorized"
    assert await refusal(tokens(), jwt.encode(claims, SECRET * 2, algorithm="HS512")) == "unauthorized"


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "ä.ö.ü", "." * 1000, "e30.e30.e30"])
async def test_what_is_no_token_is_refused(text):
    assert await refusal(tokens(), text) == "unauthorized"


def test_a_short_secret_is_refused_at_the_start():
    with pytest.raises(ValueError, match="32 bytes"):
        AccessTokens("short", everyone, lambda: NOW)
