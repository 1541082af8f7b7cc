"""`fitai user`: accounts, as the operator has them."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer
from rich.console import Console

from fitai.app.failures import Refused, told
from fitai.app.settings import Settings, load_settings

users = typer.Typer(no_args_is_help=True, help="Accounts.")

# What a command needs beyond the settings it imports itself, as those in `command` do.


@users.command("create")
def create_user(
    email: Annotated[str, typer.Argument(help="The address to sign in with.")],
    name: Annotated[str | None, typer.Option(help="What to call the person.")] = None,
    password: Annotated[
        str | None, typer.Option(help="Without it you are asked (or it is read from stdin).")
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Make them an admin.")] = False,
) -> None:
    """Make an account."""

    async def work(settings: Settings, password: str) -> str:
        from fitai.app.accounts import create_user
        from fitai.app.runtime import now_ms
        from fitai.app.stores import open_database

        async with open_database(settings, migrate=settings.migrate) as db:
            return (await create_user(db, email, password, name, now_ms, admin=admin)).id

    with told():
        settings = load_settings()
        made = asyncio.run(work(settings, _asked_password() if password is None else password))
        print(f"Made {email} (user {made}{', admin' if admin else ''}).", flush=True)


@users.command("list")
def list_users() -> None:
    """Show the accounts, by address."""

    async def work(settings: Settings) -> None:
        from fitai.app.accounts import print_users
        from fitai.app.stores import open_database

        async with open_database(settings, migrate=False) as db:
            await print_users(db, Console(highlight=False, soft_wrap=True))

    with told():
        asyncio.run(work(load_settings()))


@users.command("admin")
def make_admin(
    email: Annotated[str, typer.Argument(help="The address of the account.")],
    off: Annotated[bool, typer.Option("--off", help="Not any more.")] = False,
) -> None:
    """Make somebody an admin, or not any more."""

    async def work(settings: Settings) -> None:
        from fitai.app.accounts import set_admin
        from fitai.app.stores import open_database

        async with open_database(settings, migrate=False) as db:
            await set_admin(db, email, admin=not off)

    with told():
        asyncio.run(work(load_settings()))
        print(f"{email} is {'no admin any more' if off else 'an admin'}.", flush=True)


def _asked_password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise Refused("Give a password with --password, or on stdin.")
    return line
