"""Where traces go: OTLP over HTTP, in protobuf, to what `FITAI_OTLP_URL` names.

The exporter and its thread are OpenTelemetry's own; what is traced is told in `fitai.persistence.tracing`.
Which trace a request belongs to says the caller (`traceparent`), whether it is kept we do: by the trace's id,
so that all nodes keep the same ones, and by `FITAI_TRACE_SHARE`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from fitai.persistence import tracing

PATH = "/v1/traces"
LINKS = 256  # of one span: as many as there are appends in a commit
EXPORT_S = 5.0  # the longest that one export may take


@contextmanager
def exporting(url: str, *, share: float, release: str, environment: str) -> Iterator[None]:
    """Trace for as long as the block lasts; what was traced last leaves at its end, within `EXPORT_S`.

    url    where the collector listens, with or without `/v1/traces`
    share  the part of all traces that is kept, 0 to 1
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased

    kept = TraceIdRatioBased(share)
    about = {
        "service.name": "fitai",
        "service.version": release,
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        "deployment.environment.name": environment,
    }
    provider = TracerProvider(
        sampler=ParentBased(root=kept, remote_parent_sampled=kept, remote_parent_not_sampled=ALWAYS_OFF),
        resource=Resource.create(about),
        shutdown_on_exit=False,
        span_limits=SpanLimits(max_links=LINKS),
    )
    where = url.rstrip("/")
    exporter = OTLPSpanExporter(endpoint=where if where.endswith(PATH) else where + PATH, timeout=EXPORT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracing.start(provider.get_tracer("fitai", release))
    try:
        yield
    finally:
        tracing.stop()
        provider.shutdown()
