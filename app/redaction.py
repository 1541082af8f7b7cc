"""What may not leave in a log line or an error report, and how it is taken out.

Three kinds: what opens a door (tokens, passwords, cookies, keys, addresses of services that hold one), what
says how somebody is (loads, heart rates, notes), and what would let a sender write lines of their own. It is
found in three ways, and each alone would do for most:

- **by name**: the field `password`, or `reps`, says nothing but `[redacted]`, at any depth;
- **by shape**, in any text: a JWT, a bearer, `password=…`, the user part of a URL, an e-mail address, a long
  run of random characters, the row in an error of PostgreSQL;
- **by value**: the secrets of this installation's own settings.

What an exception says is kept only where it can not quote what somebody sent: by the types of `_SPEAKS` and
`_OURS`. `ValueError: [withheld]` with its traceback still names the line. Level `debug` shows the messages,
without what is found by shape or value: it is no level for production.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from fitai.app.settings import Settings

GONE = "[redacted]"
WITHHELD = "[withheld]"

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

DEEPEST = 6  # levels of lists and objects that are looked into
LONGEST = 8_192  # characters of one text
FRAMES = 40  # of a traceback, the innermost
SHORTEST = 6  # a shorter secret of the settings would be found everywhere

_SECRET = (
    r"pass(?:word|wd|phrase|code)?s?|pwd|secrets?|tokens?|cookies?|authorization|auth|t?otp|second_factor"
    r"|recovery_codes?|credentials?|dsn|api_?keys?|private(?:_key)?|secret_key|jwt|csrf|signature"
)
_HEALTH = (
    r"load|weight(?:_ug)?|body_?weight(?:_ug)?|height|reps|rpe|rir|hr|heart_?rate|cadence"
    r"|distance(?:_m)?|rating|notes?|text|title|value|body|payload|document|state|insight|birth\w*"
    r"|sex|gender|email|display_name|address"
)
_BULK = frozenset({"ops", "records", "sets", "workouts", "results"})  # as a number it is a count

_SECRET_NAME = re.compile(rf"(?:.*[_.\-])?(?:{_SECRET})(?:[_.\-](?:hash|key|value))?", re.IGNORECASE)
_HEALTH_NAME = re.compile(rf"(?:{_HEALTH})", re.IGNORECASE)

_AFTER = r"\s*[:=]\s*"
_VALUE = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\{[^{}]*\}?|\[[^\[\]]*\]?|\([^()]*\)?|[^\s,;&)}\]]+)"""

