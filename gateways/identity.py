"""Who is calling: the contract between whoever issues tokens and whoever must trust them.

The REST surface issues access tokens, the live gateway honours them. Neither knows the other; both know
this page, and the application wires them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified caller: the user, the enrolled device, and until when (Unix ms) the proof holds.

    `scopes` are what a personal token may do (`workouts:read`…); None is a person on a device of theirs, who
    may do everything. `sign_in` is the sign-in that the proof is of, None when it names none.
    """

    user: str
    device: int
    expires_at: int
    scopes: frozenset[str] | None = None
    sign_in: str | None = None

    def may(self, scope: str | None) -> bool:
        """Whether this caller may use what asks for `scope`; None is for people only."""
        return self.scopes is None or (scope is not None and scope in self.scopes)


class NotAuthenticated(Exception):
    """The token proves nothing. `code` is stable: unauthorized, token_expired or device_revoked."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Authenticator(Protocol):
    """Turns an access token or a personal token into an identity. Each raises NotAuthenticated, and
    Unavailable when the database had to be asked and is away."""

    async def read(self, token: str) -> Identity:
        """Verify the token alone, not whether it may still be used."""

    async def confirm(self, identity: Identity) -> None:
        """That the device of who was read is still enrolled, and the sign-in has not ended."""

    async def authenticate(self, token: str) -> Identity:
        """Read and confirm."""
