"""Traces of an op's way: from the request or the socket's event to every device, over nodes, and to jobs.

    POST /sync/push      the request                                            http/boundary
     └ push              the device's ops, until they are answered              gateways/live/jobs
        └ batch          what the host did in one turn, for all jobs of it      gateways/live/host
           ├ place       rules, judgement and fold
           ├ append      the wait for the commit                                persistence/append
           │  └ commit   the transaction, shared by the streams of many users
           └ publish     the hint to other nodes                                gateways/live/neighbours
              └ deliver  on another node, until its devices have been told
     └ job               what was put into the outbox meanwhile                 persistence/jobs

A span has one parent, and what is shared has many: a batch is the child of its first job and is *linked* to
the others, a commit is the child of its first append, and every append is linked to the commit that it went
down with. Spans carry ids and counts, never what somebody logged.

Off, which it is until `start` is called, each seam asks one variable, and OpenTelemetry is not even imported.
The spans are our own, few, and stand at the seams of our own code: no library is patched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

tracer: Tracer | None = None
"""What makes the spans; None while nothing is traced."""

Block = AbstractContextManager["Span | None"]


class _Off:
    """A block that is not traced, at the least cost that a block has."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


_OFF: Block = _Off()


class Traced(Protocol):
    """Something whose way is traced; `span` is None while it is not."""

    @property
    def span(self) -> Span | None: ...


def start(made_by: Tracer) -> None:
    """Trace from now on, in this process."""
    global tracer
    tracer = made_by


def stop() -> None:
    """Trace no more."""
    global tracer
    tracer = None


# -- blocks ----------------------------------------------------------------------------------------


def span(name: str, **about: Any) -> Block:
    """A span around a block, under the current one; without one that is kept there is none."""
    if tracer is None or _kept() is None:
        return _OFF
    return _block(name, about)


def server(name: str, parent: str | None, **about: Any) -> Block:
    """A span around a request, under the one that its `traceparent` header names, if it names one."""
    if tracer is None:
        return _OFF
    return _block(name, about, under=_context(parent), kind="SERVER")


def job(kind: str, parent: str | None) -> Block:
    """A span around the work of a job, under what put it into the outbox (its row's `trace`)."""
    if tracer is None:
        return _OFF
    return _block(f"job {kind}", {"kind": kind}, under=_context(parent), kind="CONSUMER")


def shared(name: str, by: Sequence[Traced], *, back: bool = False, **about: Any) -> Block:
    """A span around what is done for several at once: the child of the first that is traced, linked to the
    others, and, if asked to go `back`, they to it. Where none is traced, nothing in the block is."""
    if tracer is None:
        return _OFF
    return _shared(name, [each.span for each in by if each.span is not None], back, about)


@contextmanager
def _shared(name: str, by: Sequence[Span], back: bool, about: dict[str, Any]) -> Iterator[Span | None]:
    from opentelemetry import context
    from opentelemetry.trace import set_span_in_context

    kept = [each for each in by if each.is_recording()]
    if not kept:
        token = context.attach(context.Context())  # whatever is current is of another's doing
        try:
            yield None
        finally:
            context.detach(token)
        return
    with _block(name, about, under=set_span_in_context(kept[0]), links=kept[1:]) as made:
        if back and made is not None:
            for each in kept:
                each.add_link(made.get_span_context())
        yield made


@contextmanager
def _block(
    name: str,
    about: dict[str, Any],
    *,
    under: Context | None = None,
    kind: str = "INTERNAL",
    links: Iterable[Span] = (),
) -> Iterator[Span | None]:
    from opentelemetry.trace import Link, SpanKind, StatusCode

    assert tracer is not None
    # What an exception says may quote what somebody logged: its type has to do.
    with tracer.start_as_current_span(
        name,
        context=under,
        kind=SpanKind[kind],
        attributes=_attributes(about),
        links=[Link(each.get_span_context()) for each in links],
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        try:
            yield made
        except Exception as error:
            made.set_attribute("error.type", type(error).__name__)
            made.set_status(StatusCode.ERROR)
            raise


# -- from here to there ----------------------------------------------------------------------------


def began(name: str, *, root: bool, **about: Any) -> Span | None:
    """A span that ends with `ended`: the `root` of a new trace, or under the current one."""
    if tracer is None:
        return None
    from opentelemetry.context import Context

    return tracer.start_span(name, Context() if root else None, attributes=_attributes(about))


def heard(parent: object, **about: Any) -> Span | None:
    """A span that begins when a hint of another node came, under the one of which it tells."""
    if tracer is None or not isinstance(parent, str):
        return None
    from opentelemetry.trace import SpanKind

    under = _context(parent)
    return tracer.start_span("deliver", under, kind=SpanKind.CONSUMER, attributes=_attributes(about))


def ended(span: Span | None, error: str | None = None) -> None:
    """The span is over, well or with an error's code; once is enough."""
    if span is None or not span.is_recording():
        return
    if error is not None:
        from opentelemetry.trace import StatusCode

        span.set_attribute("error.type", error)
        span.set_status(StatusCode.ERROR)
    span.end()


def told(span: Span | None, **about: Any) -> None:
    """What has become known of a span."""
    if span is not None:
        span.set_attributes(_attributes(about))


# -- over the wire ---------------------------------------------------------------------------------


def traceparent() -> str | None:
    """The current span as a `traceparent` (W3C Trace Context), if there is one that is kept."""
    kept = _kept()
    if kept is None:
        return None
    context = kept.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def published(**about: Any) -> str | None:
    """Trace a hint that leaves now; the `traceparent` that it is to take along, if it is traced."""
    with span("publish", **about):
        return traceparent()


def trace_id() -> str | None:
    """The id of the current trace, for the log."""
    kept = _kept()
    return None if kept is None else f"{kept.get_span_context().trace_id:032x}"


def _kept() -> Span | None:
    """The current span, if it is one that will be exported."""
    if tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    current = get_current_span()
    return current if current.is_recording() else None


def _context(parent: str | None) -> Context:
    """Where somebody else's span leads on; what is no `traceparent` begins a trace of its own."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {} if parent is None else {"traceparent": parent}
    return TraceContextTextMapPropagator().extract(carrier, context=Context())


def _attributes(about: dict[str, Any]) -> dict[str, Any]:
    return {f"fitai.{name}": value for name, value in about.items() if value is not None}
