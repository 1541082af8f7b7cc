"""A letter of each sort, and somebody who writes them."""

from __future__ import annotations

from fitai.gateways.mail.letters import (
    AccountDeletion,
    EmailChanged,
    MessagesReported,
    NewSignIn,
    PasswordChanged,
    ResetPassword,
    TotpChanged,
    VerifyEmail,
)
from fitai.gateways.mail.writing import Writer, sender

NOW = 1_795_600_000_000
URL = "https://fit.example.com"

LETTERS = [
    VerifyEmail(link="/verify?token=x&y=1", minutes=1440, name="Ada"),
    ResetPassword(link="/reset?token=x", minutes=30, address="192.0.2.7"),
    PasswordChanged(at=NOW, link="/forgot", device="Ada's phone", address="192.0.2.7"),
    EmailChanged(at=NOW, new_email="new@example.com", link="/object"),
    EmailChanged(at=NOW, new_email="new@example.com"),
    NewSignIn(at=NOW, device="Pixel 9", link="/devices", address="2001:db8::1"),
    AccountDeletion(erased_at=NOW, link="/keep"),
    TotpChanged(at=NOW, enabled=True, link="/account"),
    TotpChanged(at=NOW, enabled=False, link="/account"),
    MessagesReported(count=1, link="/docs#/moderation"),
    MessagesReported(count=12, link="/docs#/moderation", name="Ada"),
]


def writer(who: str = "FitAI <no-reply@fit.example.com>") -> Writer:
    return Writer(sender=sender(who), public_url=URL)


def written(letter=LETTERS[0], to: str = "ada@example.com", locale: str | None = None, job: str = "job-1"):
    return writer().write(job, to, letter, locale, NOW)
