"""Logs: structlog and the standard library's loggers, written as one stream of lines to stderr.

A line is for people on a terminal and JSON elsewhere, unless `FITAI_LOG_FORMAT` says otherwise. What is
printed on stdout (the URL, a timeline, a table) is the command's answer and no log.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

from fitai.app.settings import Settings

# Libraries that tell about every packet or every migration step: heard from when something is wrong.
_TALKATIVE = (
    "aiohttp",
    "aiosqlite",
    "alembic",
    "asyncio",
    "fitai.live",
    "fitai.persistence.engines",  # SQLAlchemy's pool, by the name of our class
    "sqlalchemy",
    "taskiq",
)

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
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
    handler.setFormatter(_formatter(console, colours=out.isatty()))
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


def _formatter(console: bool, *, colours: bool) -> structlog.stdlib.ProcessorFormatter:
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=colours)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=_text)]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _text(value: Any) -> str:
    """What JSON does not know, as text: a log line is never the thing that fails."""
    return str(value)
