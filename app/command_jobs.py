"""`fitai jobs` and `fitai mail`: looking after the outbox, and reading what lies in the folder of letters."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from fitai.app.failures import Refused, told
from fitai.app.settings import load_settings

if TYPE_CHECKING:  # slow to import, and `fitai --help` needs none of it
    from fitai.persistence.database import Database

T = TypeVar("T")

DAY_MS = 86_400_000

jobs = typer.Typer(no_args_is_help=True, help="What is to be done after a commit: letters, erasures, sweeps.")
mail = typer.Typer(no_args_is_help=True, help="Letters that landed in the data folder.")


class State(Enum):
    """What is going on with a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


# What the database calls them.
_STATES: Mapping[State | None, Literal["waiting", "running", "done", "dead"]] = {
    State.WAITING: "waiting",
    State.RUNNING: "running",
    State.DONE: "done",
    State.DEAD: "dead",
}

KIND = Annotated[str | None, typer.Option(help="Only jobs of this kind.")]


@jobs.command("list")
def list_jobs(
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: KIND = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
) -> None:
    """Show jobs, the newest first. What they carry is not shown: it may open an account."""
    from fitai.app.runtime import now_ms
    from fitai.persistence.jobs import JobList, state_of

    async def look(db: Database) -> None:
        now = now_ms()
        async with db.read() as session:
            found = await JobList(session).find(now=now, state=_STATES.get(state), kind=kind, limit=limit)
            backlog = await JobList(session).backlog(now)
        table = Table("job", "kind", "state", "put", "next", "tries", "why", box=None)
        for job in found:
            is_over = job.done_at is not None or job.dead_at is not None
            next_ = "" if is_over else _moment(job.due_at)
            why = _visible(job.error or "")
            row = (job.id, _visible(job.kind), state_of(job, now), _moment(job.created_at), next_)
            table.add_row(*row, str(job.attempts), why)
        _print(table)
        print(f"{backlog.waiting} due, {backlog.dead} dead.")

    _with_database(look)


@jobs.command()
def retry(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Jobs, by id; dead ones, or ones that wait.")
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that are dead.")] = False,
    kind: KIND = None,
) -> None:
    """Begin anew with jobs that were given up, or wait for their next attempt."""
    from fitai.app.runtime import now_ms
    from fitai.persistence.jobs import Jobs

    async def revive(db: Database) -> int:
        async with db.write() as session:
            chosen = None if dead else [_id(each) for each in ids or ()]
            return await Jobs(session).revive(now=now_ms(), ids=chosen, kind=kind)

    with told():
        if dead == bool(ids):
            raise Refused("Name jobs by their ids, or all that are dead with --dead.")
    _told_count(_with_database(revive), "to be done again")


@jobs.command()
def purge(
    dead: Annotated[
        bool, typer.Option("--dead", help="Those that were given up; else those that are done.")
    ] = False,
    days: Annotated[float, typer.Option(min=0, help="Only those that ended so many days ago.")] = 0,
) -> None:
    """Forget jobs that are over. (Done ones are forgotten after a week, dead ones after a month anyway.)"""
    from fitai.app.runtime import now_ms
    from fitai.persistence.jobs import Jobs

    async def forget(db: Database) -> int:
        before = now_ms() + 1 - int(days * DAY_MS)
        async with db.write() as session:
            if dead:
                return await Jobs(session).purge(dead_before=before)
            return await Jobs(session).purge(done_before=before)

    _told_count(_with_database(forget), "forgotten")


@mail.command("list")
def list_mail(limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50) -> None:
    """Show which letters there are, the newest first."""
    from fitai.gateways.mail.folder import letters

    with told():
        settings = load_settings()
        found = letters(settings.mail_folder)[:limit]
        table = Table("n", "at", "to", "subject", box=None)
        for number, kept in enumerate(found, 1):
            message = kept.read()
            to, subject = (_visible(str(message[name] or "")) for name in ("To", "Subject"))
            table.add_row(str(number), _moment(kept.at), to, subject)
        _print(table)
        if settings.smtp_url is not None:
            print("FITAI_SMTP_URL is set: new letters go to the mail server, and not here.")


@mail.command()
def show(
    number: Annotated[int, typer.Argument(min=1, help="Which one, as `fitai mail list` counts.")] = 1,
    html: Annotated[bool, typer.Option("--html", help="Its HTML instead of its text.")] = False,
) -> None:
    """Show one letter, the newest unless said otherwise."""
    from fitai.gateways.mail.folder import letters
    from fitai.gateways.mail.writing import body_of

    with told():
        found = letters(load_settings().mail_folder)
        if number > len(found):
            raise Refused(f"There are {len(found)} letters in {load_settings().mail_folder}.")
        message = found[number - 1].read()
        for name in ("From", "To", "Subject", "Date", "Message-ID"):
            print(f"{name}: {_visible(str(message[name] or ''))}")
        print()
        body = body_of(message, "html" if html else "plain")
        print("\n".join(_visible(line) for line in body.splitlines()))


def _with_database(work: Callable[[Database], Awaitable[T]]) -> T:
    from fitai.app.stores import open_database

    async def opened() -> T:
        async with open_database(load_settings(), migrate=False) as db:
            return await work(db)

    with told():
        return asyncio.run(opened())


def _id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Refused(f"{text!r} is not the id of a job.") from None


def _told_count(count: int, what: str) -> None:
    print(f"{count} job{'' if count == 1 else 's'} {what}.")


def _print(table: Table) -> None:
    # As wide as it has to be where nobody looks at it: a pipe has no columns.
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=400)
    console.print(table)


def _moment(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _visible(text: str) -> str:
    """Nothing in it moves a terminal's cursor."""
    return "".join(c if c.isprintable() else " " for c in text)
