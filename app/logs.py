"""Logs: structlog and the standard library's loggers, written as one stream of lines to stderr.

A line is for people on a terminal and JSON elsewhere, unless `FITAI_LOG_FORMAT` says otherwise. What is
printed on stdout (the URL, a timeline, a table) is the command's answer and no log.

Each line tells besides what it says on whose behalf it was said (`fitai.gateways.occasion`) and in which
trace. Nothing is written that has not been through `fitai.app.redaction`: no secret, nothing of how somebody
is, and no character that could begin a line of its own.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

from fitai.app.redaction import Redactor
from fitai.app.settings import Settings
from fitai.gateways import occasion
from fitai.persistence import tracing

# Libraries that tell about every packet or every migration step: heard from when something is wrong.
_TALKATIVE = (
    "aiohttp",
    "aiosqlite",
    "alembic",
    "asyncio",
    "fitai.live",
    "fitai.persistence.engines",  # SQLAlchemy's pool, by the name of our class
    "opentelemetry",
    "sentry_sdk",
    "sqlalchemy",
    "taskiq",
    "urllib3",
)


def _with_occasion(_: Any, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Who and what it was about; what the line says itself comes first."""
    trace = tracing.trace_id()
    return {**occasion.told(), **({} if trace is None else {"trace": trace}), **fields}


_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    _with_occasion,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (stderr), at the level and in the format of the settings."""
    out = sys.stderr if stream is None else stream
    console = settings.log_format == "console" or (settings.log_format == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(Redactor.of(settings), console, colours=out.isatty()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _formatter(redactor: Redactor, console: bool, *, colours: bool) -> structlog.stdlib.ProcessorFormatter:
    def redact(_: Any, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
        raised = fields.pop("exc_info", None)
        fields = redactor.fields(fields)
        return fields if raised is None else {**fields, "exc_info": raised}

    last: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=colours)
        if console
        else structlog.processors.JSONRenderer(default=str)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact,
            structlog.processors.ExceptionRenderer(redactor.traceback),
            last,
        ],
    )
