"""Identifiers made here."""

from __future__ import annotations

import secrets
import uuid


def new_id(now_ms: int) -> str:
    """A UUID of version 7 (RFC 9562, 5.7): Unix ms, then 74 random bits; later ones sort later."""
    value = now_ms << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))
