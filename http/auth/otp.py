"""Codes of a second factor: those of an app (TOTP, RFC 6238) and recovery codes. Pure; times in Unix ms."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

import pyotp

STEP_MS = 30_000
WINDOW = 1  # steps before and after the present one: clocks differ, and typing takes time
RECOVERY_CODES = 10
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that looks like something else
_GROUPS, _LETTERS = 4, 6  # 118 random bits, so that a plain hash hides them (OWASP ASVS 5.0, 6.5.2)

_DIGITS = re.compile(r"[0-9]{6}", re.ASCII)
_SEPARATORS = re.compile(r"[\s-]+")


def new_secret() -> str:
    """A secret for an app, 160 bits in base32."""
    return pyotp.random_base32()


def uri(secret: str, account: str) -> str:
    """What an app reads as a QR code (`otpauth://…`)."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name="FitAI")


def matching_step(secret: str, code: str, now: int) -> int | None:
    """The step whose code this is, of those around now; None for a wrong one."""
    totp, present = pyotp.TOTP(secret), now // STEP_MS
    found = None
    for step in range(present - WINDOW, present + WINDOW + 1):  # all of them, so that time tells nothing
        if hmac.compare_digest(totp.generate_otp(step), code):
            found = step
    return found


def is_totp(code: str) -> bool:
    """Whether a code (compacted) can be an app's."""
    return _DIGITS.fullmatch(code) is not None


def compacted(code: str) -> str:
    """A code as compared: people type spaces and hyphens, and capitals."""
    return _SEPARATORS.sub("", code).lower()


def new_recovery_codes() -> list[str]:
    """Codes such as `7kq2mx-9dfpa3-hwzr4u-nc6te8`, each good for one use."""
    return ["-".join(_random(_LETTERS) for _ in range(_GROUPS)) for _ in range(RECOVERY_CODES)]


def recovery_hash(user: str, code: str) -> bytes:
    """What is stored of a recovery code (compacted). Bound to its user, so that one table of hashes does not
    serve for all."""
    return hashlib.sha256(f"{user} {code}".encode("utf-8", "surrogatepass")).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
