"""Secrets at rest: encrypted with a key that comes from the installation's secret key (FITAI_SECRET_KEY).

Whoever has the database without the secret key reads none of them, and can not put one of their own in the
place of another. Each purpose has a key of its own (HKDF-SHA256, RFC 5869), and what a secret belongs to (a
key's id, a user's) is bound to it as associated data, so that a sealed value is good in its place only.

    sealed = version (1 byte) | nonce (12) | AES-256-GCM(secret, associated data)
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SHORTEST_SECRET = 32
_VERSION = b"\x01"
_NONCE = 12


class Unsealable(Exception):
    """It was sealed with another secret key, for another place, or was damaged."""


class Seal:
    """Seals and opens secrets of one purpose (`signing-key`, `totp`…) for one installation, whose secret key
    has at least 32 bytes."""

    def __init__(self, secret_key: str, purpose: str) -> None:
        if len(secret_key.encode()) < SHORTEST_SECRET:
            raise ValueError(f"the secret key must have at least {SHORTEST_SECRET} bytes")
        info = b"fitai seal 1: " + purpose.encode()
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret_key.encode())
        self._cipher = AESGCM(derived)

    def seal(self, secret: bytes, belongs_to: str) -> bytes:
        """`secret` encrypted, to be opened with the same `belongs_to` only."""
        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret, belongs_to.encode())

    def open(self, sealed: bytes, belongs_to: str) -> bytes:
        """What was sealed; raises Unsealable."""
        version, nonce, body = sealed[:1], sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        if version != _VERSION or len(nonce) < _NONCE:
            raise Unsealable("not sealed by this release or an earlier one")
        try:
            return self._cipher.decrypt(nonce, body, belongs_to.encode())
        except InvalidTag:
            raise Unsealable("another secret key, another place, or damaged") from None
