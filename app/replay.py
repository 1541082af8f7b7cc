"""`fitai replay WORKOUT`: the log of one workout as a timeline that a person can read."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from fitai.app.failures import Refused
from fitai.app.words import Narrator
from fitai.engine.ops import Record
from fitai.engine.units import from_ug
from fitai.engine.workout import state
from fitai.persistence.database import Database
from fitai.persistence.devices import API, SERVER, Devices
from fitai.persistence.log import Log
from fitai.persistence.projections import Projector
from fitai.persistence.users import UserRow, Users
from fitai.sync.fold import fold

PAGE = 500

_COLOURS = {"applied": "green", "merged": "cyan", "deferred": "yellow", "void": "red"}


@dataclass(frozen=True, slots=True)
class History:
    """A workout's owner, its records in order, and what the devices in it are called."""

    workout: str
    owner: UserRow
    records: Sequence[Record]
    devices: Mapping[int, str]


async def find_history(db: Database, workout: str, email: str | None) -> History:
    """The log of a workout; raises Refused when there is none, or when it is not clear whose is meant."""
    try:
        name = str(uuid.UUID(workout))
    except ValueError:
        raise Refused(f"{workout!r} is no workout's id: that is a UUID.") from None
    streams = await _streams(db, name, email)
    if not streams:
        whose = f" of {email}" if email is not None else ""
        raise Refused(f"There is no workout {name}{whose}.")
    if len(streams) > 1:
        raise Refused(f"{len(streams)} users have a workout {name}; say whose with --user EMAIL.")
    return await _history(db, streams[0], name)


async def _streams(db: Database, workout: str, email: str | None) -> list[int]:
    """The streams that have records of the workout: an id is scoped to its user."""
    if email is not None:
        return await _stream_of(db, workout, email)
    found: list[int] = []
    projector, after = Projector(db), 0
    while page := await projector.streams(after, PAGE):
        async with db.read() as session:
            log = Log(session)
            found += [stream for stream in page if await log.revs(stream, [workout])]
        after = page[-1]
    return found


async def _stream_of(db: Database, workout: str, email: str) -> list[int]:
    async with db.read() as session:
        user = await Users(session).by_email(email)
        if user is None:
            raise Refused(f"There is no account with the address {email}.")
        row = await Log(session).stream_of(user.id)
        return [row.id] if row is not None and await Log(session).revs(row.id, [workout]) else []


async def _history(db: Database, stream: int, workout: str) -> History:
    async with db.read() as session:
        row = await Log(session).stream(stream)
        owner = await Users(session).get(row.owner) if row is not None else None
        if owner is None:
            raise Refused("The workout's owner is gone.")
        records = await Log(session).workout_records(stream, workout)
        devices = {number: await _device(session, owner.id, number) for number in {r.device for r in records}}
    return History(workout, owner, records, devices)


async def _device(session: Any, user: str, number: int) -> str:
    if number == SERVER:
        return "server"
    row = await Devices(session).get(user, number)
    if row is None:
        return f"device {number}"
    if row.kind == API and row.parent is not None:
        return f"{await _device(session, user, row.parent)} (REST)"
    return row.name


def print_timeline(history: History, console: Console) -> None:
    """Print the timeline: a heading, a line per record, what it came to."""
    document = state(fold(history.workout, history.owner.id, history.records).workout)
    zone = _zone(document["tz"])
    narrator = Narrator()
    rows = [(record, narrator.tell(record.wire())) for record in history.records]
    widths = _Widths.of(history, rows)
    _line(console, Text.assemble((document["title"] or "Workout", "bold"), f"  {history.workout}"))
    _line(console, Text(f"of {history.owner.email}, times in {zone}", style="dim"))
    day = None
    for record, words in rows:
        moment = datetime.fromtimestamp(record.te / 1000, zone)
        if moment.date() != day:
            day = moment.date()
            _line(console, Text(f"\n{day:%A, %d %B %Y}", style="bold"))
        _line(console, _row(record, words, moment, history.devices[record.device], widths))
    _line(console, Text(f"\n{_outcome(document, len(rows))}"))


@dataclass(frozen=True, slots=True)
class _Widths:
    seq: int
    rev: int
    device: int
    words: int

    @classmethod
    def of(cls, history: History, rows: Sequence[tuple[Record, str]]) -> _Widths:
        return cls(
            max(len(str(record.seq)) for record, _ in rows),
            max(len(str(record.rev)) for record, _ in rows),
            max(len(name) for name in history.devices.values()),
            min(72, max(len(words) for _, words in rows)),
        )


def _row(record: Record, words: str, moment: datetime, device: str, widths: _Widths) -> Text:
    clock = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}"
    verdict = record.verdict.value
    return Text.assemble(
        (f"  {clock}  ", "dim"),
        (f"seq {record.seq:>{widths.seq}}  rev {record.rev:>{widths.rev}}  ", "dim"),
        f"{device:<{widths.device}}  ",
        (f"{words:<{widths.words}}  ", "bold" if record.verdict != "void" else "strike"),
        (verdict + _why(record), _COLOURS.get(verdict, "")),
    )


def _why(record: Record) -> str:
    if record.code is None:
        return ""
    detail = ", ".join(f"{key} {value}" for key, value in (record.detail or {}).items())
    return f" ({record.code}{': ' + detail if detail else ''})"


def _outcome(document: Mapping[str, Any], records: int) -> str:
    totals = document["totals"]
    moved = f"{from_ug(totals['volume_ug'], 'kg')} kg moved"
    done = ", ".join([_many(totals["sets"], "set"), _many(totals["reps"], "rep"), moved])
    warm = f", {_many(totals['warmup_sets'], 'warm-up set')}" if totals["warmup_sets"] else ""
    gone = ", removed" if document["removed"] else ""
    return f"{document['status']}{gone} after {_many(records, 'record')}: {done}{warm}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _zone(name: str | None) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, OSError, KeyError):
        return UTC


def _line(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True, highlight=False)