# In this order: an address is looked for when what has another meaning to `@` is gone.
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?s)\b(DETAIL|CONTEXT|HINT):.*"), rf"\1: {GONE}"),
    (re.compile(r"(?s)\b(Failing row contains|Key) \(.*"), rf"\1 {GONE}"),
    (re.compile(r"(?<=://)[^/\s@]+(?=@)"), GONE),
    (re.compile(r"(?<![\w-])fitai_[a-z]{2,8}_[\w-]{16,}"), GONE),
    (re.compile(r"(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*"), GONE),
    (re.compile(r"(?i)\b(bearer|basic|digest)\s+[\w.~+/=-]{6,}"), rf"\1 {GONE}"),
    (
        re.compile(rf"(?i)(?<![A-Za-z])((?:\w*[_-])?(?:{_SECRET})[\"']?{_AFTER}){_VALUE}"),
        rf"\1{GONE}",
    ),
    (re.compile(rf"(?i)(?<!\w)((?:{_HEALTH})[\"']?{_AFTER}){_VALUE}"), rf"\1{GONE}"),
    (re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"), "[e-mail]"),
    (re.compile(r"(?<![\w-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{32,}(?![\w-])"), GONE),
    (re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{48,}(?![0-9A-Za-z])"), GONE),
)

# Ends of lines and what moves a terminal's cursor or its direction of writing; halves of surrogate pairs,
# which no encoding has.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# Of these the message is Python's or the system's own, or names types and attributes.
_SPEAKS: tuple[type[BaseException], ...] = (
    ArithmeticError,
    AttributeError,
    ImportError,
    MemoryError,
    NameError,
    NotImplementedError,
    OSError,
    RecursionError,
    TimeoutError,
)


# Of ours it is about the installation, not about anybody who uses it.
_OURS = frozenset(
    {
        "BadUrl",
        "CommitUnknown",
        "HeadMoved",
        "Locked",
        "NotReady",
        "Refused",
        "SettingsError",
        "Unavailable",
        "WrongSchema",
    }
)


class Redactor:
    """Takes out of texts, fields and exceptions what may not leave. `known` are secrets to be found by value;
    with `debug` exceptions keep their messages."""

    def __init__(self, known: Iterable[str] = (), *, debug: bool = False) -> None:
        long = sorted({secret for secret in known if len(secret) >= SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, long))) if long else None
        self._debug = debug

    @classmethod
    def of(cls, settings: Settings) -> Redactor:
        """The one of this installation."""
        return cls(secrets_of(settings), debug=settings.log_level == "debug")

    def text(self, text: str) -> str:
        """One line of text without secrets, and without what could end that line."""
        if len(text) > LONGEST:
            text = text[:LONGEST] + "…"
        if self._known is not None:
            text = self._known.sub(GONE, text)
        for shape, put in _SHAPES:
            text = shape.sub(put, text)
        return _CONTROL.sub(_escaped, text)

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a line or a report, at any depth."""
        return {self.text(str(name)): self._named(str(name), value, 0) for name, value in fields.items()}

    def _named(self, name: str, value: Any, depth: int) -> Any:
        if _SECRET_NAME.fullmatch(name) or _HEALTH_NAME.fullmatch(name):
            return value if value is None or isinstance(value, bool) else GONE
        if name in _BULK and not isinstance(value, int | None):
            return GONE
        return self._value(value, depth)

    def _value(self, value: Any, depth: int = 0) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {self.message(value)}"
        if depth >= DEEPEST:
            return GONE
        if isinstance(value, Mapping):
            return {self.text(str(k)): self._named(str(k), v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(each, depth + 1) for each in value]
        return self.text(_told_by(value))

    def shows(self, kind: type[BaseException]) -> bool:
        """Whether exceptions of this kind keep their messages."""
        return self._debug or speaks(kind)

    def message(self, error: BaseException) -> str:
        """What an exception says, or that it is withheld."""
        if not self.shows(type(error)):
            return WITHHELD
        return self.text(_told_by(error))

    def traceback(self, exc_info: ExcInfo) -> str:
        """An exception with all that led to it, as Python writes it; its lines are ours alone."""
        return "\n".join(self._chain(exc_info[1], set()))

    def _chain(self, error: BaseException, seen: set[int]) -> Iterator[str]:
        links: list[tuple[BaseException, str]] = []
        before: BaseException | None = error
        how = ""
        while before is not None and id(before) not in seen:
            seen.add(id(before))
            links.append((before, how))
            if before.__cause__ is not None:
                before, how = before.__cause__, "The above exception was the direct cause of this one:"
            elif not before.__suppress_context__:
                before, how = before.__context__, "During the handling of the above exception:"
            else:
                break
        for link, how in reversed(links):
            yield from self._one(link, seen)
            if how:
                yield from ("", how, "")

    def _one(self, error: BaseException, seen: set[int]) -> Iterator[str]:
        if error.__traceback__ is not None:
            yield "Traceback (most recent call last):"
            for frame in traceback.format_tb(error.__traceback__, limit=-FRAMES):
                yield frame.rstrip("\n")
        said = self.message(error)
        yield type(error).__qualname__ + (f": {said}" if said else "")
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from ("  | " + line for part in self._chain(each, seen) for line in part.splitlines())


def speaks(kind: type[BaseException]) -> bool:
    """Whether what exceptions of this kind say can quote nothing that somebody sent."""
    if kind.__module__.startswith("fitai."):
        return kind.__name__ in _OURS
    return issubclass(kind, _SPEAKS)


def secrets_of(settings: Settings) -> set[str]:
    """The secrets in the settings: each that is declared as one, and the passwords in URLs."""
    found: set[str] = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
            found.add(value)
        if isinstance(value, str) and "://" in value:
            found |= _passwords(value)
    return found


def _passwords(url: str) -> set[str]:
    userinfo = urlsplit(url).netloc.rpartition("@")[0]
    name, _, password = userinfo.partition(":")
    secret = password or name  # a DSN's key stands where a name would
    return {secret, unquote(secret)} if secret else set()


def _told_by(value: object) -> str:
    """The value as text: a log line is never the thing that fails."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
