"""Access tokens: JWTs (EdDSA) that name user, device and sign-in, and live for minutes.

    {alg: EdDSA, typ: at+jwt, kid}    {iss, aud, sub: user, dev: device, sid: sign-in, iat, exp, jti}

A token names its key, and each key has one algorithm, so a token can not choose how it is verified. What was
verified once is kept for a while: a signature costs a hundred times what it costs to look it up, and a device
shows the same token for minutes. Whether a device and its sign-in still stand is for
`fitai.http.auth.authority`; refresh tokens, which are stored, are `fitai.persistence.tokens`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt

from fitai.gateways.identity import Identity, NotAuthenticated
from fitai.http.auth.keys import EDDSA, HS256, SECRET_KID, Key, Keys

ISSUER = "fitai"
AUDIENCE = "fitai"
ACCESS_MS = 15 * 60_000
TYPE = "at+jwt"  # RFC 9068: no other kind of JWT passes for one

_LONGEST = 2_048
_VERIFIED = 10_000  # tokens of which it is remembered that they were verified, about a kilobyte each
_CLAIMS = ("iss", "aud", "sub", "dev", "iat", "exp", "jti")
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class AccessTokens:
    """Issues and reads access tokens.

    `keys` sign and verify, `now_ms` is the clock (Unix ms), `life_ms` how long a token lives. The clock is
    ours alone: PyJWT's own reading of the time is switched off.
    """

    def __init__(self, keys: Keys, now_ms: Callable[[], int], *, life_ms: int = ACCESS_MS) -> None:
        self._keys = keys
        self._now_ms = now_ms
        self.life_ms = life_ms
        self._verified: dict[str, tuple[str, Identity]] = {}

    def issue(self, user: str, device: int, sign_in: str | None = None) -> str:
        """A new token for a device of a user, of a sign-in; raises NoKey."""
        now = self._now_ms()
        key = self._keys.signer(now)
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user,
            "dev": device,
            "iat": now // 1000,
            # Rounded up: a token never dies before its `expires_in` is over.
            "exp": -(-(now + self.life_ms) // 1000),
            "jti": uuid4().hex,
        }
        if sign_in is not None:
            claims["sid"] = sign_in
        if key.algorithm == HS256:
            return jwt.encode(claims, key.private, HS256)  # type: ignore[arg-type]  # no `kid`: for older nodes
        return jwt.encode(claims, key.private, EDDSA, {"kid": key.kid, "typ": TYPE})  # type: ignore[arg-type]

    async def read(self, token: str) -> Identity:
        """Verify signature, claims and expiry; raises NotAuthenticated, Unavailable."""
        found = self._verified.get(token)
        if found is None:
            found = await self._verify(token)
            if len(self._verified) >= _VERIFIED:
                del self._verified[next(iter(self._verified))]
            self._verified[token] = found
        kid, identity = found
        now, key = self._now_ms(), self._keys.get(kid)
        if identity.expires_at <= now or key is None or not key.honoured(now):
            self._verified.pop(token, None)
            raise _expired()
        return identity

    async def _verify(self, token: str) -> tuple[str, Identity]:
        """The id of the key that signed, and who is named."""
        kid, algorithm = _header(token)
        key = await self._keys.find(kid)
        if key is None or key.public is None:
            raise _expired() if key is not None or self._is_over(token) else _invalid()
        if algorithm != key.algorithm:
            raise _invalid()
        return kid, _identity(_claims(token, key))

    def _is_over(self, token: str) -> bool:
        """Whether a token that can not be verified any more has expired by its own word: who can go on with
        a refresh token should hear that, and to who made it up it says nothing new."""
        try:
            expires = jwt.decode(token, options={"verify_signature": False}).get("exp")
        except (jwt.InvalidTokenError, ValueError):
            return False
        return type(expires) is int and expires * 1000 <= self._now_ms()


def _header(token: str) -> tuple[str, str]:
    """The id of the key that a token names, and its algorithm; raises NotAuthenticated."""
    if len(token) > _LONGEST:
        raise _invalid()
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError):
        raise _invalid() from None
    kid, algorithm = header.get("kid", SECRET_KID), header.get("alg")
    kind = "JWT" if algorithm == HS256 else TYPE
    if algorithm not in (EDDSA, HS256) or header.get("typ") != kind or "crit" in header:
        raise _invalid()
    if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
        raise _invalid()
    return kid, algorithm


def _claims(token: str, key: Key) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            key.public,  # type: ignore[arg-type]
            algorithms=[key.algorithm],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={
                "require": list(_CLAIMS),
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.InvalidTokenError, ValueError):
        # The reason would only help a forger.
        raise _invalid() from None


def _identity(claims: dict[str, Any]) -> Identity:
    user, device, expires, sign_in = claims["sub"], claims["dev"], claims["exp"], claims.get("sid")
    if not isinstance(user, str) or type(device) is not int or type(expires) is not int:
        raise _invalid()
    if sign_in is not None and not isinstance(sign_in, str):
        raise _invalid()
    return Identity(user, device, expires * 1000, sign_in=sign_in)


def _invalid() -> NotAuthenticated:
    return NotAuthenticated("unauthorized", "The access token is not valid.")


def _expired() -> NotAuthenticated:
    return NotAuthenticated("token_expired", "The access token has expired.")
