"""Access tokens: JWTs (HS256) that name user and device and live for minutes.

Beyond its signature the database is asked at each use whether the device is still enrolled, so that a
revoked device is out at once. Refresh tokens, which are stored, are `fitai.persistence.tokens`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import jwt

from fitai.gateways.identity import Identity, NotAuthenticated
from fitai.persistence.database import Database
from fitai.persistence.devices import Devices

ISSUER = "fitai"
AUDIENCE = "fitai"
ACCESS_MS = 15 * 60_000
SHORTEST_SECRET = 32  # bytes: RFC 7518, 3.2 asks for a key as long as the hash

_CLAIMS = ("iss", "aud", "sub", "dev", "iat", "exp", "jti")

Enrolled = Callable[[str, int], Awaitable[bool]]
"""Whether this device of this user may speak now."""


def enrolled_in(db: Database) -> Enrolled:
    """Asks the database, with one small read."""

    async def enrolled(user: str, device: int) -> bool:
        async with db.read() as session:
            return await Devices(session).is_live(user, device)

    return enrolled


class AccessTokens:
    """Issues access tokens and is the `Authenticator` that honours them.

    `secret` signs (at least 32 bytes), `enrolled` is asked at each use, `now_ms` is the clock (Unix ms),
    `life_ms` how long a token lives. The clock is ours alone: PyJWT's own reading of the time is switched
    off.
    """

    def __init__(
        self, secret: str, enrolled: Enrolled, now_ms: Callable[[], int], *, life_ms: int = ACCESS_MS
    ) -> None:
        if len(secret.encode()) < SHORTEST_SECRET:
            raise ValueError(f"the signing secret must have at least {SHORTEST_SECRET} bytes")
        self._secret = secret
        self._enrolled = enrolled
        self._now_ms = now_ms
        self.life_ms = life_ms

    def issue(self, user: str, device: int) -> str:
        """A new token for a device of a user."""
        now = self._now_ms()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user,
            "dev": device,
            "iat": now // 1000,
            # Rounded up: a token never dies before its `expires_in` is over.
            "exp": -(-(now + self.life_ms) // 1000),
            "jti": uuid4().hex,
        }
        return jwt.encode(claims, self._secret, algorithm="HS256")

    async def authenticate(self, token: str) -> Identity:
        """Verify signature, claims, expiry and that the device is enrolled; raises NotAuthenticated."""
        identity = self.read(token)
        if not await self._enrolled(identity.user, identity.device):
            raise NotAuthenticated("device_revoked", "This device was revoked.")
        return identity

    def read(self, token: str) -> Identity:
        """Verify signature, claims and expiry; raises NotAuthenticated."""
        identity = self._identity(self._claims(token))
        if identity.expires_at <= self._now_ms():
            raise NotAuthenticated("token_expired", "The access token has expired.")
        return identity

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
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

    def _identity(self, claims: dict[str, Any]) -> Identity:
        user, device, expires = claims["sub"], claims["dev"], claims["exp"]
        if not isinstance(user, str) or type(device) is not int or type(expires) is not int:
            raise _invalid()
        return Identity(user, device, expires * 1000)


def _invalid() -> NotAuthenticated:
    return NotAuthenticated("unauthorized", "The access token is not valid.")
