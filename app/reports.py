"""Error reports to Sentry, or whatever speaks its protocol, when `FITAI_SENTRY_DSN` names one.

What is reported is what is logged: lines of level `error`, lines with an exception, and lines that tell of a
part that is away. Each is asked whose fault it is (`fitai.http.blame`):

    client, gone   never reported: somebody else's, or nobody's
    away           once a minute for each line, with the number of those that were not
    bug            each, but of one line no more than `BUGS` a minute

A report tells the release, the environment, the trace, and the occasion (request id, template of the path,
user's and device's ids, counts): never a body, a header, a query, a variable of a frame or what an exception
quotes. All of it goes through `fitai.app.redaction` once more before it leaves.

The client is the kept one, sentry-sdk, without any of its integrations: nothing is patched.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from fitai.app.redaction import WITHHELD, Redactor
from fitai.gateways import occasion
from fitai.http.blame import blame
from fitai.persistence import tracing

if TYPE_CHECKING:
    from sentry_sdk.client import Client
    from sentry_sdk.types import Event, Hint

MINUTE_MS = 60_000
BUGS = 20  # reports of one line in a minute
FLUSH_S = 2.0  # the longest that the end waits for reports on their way

# What sends reports and traces itself, and the lines of which a report would tell itself.
_OURS = ("sentry_sdk", "opentelemetry", "urllib3")


# Fields of a line that a report has in places of their own.
_SAID = ("event", "level", "logger", "timestamp", "blame", "exc_info")


@dataclass(slots=True)
class _Minute:
    """How many were let through since when, and how many were not since the last that was."""

    since: int
    passed: int = 0
    dropped: int = 0


class Sampler:
    """Lets so many a minute through of each kind; `now_ms` is the clock."""

    KINDS = 500  # beyond which all are forgotten: lines are few, unless somebody makes them up

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._minutes: dict[object, _Minute] = {}

    def admit(self, kind: object, most: int) -> int | None:
        """How many of this kind were dropped before this one; None when this one is."""
        now = self._now_ms()
        if len(self._minutes) > self.KINDS:
            self._minutes.clear()
        minute = self._minutes.setdefault(kind, _Minute(now))
        if now - minute.since >= MINUTE_MS:
            minute.since, minute.passed = now, 0
        if minute.passed >= most:
            minute.dropped += 1
            return None
        minute.passed += 1
        dropped, minute.dropped = minute.dropped, 0
        return dropped


class Reports(logging.Handler):
    """Hears all that is logged, and reports what is to be reported."""

    def __init__(self, client: Client, now_ms: Callable[[], int]) -> None:
        super().__init__(logging.WARNING)
        self._client = client
        self._sampler = Sampler(now_ms)

    def emit(self, record: logging.LogRecord) -> None:
        """Report a line; what goes wrong with that is the library's to tell, and harms nobody."""
        try:
            self._emit(record)
        except Exception:
            self.handleError(record)

    def _emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_OURS):
            return
        fields = dict(record.msg) if isinstance(record.msg, dict) else {"event": record.getMessage()}
        error = _raised(record, fields.pop("exc_info", None))
        whose = blame(error) if error is not None else fields.get("blame", _of_level(record))
        if whose not in ("away", "bug"):
            return
        line = (record.name, fields.get("event"), type(error))
        dropped = self._sampler.admit(line, 1 if whose == "away" else BUGS)
        if dropped is not None:
            self._send(record, fields, error, whose, dropped)

    def _send(
        self,
        record: logging.LogRecord,
        fields: dict[str, Any],
        error: BaseException | None,
        whose: str,
        dropped: int,
    ) -> None:
        from sentry_sdk import Scope
        from sentry_sdk.utils import event_from_exception

        event: dict[str, Any] = {}
        hint: dict[str, Any] = {}
        if error is not None:
            made, hint = event_from_exception(error, client_options=self._client.options)
            event = {**made}
        # The library cuts a group of fields off after ten: not one is to be said twice.
        now = {**occasion.told(), **{name: value for name, value in fields.items() if name not in _SAID}}
        trace = tracing.trace_id()
        tags = {"blame": whose} | {name: now[name] for name in ("route", "live_event", "kind") if name in now}
        event |= {
            "level": "warning" if whose == "away" else "error",
            "logger": record.name,
            "message": str(fields.get("event")),
            "tags": tags,
            "extra": {"dropped_before": dropped, **({} if trace is None else {"trace": trace}), **now},
        }
        if "user" in now:
            event["user"] = {"id": now["user"]}
        self._client.capture_event(cast("Event", event), hint, scope=Scope())


def _raised(record: logging.LogRecord, given: Any) -> BaseException | None:
    raised = record.exc_info or given
    if raised is True:
        raised = sys.exc_info()  # the one that is being handled, on whose behalf the line was logged
    if isinstance(raised, tuple):
        return cast("BaseException | None", raised[1])
    return raised if isinstance(raised, BaseException) else None


def _of_level(record: logging.LogRecord) -> str | None:
    return "bug" if record.levelno >= logging.ERROR else None


@contextmanager
def reporting(
    dsn: str, *, release: str, environment: str, redactor: Redactor, now_ms: Callable[[], int]
) -> Iterator[None]:
    """Report from here on, for as long as the block lasts; the last reports get `FLUSH_S` to leave."""
    from sentry_sdk.client import Client

    client = Client(
        dsn=dsn,
        release=release,
        environment=environment,
        default_integrations=False,
        auto_enabling_integrations=False,
        max_request_body_size="never",
        include_local_variables=False,
        auto_session_tracking=False,
        send_client_reports=False,
        max_breadcrumbs=0,
        shutdown_timeout=FLUSH_S,
        before_send=lambda event, hint: _clean(event, hint, redactor),
    )
    handler = Reports(client, now_ms)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        client.close(timeout=FLUSH_S)


# All of an event that we or the library put there, and no more than that.
_KEPT = frozenset(
    {
        "contexts",
        "environment",
        "event_id",
        "exception",
        "extra",
        "level",
        "logger",
        "message",
        "platform",
        "release",
        "sdk",
        "server_name",
        "tags",
        "timestamp",
        "user",
    }
)


def _clean(event: Event, hint: Hint, redactor: Redactor) -> Event:
    """The report without what may not leave."""
    whole = {name: value for name, value in event.items() if name in _KEPT}
    raised = hint.get("exc_info")
    open_kinds = {_name(kind): redactor.shows(kind) for kind in _kinds(raised[1] if raised else None)}
    for each in event.get("exception", {}).get("values", []):
        shown = open_kinds.get((each.get("module") or "builtins", str(each.get("type"))), False)
        each["value"] = redactor.text(str(each.get("value", ""))) if shown else WITHHELD
    for name in ("extra", "tags"):
        whole[name] = redactor.fields(cast("dict[str, Any]", whole.get(name, {})))
    whole["message"] = redactor.text(str(whole.get("message", "")))
    return cast("Event", whole)


def _name(kind: type[BaseException]) -> tuple[str, str]:
    return kind.__module__, kind.__name__


def _kinds(error: BaseException | None) -> set[type[BaseException]]:
    """The kinds of an exception and of all that led to it."""
    kinds: set[type[BaseException]] = set()
    seen: set[int] = set()
    left = [error]
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        kinds.add(type(each))
        left += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions
    return kinds
