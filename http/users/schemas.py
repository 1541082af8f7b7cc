"""What the routes of the person accept and answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from fitai.http.auth.confirmation import Confirmed
from fitai.http.auth.schemas import Email, KnownPassword, Line, Locale, MailedToken, NewPassword, Otp
from fitai.http.frame import Query, Schema
from fitai.http.paging import Paged, PageQuery
from fitai.http.workouts.schemas import PLACES
from fitai.persistence.models import Sex

EVENTS = {
    "registered": "The account was made.",
    "sign_in": "A device signed in; `new` if it had not before.",
    "signed_out_everywhere": "Every device was signed out.",
    "device_revoked": "The device `revoked` was taken off the account.",
    "refresh_reuse": "A refresh token came twice: a copy may be in other hands. Its device is signed out.",
    "password_changed": "Another password; other devices were signed out.",
    "password_reset": "Another password by a link that was mailed; every device was signed out.",
    "email_verified": "The address was verified.",
    "email_change_asked": "A link was sent to the address that is to take the place of the old one, `email`.",
    "email_changed": "The address is `email` now; it was `before`.",
    "totp_enabled": "A second factor is needed from now on.",
    "totp_disabled": "No second factor is needed any more.",
    "recovery_codes_made": "New recovery codes; earlier ones are worth nothing.",
    "recovery_code_used": "A recovery code stood in for the second factor; so many are `left`.",
    "second_factor_failed": "Somebody who knew the password showed a wrong code.",
    "token_created": "A personal token was made.",
    "token_revoked": "A personal token was revoked.",
    "deletion_asked": "The account is to be erased at `erased_at`.",
    "deletion_cancelled": "The account stays.",
}


class Kilograms(Schema):
    """A body weight in kg, at most 3 decimal places."""

    value: Annotated[Annotated[int, Field(ge=20, le=500)] | Annotated[float, Field(ge=20, le=500)], PLACES]
    unit: Literal["kg"]


class Pounds(Schema):
    """A body weight in lb, at most 3 decimal places: the same 20 to 500 kg."""

    value: Annotated[
        Annotated[int, Field(ge=45, le=1_102)] | Annotated[float, Field(ge=44.093, le=1_102.311)], PLACES
    ]
    unit: Literal["lb"]


FOR_BOARDS = (
    "Only for boards by body weight or DOTS in groups; nobody else sees it. But who shows everything on such "
    "a board shows loads and what is made of them, and others can work it out."
)


class Profile(Schema):
    """The person; times in Unix ms.

    `new_email` takes the place of `email` once it is verified. `role` is `admin` or null. `delete_after` is
    when the account will be erased, unless it is restored. `body_weight` is told in kg, whatever was typed.
    """

    id: str
    email: str
    email_verified: bool
    new_email: str | None
    display_name: str | None
    locale: str | None
    role: str | None
    second_factor: bool
    created_at: int
    password_changed_at: int | None
    delete_after: int | None
    body_weight: Kilograms | None = Field(description=FOR_BOARDS)
    sex: Sex | None = Field(description=FOR_BOARDS)


class ProfileEdit(Schema):
    """What to change; what is not named stays, null takes it away."""

    display_name: Line | None = None
    locale: Locale | None = Field(None, description="The language of letters.")
    body_weight: Annotated[Kilograms | Pounds, Field(discriminator="unit")] | None = Field(
        None, description=FOR_BOARDS, examples=[{"value": 72.5, "unit": "kg"}]
    )
    sex: Sex | None = Field(None, description=FOR_BOARDS)


class PasswordChange(Schema):
    """Another password, and the one until now."""

    current_password: KnownPassword
    new_password: NewPassword
    otp: Otp | None = None


class EmailChange(Confirmed):
    """Another address, which gets a link that verifies it."""

    email: Email


class KeepQuery(Query):
    """The token of the link that was mailed."""

    token: MailedToken
    confirm: bool = Field(False, description="Set by the button of the page that a browser gets.")


class Kept(Schema):
    """The account stays."""

    kept: Literal[True]


class Deletion(Schema):
    """When the account will be erased, Unix ms."""

    delete_after: int


class SecondFactor(Schema):
    """Whether a second factor is needed, since when (Unix ms), and how many recovery codes are left."""

    enabled: bool
    since: int | None
    recovery_codes_left: int


class NewFactor(Schema):
    """For the person's app: `uri` as a QR code, `secret` to type. It counts once a code confirms it."""

    secret: str
    uri: str


class FactorCode(Schema):
    """A code that the app shows."""

    code: str = Field(min_length=6, max_length=16, examples=["287082"])


class RecoveryCodes(Schema):
    """Codes that stand in for the app, once each. They are shown this once."""

    recovery_codes: list[str]


class LogQuery(PageQuery):
    """Which page of the log."""


class LogEntry(Schema):
    """Something that happened to the account, at `at` (Unix ms), by `device` if one is known; from where, as
    the request told. `data` depends on the kind."""

    kind: str = Field(json_schema_extra={"examples": list(EVENTS)})
    at: int
    device: int | None
    address: str | None
    agent: str | None
    data: dict[str, Any]


class LogPage(Paged):
    """A page of the log, the newest first; without `next_cursor` it is the last."""

    events: list[LogEntry]


class Enabled(RecoveryCodes):
    """The second factor is needed from now on."""

    enabled: Literal[True]
