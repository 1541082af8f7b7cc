"""Accounts made from the command line, by the same rules as those made over REST."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from fitai.app.failures import Refused
from fitai.http.auth.passwords import LONGEST, SHORTEST, Passwords
from fitai.http.auth.schemas import Email, Line
from fitai.http.problems import Problem
from fitai.persistence.database import Database
from fitai.persistence.users import ADMIN, EmailTaken, UserRow, Users, email_key

PAGE = 500  # accounts that are read at once
DEMO_EMAIL = "demo@fitai.example"
DEMO_PASSWORD = "one-more-rep"  # printed at every start: an account for looking around, in development only


class _Account(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: Email
    password: str = Field(min_length=SHORTEST, max_length=LONGEST)
    name: Line | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a person signs in with."""

    email: str
    password: str


async def create_user(
    db: Database,
    email: str,
    password: str,
    name: str | None,
    now_ms: Callable[[], int],
    *,
    admin: bool = False,
) -> UserRow:
    """A new account without devices; raises Refused with the reason."""
    account = _checked(email, password, name)
    passwords = Passwords(workers=1)
    try:
        hashed = await passwords.accept(account.password, (account.email, account.name))
    except Problem as problem:
        help = " ".join([problem.detail or "", *problem.extra.get("suggestions", ())])
        raise Refused(f"The password can be guessed too easily. {help}") from None
    finally:
        passwords.close()
    try:
        async with db.write() as session:
            return await Users(session).create(
                email=account.email,
                password_hash=hashed,
                display_name=account.name,
                now=now_ms(),
                role=ADMIN if admin else None,
            )
    except EmailTaken:
        raise Refused(f"There is an account with the address {account.email} already.") from None


async def set_admin(db: Database, email: str, *, admin: bool) -> None:
    """Make somebody an admin, or not any more; raises Refused for an unknown address."""
    async with db.write() as session:
        user = await Users(session).by_email(email)
        if user is None:
            raise Refused(f"There is no account with the address {email}.")
        await Users(session).set_role(user.id, ADMIN if admin else None)


async def print_users(db: Database, console: Console) -> None:
    """A line for each account: address, id, when it was made (UTC), and what is special about it."""
    after = ""
    while True:
        async with db.read() as session:
            page = await Users(session).page(after, PAGE)
        for user in page:
            made = datetime.fromtimestamp(user.created_at / 1000, UTC)
            console.print(f"{user.email}  {user.id}  {made:%Y-%m-%d}", *_marks(user), markup=False)
        if len(page) < PAGE:
            return
        after = email_key(page[-1].email)


def _marks(user: UserRow) -> list[str]:
    marks = {
        "admin": user.role == ADMIN,
        "unverified": user.email_verified_at is None,
        "second factor": user.totp_confirmed_at is not None,
        "to be erased": user.delete_after is not None,
    }
    return [f" {mark}" for mark, holds in marks.items() if holds]


async def demo_account(db: Database, now_ms: Callable[[], int]) -> Credentials:
    """The account that is there for looking around, made when it is missing.

    Costs one look at the database when it is there.
    """
    async with db.read() as session:
        known = await Users(session).by_email(DEMO_EMAIL)
    if known is None:
        try:
            await create_user(db, DEMO_EMAIL, DEMO_PASSWORD, "Demo", now_ms)
        except Refused:
            pass  # another process that starts on the same database was faster
    return Credentials(DEMO_EMAIL, DEMO_PASSWORD)


def _checked(email: str, password: str, name: str | None) -> _Account:
    try:
        return _Account(email=email, password=password, name=name)
    except ValidationError as error:
        raise Refused(_sentence(str(error.errors()[0]["loc"][0]), email)) from None


def _sentence(field: str, email: str) -> str:
    if field == "email":
        return f"{email!r} is not an e-mail address."
    if field == "password":
        return f"The password must have {SHORTEST} to {LONGEST} characters."
    return "The name must be one line of 1 to 100 visible characters."
