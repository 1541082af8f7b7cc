"""What the auth routes accept and answer."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from fitai.http.auth.addresses import LONGEST_EMAIL, normal_address
from fitai.http.auth.passwords import LONGEST, SHORTEST
from fitai.http.frame import Query, Schema

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_UUID = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


def _line(text: str) -> str:
    text = text.strip()
    if not text or _CONTROL.search(text):
        raise ValueError("must be one line of visible text")
    return text


def _language(tag: str) -> str:
    if _TAG.fullmatch(tag) is None:
        raise ValueError("must be a language tag such as de or pt-BR")
    return tag


Email = Annotated[
    str, Field(max_length=LONGEST_EMAIL, examples=["ada@example.com"]), AfterValidator(normal_address)
]
Line = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_line)]
Locale = Annotated[
    str, Field(min_length=2, max_length=35, examples=["en", "pt-BR"]), AfterValidator(_language)
]
NewPassword = Annotated[
    str,
    Field(
        min_length=SHORTEST,
        max_length=LONGEST,
        description="Any characters, compared in NFKC; one that is guessed too easily is refused.",
        examples=["seven lazy barbells"],
    ),
]
KnownPassword = Annotated[str, Field(max_length=LONGEST)]
Otp = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        description="Where there is a second factor: a code of the app, or a recovery code. Each works once.",
        examples=["287082"],
    ),
]
MailedToken = Annotated[str, Field(min_length=1, max_length=128, examples=["7mB0cX2n…"])]


class DeviceIn(Schema):
    """The device that signs in. The same `install_id` is the same device: its counter goes on."""

    name: Line = Field(examples=["Ada's phone"])
    platform: Annotated[str, Field(min_length=1, max_length=32), AfterValidator(_line)] = Field(
        examples=["ios", "android", "watchos", "web"]
    )
    install_id: Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_line)] | None = Field(
        None, description="A random id that the app keeps for as long as it is installed."
    )


class Register(Schema):
    """A new user on a first device."""

    email: Email
    password: NewPassword
    display_name: Line | None = None
    locale: Locale | None = None
    device: DeviceIn


class Login(Schema):
    """A known user on a device. Nothing here is checked that would tell a known address from another."""

    email: str = Field(max_length=LONGEST_EMAIL)
    password: KnownPassword
    otp: Otp | None = None
    device: DeviceIn


class Refresh(Schema):
    """A refresh token, to be exchanged for new tokens. In browser mode it is in the cookie instead."""

    refresh_token: str | None = Field(None, min_length=1, max_length=512)


class Logout(Schema):
    """The sign-in to end: the one of this refresh token, or without it all of the calling device; with `all`
    those of every device."""

    refresh_token: str | None = Field(None, min_length=1, max_length=512)
    all: bool = Field(False, description="Sign out everywhere; needs an access token.")


class Forgotten(Schema):
    """Whose password was forgotten."""

    email: str = Field(max_length=LONGEST_EMAIL, examples=["ada@example.com"])


class LinkQuery(Query):
    """The token of the link that was mailed, if it was that."""

    token: MailedToken | None = None


class Reset(Schema):
    """A new password, and the token of the link that was mailed."""

    token: MailedToken
    password: NewPassword


class Unverified(Schema):
    """The address that the link is to be sent to once more."""

    email: str = Field(max_length=LONGEST_EMAIL, examples=["ada@example.com"])


class VerifyQuery(Query):
    """The token of the link that was mailed."""

    token: MailedToken
    confirm: bool = Field(False, description="Set by the button of the page that a browser gets.")


class Verified(Schema):
    """The address that is known now to be its account's."""

    email: str
    email_verified: Literal[True]


class DeviceName(Schema):
    """A device's new name."""

    name: Line


class Fork(Schema):
    """Where the calling device and its copy part: the first op that both have numbered differently."""

    fork_at: int = Field(ge=1, lt=2**53, description="Ops below it were written before the copy was made.")
    name: Line | None = None
    install_id: Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_line)] | None = Field(
        None,
        description="The new device's; made here when absent. The same fork with the same one is the same"
        " device, so that a request can be sent again.",
    )


class DevicePath(BaseModel):
    """A device's number."""

    id: int = Field(ge=1, lt=2**31)


class UserOut(Schema):
    """The user. While `email_verified` is false the app reminds of the mail; `delete_after` (Unix ms) is when
    the account will be erased, unless it is restored."""

    id: str
    email: str
    email_verified: bool
    display_name: str | None
    delete_after: int | None


class DeviceRef(Schema):
    """The device that the tokens belong to; `id` equals `ready.device`."""

    id: int
    name: str


class Session(Schema):
    """A signed-in device: who, on what, and the tokens. `expires_in`: the access token's life, seconds.
    `refresh_token` is null in browser mode, where it is a cookie."""

    user: UserOut
    device: DeviceRef
    access_token: str
    refresh_token: str | None
    token_type: Literal["Bearer"]
    expires_in: int


class Forked(Session):
    """A new device, signed in. It signs in again with `install_id`; its parent keeps its own."""

    install_id: str


class DeviceQuery(Query):
    """Which devices to list."""

    revoked: bool = Field(False, description="Also those that are out: what they wrote still names them.")


class DeviceOut(Schema):
    """One of the user's devices; times in Unix ms. `current` is the one that asks, `parent` the device that a
    fork has parted from, `revoked_at` null while it is enrolled."""

    id: int
    name: str
    platform: str
    created_at: int
    last_used_at: int
    current: bool
    parent: int | None
    revoked_at: int | None


class Devices(Schema):
    """The user's devices, the last used first."""

    devices: list[DeviceOut]


Scope = Annotated[str, Field(pattern=r"^[a-z]{1,32}:(read|write)$", examples=["workouts:read"])]


class PersonalTokenCreate(Schema):
    """A token for an integration: what it may do, and for how many days (null: until it is revoked). The
    person's password and, where there is one, second factor are needed, since it outlives sign-ins."""

    name: Line = Field(examples=["Spreadsheet"])
    scopes: list[Scope] = Field(min_length=1, max_length=32)
    days: int | None = Field(365, ge=1, le=3650)
    password: KnownPassword
    otp: Otp | None = None


class PersonalTokenPath(BaseModel):
    """A personal token's id."""

    id: Annotated[str, Field(pattern=_UUID), AfterValidator(str.lower)]


class PersonalTokenOut(Schema):
    """A personal token; `device` is the one that it speaks for. Times in Unix ms, `expires_at` null:
    never."""

    id: str
    name: str
    device: int
    scopes: list[str]
    created_at: int
    expires_at: int | None
    last_used_at: int | None


class NewPersonalToken(PersonalTokenOut):
    """A new personal token. `token` is shown this once."""

    token: str


class PersonalTokensOut(Schema):
    """The person's tokens, the newest first."""

    tokens: list[PersonalTokenOut]
