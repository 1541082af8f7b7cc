"""E-mail addresses, checked without asking anybody: no DNS, no mail server.

Whether an address exists only a mail can tell; what can be told here is whether it is one, and how it is
written in its normal form (the domain in lower case and in its own script, characters composed).
"""

from __future__ import annotations

from email_validator import EmailNotValidError, validate_email

LONGEST_EMAIL = 254  # RFC 5321's path, without its angle brackets


def normal_address(text: str) -> str:
    """The address in its normal form; raises ValueError for what is none."""
    try:
        return validate_email(text.strip(), check_deliverability=False).normalized
    except EmailNotValidError:
        raise ValueError("is not an e-mail address") from None


def asked_address(text: str) -> str:
    """The address that somebody signs in with, in its normal form where it has one. What is none belongs to
    nobody, and is answered like any that belongs to nobody."""
    try:
        return normal_address(text)
    except ValueError:
        return text
