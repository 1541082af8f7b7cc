"""The letters that the server writes, and what each of them tells: one model a template.

    mail = letter(user.email, ResetPassword(link="/reset-password?token=…", minutes=30), user.locale)
    await Jobs(session).put("mail", mail, now=now)

A letter of the name `x` is `templates/<locale>/x.txt`, which has the subject too, and `x.html` beside it. A
new one takes a class here and these two files in English; other languages fall back to that, each letter for
itself.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Link = Annotated[str, StringConstraints(pattern=r"^/([A-Za-z0-9?#._~-][\x21-\x7e]*)?$", max_length=2_000)]
"""A path of this server, as `/reset-password?token=…`; the letter puts FITAI_PUBLIC_URL before it."""

Line = Annotated[str, StringConstraints(max_length=320)]
"""What a person or a device said of itself. Control characters are left out where it is written."""

Moment = Annotated[int, Field(ge=0, le=253_402_300_799_000)]
"""Unix ms; written in UTC."""

Address = Annotated[str, StringConstraints(min_length=3, max_length=320)]

Locale = Annotated[str, StringConstraints(max_length=35)]


class Letter(BaseModel):
    """What every letter may say: the person's name, when they have told one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: ClassVar[str]

    name: Line | None = None


class VerifyEmail(Letter):
    """To a new address, of a new account or a changed one: is it yours? The link works for `minutes`."""

    template = "verify_email"

    link: Link
    minutes: int = Field(gt=0)


class ResetPassword(Letter):
    """Somebody asked for a new password; `address` is theirs on the network, when it is known."""

    template = "reset_password"

    link: Link
    minutes: int = Field(gt=0)
    address: Line | None = None


class PasswordChanged(Letter):
    """The password is another one; `link` is where to get a new one when it was somebody else."""

    template = "password_changed"

    at: Moment
    link: Link
    device: Line | None = None
    address: Line | None = None


class EmailChanged(Letter):
    """To the old address: the account signs in with `new_email` from now on. `link` is where to object."""

    template = "email_changed"

    at: Moment
    new_email: Line
    link: Link | None = None


class NewSignIn(Letter):
    """A device signed in that had not before; `link` is the list of devices."""

    template = "new_sign_in"

    at: Moment
    device: Line
    link: Link
    address: Line | None = None


class AccountDeletion(Letter):
    """The account will be erased at `erased_at`; `link` is where to keep it."""

    template = "account_deletion"

    erased_at: Moment
    link: Link


class TotpChanged(Letter):
    """The second factor was switched on or off; `link` is where to look after the account."""

    template = "totp_changed"

    at: Moment
    enabled: bool
    link: Link


class MessagesReported(Letter):
    """To an admin: so many messages of groups are to be looked at, where `link` leads."""

    template = "messages_reported"

    count: int = Field(gt=0)
    link: Link


LETTERS: dict[str, type[Letter]] = {
    each.template: each
    for each in (
        VerifyEmail,
        ResetPassword,
        PasswordChanged,
        EmailChanged,
        NewSignIn,
        AccountDeletion,
        TotpChanged,
        MessagesReported,
    )
}


class Post(BaseModel):
    """The payload of a job of the kind `mail`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: Address
    template: str
    locale: Locale | None = None
    values: dict[str, Any]

    def letter(self) -> Letter:
        """What it says; raises KeyError for no such letter, ValidationError for wrong values."""
        return LETTERS[self.template].model_validate(self.values)


def letter(to: str, what: Letter, locale: str | None = None) -> dict[str, Any]:
    """The payload of a `mail` job: `what` to the address `to`, in the person's language (a BCP 47 tag)."""
    values = what.model_dump(exclude_none=True)
    return Post(to=to, template=what.template, locale=locale, values=values).model_dump(exclude_none=True)
