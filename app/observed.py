"""What a process tells of itself while it runs: logs, and by setting error reports and traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from fitai.app import logs
from fitai.app.redaction import Redactor
from fitai.app.settings import Settings


@contextmanager
def observed(settings: Settings, release: str, now_ms: Callable[[], int]) -> Iterator[None]:
    """Tell, for as long as the block lasts, what the settings ask for. What they do not ask for is not even
    imported."""
    logs.configure(settings)
    with ExitStack() as stack:
        if settings.sentry_dsn is not None:
            from fitai.app.reports import reporting

            stack.enter_context(
                reporting(
                    settings.sentry_dsn.get_secret_value(),
                    release=release,
                    environment=settings.environment,
                    redactor=Redactor.of(settings),
                    now_ms=now_ms,
                )
            )
        if settings.otlp_url is not None:
            from fitai.app.traces import exporting

            stack.enter_context(
                exporting(
                    settings.otlp_url,
                    share=settings.trace_share,
                    release=release,
                    environment=settings.environment,
                )
            )
        yield
