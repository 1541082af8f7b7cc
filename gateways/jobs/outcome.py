"""What becomes of a job after an attempt. Pure: no I/O, no clock, chance is handed in."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from pydantic import BaseModel, ValidationError

from fitai.gateways.jobs.contract import Kind, Permanent, Temporary
from fitai.persistence.database import Unavailable
from fitai.persistence.jobs import Taken

FIRST_MS = 5_000  # pause after the first failure; it doubles with each further one
LONGEST_MS = 3_600_000
UNKNOWN_ATTEMPTS = 12  # of a kind that this release does not know: long enough for an upgrade


@dataclass(frozen=True, slots=True)
class Done:
    """Never again."""


@dataclass(frozen=True, slots=True)
class Later:
    """Once more, at `due` (Unix ms)."""

    due: int
    error: str


@dataclass(frozen=True, slots=True)
class Dead:
    """Never again, until somebody revives it."""

    error: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker ends: somebody else begins anew."""


Outcome = Done | Later | Dead | Interrupted


class BadPayload(Permanent):
    """The payload is none that the kind takes."""


def parse(kind: Kind[Any], payload: Any) -> BaseModel:
    """The payload as its model; raises BadPayload, which names fields and shows no values."""
    model: type[BaseModel] = kind.payload
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        raise BadPayload(f"bad payload: {said(error)}") from None


def said(error: ValidationError) -> str:
    """What is wrong with which field, without the values: they may be secrets."""
    wrong = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'all of it'}: {one['msg']}" for one in wrong[:3])


def judge(
    kind: Kind[Any] | None, taken: Taken, error: BaseException | None, now: int, chance: Random
) -> Outcome:
    """The outcome of the attempt that ended with `error` at `now`. `kind` is None when nobody knows it."""
    if error is None and kind is not None:
        return Done()
    words = f"unknown kind: {taken.kind}" if kind is None else _words(error)
    if isinstance(error, Permanent):
        return Dead(words)
    attempts = UNKNOWN_ATTEMPTS if kind is None else kind.attempts
    if taken.attempts >= attempts:
        return Dead(f"{words} (given up after {taken.attempts} attempts)")
    return Later(now + pause_ms(taken.attempts, chance), words)


def pause_ms(attempts: int, chance: Random) -> int:
    """How long to wait after so many attempts: doubling, bounded, and from half to one and a half of that, so
    that what failed together does not come back together."""
    whole = min(FIRST_MS * 2 ** min(attempts - 1, 30), LONGEST_MS)
    return int(whole * chance.uniform(0.5, 1.5))


def _words(error: BaseException | None) -> str:
    if isinstance(error, Permanent | Temporary):
        return " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, TimeoutError):
        return "took longer than it may"
    if isinstance(error, Unavailable):
        return "the database was away"
    return f"{type(error).__name__} (the log has more)"
