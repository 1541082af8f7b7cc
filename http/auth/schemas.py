"""What the auth routes accept and answer."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from fitai.http.auth.passwords import LONGEST, SHORTEST
from fitai.http.frame import Query, Schema

_EMAIL = re.compile(r"[^\s@\"(),:;<>\[\]\\]+@(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W_](?:[\w-]*[^\W_])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

LONGEST_EMAIL = 254  # RFC 5321's path, without its angle brackets


def _email(text: str) -> str:
    """A plausible address; whether it exists only a mail can tell."""
    text = text.strip()
    local, _, _ = text.rpartition("@")
    if _EMAIL.fullmatch(text) is None or len(local) > 64 or ".." in text or text.startswith("."):
        raise ValueError("is not an e-mail address")
    return text


def _line(text: str) -> str:
    text = text.strip()
    if not text or _CONTROL.search(text):
        raise ValueError("must be one line of visible text")
    return text


Email = Annotated[str, Field(max_length=LONGEST_EMAIL, examples=["ada@example.com"]), AfterValidator(_email)]
Line = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_line)]


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
    password: str = Field(min_length=SHORTEST, max_length=LONGEST)
    display_name: Line | None = None
    device: DeviceIn


class Login(Schema):
    """A known user on a device. Nothing here is checked that would tell a known address from another."""

    email: str = Field(max_length=LONGEST_EMAIL)
    password: str = Field(max_length=LONGEST)
    device: DeviceIn


class Refresh(Schema):
    """A refresh token, to be exchanged for new tokens. In browser mode it is in the cookie instead."""

    refresh_token: str | None = Field(None, min_length=1, max_length=512)


class Logout(Schema):
    """The sign-in to end: the one of this refresh token, or without it all of the calling device."""

    refresh_token: str | None = Field(None, min_length=1, max_length=512)


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
    """The user."""

    id: str
    email: str
    display_name: str | None


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
