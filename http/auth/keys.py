"""The keys of access tokens: what each is good for, and when.

    published ─(LEAD_MS)─▶ signs ─(until another does)─▶ honoured ─(a token's life)─▶ known ─▶ forgotten

A key is published some minutes before it signs, so that whoever verifies has it by then, and is honoured for
a token's life after another has taken over. Which key signs is decided by the clock alone, so the nodes agree
without talking. It is known for a while longer: a token of such a key is told that it has expired, and its
device refreshes it.

The private half is sealed (`fitai.persistence.sealed`), and a key that this installation's secret does not
open is not honoured: so that neither a changed secret nor a row that somebody slipped in does any harm.

The release before signed with the secret key itself (HS256). That is a key like any other here, with the id
`SECRET_KID`, and the first real one takes over from it: after FIRST_LEAD_MS, in which an upgrade of all nodes
can come to its end, since nodes of that release can verify nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fitai.persistence.sealed import Seal, Unsealable
from fitai.persistence.signing_keys import SigningKeyRow

EDDSA = "EdDSA"
HS256 = "HS256"
SECRET_KID = "secret"  # of what the release before signed with; its tokens name no key
LEAD_MS = 10 * 60_000
FIRST_LEAD_MS = 24 * 3_600_000
SKEW_MS = 60_000  # how far nodes' clocks may differ
KNOWN_MS = 7 * 86_400_000  # after a key is honoured no more
PURPOSE = "signing-key"


@dataclass(frozen=True, slots=True)
class Key:
    """A key in use: `private` signs and `public` verifies (None both: it is not ours to use)."""

    row: SigningKeyRow
    private: Ed25519PrivateKey | str | None
    public: Ed25519PublicKey | str | None

    @property
    def kid(self) -> str:
        return self.row.kid

    @property
    def algorithm(self) -> str:
        return self.row.algorithm

    def signs(self, now: int) -> bool:
        """Whether it may sign at a moment, Unix ms."""
        until = self.row.signs_until
        return self.private is not None and self.row.signs_from <= now and (until is None or now < until)

    def honoured(self, now: int) -> bool:
        """Whether what it signed is honoured at a moment. Also before it signs here: another node's clock may
        be ahead."""
        until = self.row.honoured_until
        return self.public is not None and (until is None or now < until)

    def is_fresh(self, now: int, age_ms: int) -> bool:
        """Whether it may go on signing: no other was made, and it is not as old as a key may become."""
        return (
            self.private is not None and self.row.signs_until is None and now < self.row.created_at + age_ms
        )


class NoKey(Exception):
    """No key can sign now."""


class Keys(Protocol):
    """Where access tokens find their keys."""

    def signer(self, now: int) -> Key:
        """The key that signs at a moment, Unix ms; raises NoKey."""

    def get(self, kid: str) -> Key | None:
        """The key with this id, of those at hand."""

    async def find(self, kid: str) -> Key | None:
        """The key with this id, looked for where it may have appeared; raises Unavailable."""


class Ring:
    """Keys at hand."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys: Sequence[Key] = sorted(keys, key=lambda key: key.row.signs_from)
        self._by_kid = {key.kid: key for key in self.keys}

    @property
    def ours(self) -> Sequence[Key]:
        """Those that this installation's secret opens, in the order in which they sign."""
        return [key for key in self.keys if key.private is not None]

    def signs(self, now: int) -> bool:
        """Whether there is a key that signs at a moment."""
        return any(key.signs(now) for key in self.keys)

    def signer(self, now: int) -> Key:
        """The newest key that signs; raises NoKey."""
        for key in reversed(self.keys):
            if key.signs(now):
                return key
        raise NoKey("there is no key that signs now")

    def get(self, kid: str) -> Key | None:
        """The key with this id."""
        return self._by_kid.get(kid)

    async def find(self, kid: str) -> Key | None:
        """The key with this id: there are no others."""
        return self.get(kid)

    def published(self, now: int) -> list[dict[str, Any]]:
        """The JWKs of all keys that tokens may be verified with."""
        return [
            jwk(key.public)
            for key in self.keys
            if isinstance(key.public, Ed25519PublicKey) and key.honoured(now)
        ]


def jwk(public: Ed25519PublicKey) -> dict[str, str]:
    """A public key as a JWK (RFC 8037); its id is its thumbprint (RFC 7638)."""
    x = _base64url(public.public_bytes(Encoding.Raw, PublicFormat.Raw))
    thumbed = orjson.dumps({"crv": "Ed25519", "kty": "OKP", "x": x})
    kid = _base64url(hashlib.sha256(thumbed).digest())
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": EDDSA, "use": "sig"}


def made(seal: Seal, now: int, signs_from: int) -> SigningKeyRow:
    """A new key, its private half sealed; times in Unix ms."""
    private = Ed25519PrivateKey.generate()
    public = jwk(private.public_key())
    sealed = seal.seal(private.private_bytes_raw(), public["kid"])
    return SigningKeyRow(public["kid"], EDDSA, public, sealed, now, signs_from)


def made_of_secret(now: int, signs_until: int, life_ms: int) -> SigningKeyRow:
    """The secret key as a key, until the first real one signs."""
    until = (signs_until, signs_until + life_ms + SKEW_MS)
    return SigningKeyRow(SECRET_KID, HS256, {}, b"", now, 0, *until)


def opened(row: SigningKeyRow, seal: Seal, secret: str) -> Key:
    """A key ready for use, as far as it is ours."""
    if row.algorithm == HS256:
        return Key(row, secret, secret)
    try:
        private = Ed25519PrivateKey.from_private_bytes(seal.open(row.private, row.kid))
    except (Unsealable, ValueError):
        return Key(row, None, None)
    return Key(row, private, private.public_key())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
