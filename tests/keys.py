"""Keys for tests that need tokens, and no rotation of what signs them."""

from __future__ import annotations

from fitai.http.auth import keys
from fitai.http.auth.keys import Ring
from fitai.persistence.sealed import Seal
from fitai.persistence.signing_keys import SigningKeyRow


def ring_of(secret: str, *rows: SigningKeyRow) -> Ring:
    """These keys as an installation with this secret has them; with none a new one, which signs for ever."""
    seal = Seal(secret, keys.PURPOSE)
    return Ring(keys.opened(row, seal, secret) for row in rows or [keys.made(seal, 0, 0)])


def ring_of_release_before(secret: str) -> Ring:
    """What the release before signs with: the secret itself."""
    return ring_of(secret, keys.made_of_secret(0, 2**50, 0))
