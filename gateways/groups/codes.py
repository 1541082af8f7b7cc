"""Codes that open a group: ten letters that somebody reads out or a link carries.

A code is made of the group and of a serial number, with a key that comes from the installation's secret
(FITAI_SECRET_KEY): so the crew can be shown theirs again, although nothing is kept but a hash, which is keyed
as well. Whoever has the database alone finds no code in it, and can try none. With another secret the codes
so far open no more: `group.invite` makes the next.

The letters are Crockford's base 32, without I, L, O and U. Ten are 50 bits, so that guessing, with the few
attempts that an account and an address have, leads nowhere. A code is read as people type: in either case,
with O for 0, I and L for 1, and hyphens or blanks anywhere.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH: Final = 10

_READ_AS: Final = str.maketrans("OIL", "011", "- ")
_LONGEST: Final = 64  # what is typed, before it is looked at


class Codes:
    """The codes of one installation."""

    def __init__(self, secret_key: str) -> None:
        self._codes = _key(secret_key, "codes")
        self._hashes = _key(secret_key, "hashes")

    def code(self, group: str, serial: int) -> str:
        """The code of a group (a UUID, lower case) with a serial from 1."""
        mac = hmac.digest(self._codes, f"{group}|{serial}".encode(), "sha256")
        bits = int.from_bytes(mac[:8]) >> (64 - 5 * LENGTH)
        return "".join(LETTERS[bits >> 5 * place & 31] for place in reversed(range(LENGTH)))

    def hash_of(self, code: str) -> bytes | None:
        """32 bytes by which a code is found, however it was typed; None for what can be none."""
        read = normal(code)
        return None if read is None else hmac.digest(self._hashes, read.encode(), "sha256")


def normal(code: str) -> str | None:
    """A code as `Codes.code` writes it; None for what can be none."""
    if len(code) > _LONGEST or not code.isascii():
        return None
    read = code.upper().translate(_READ_AS)
    return read if len(read) == LENGTH and all(letter in LETTERS for letter in read) else None


def _key(secret_key: str, purpose: str) -> bytes:
    info = f"fitai group {purpose} 1".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret_key.encode())
