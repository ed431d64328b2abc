"""Tracing switched on: spans leave over OTLP/HTTP, from a thread of their own, or not at all.

The standard variables OTEL_* say where to and how (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME, …). The queue is
bounded (OTEL_BSP_MAX_QUEUE_SIZE): when the collector is away, what does not fit is dropped, and nobody waits.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import structlog

from services.bus import tracing
from services.runtime.failures import Exit, Failure
from services.runtime.settings import Settings

LEAVING_SECONDS = 2.0
"""How long a process that stops may take to send its last spans."""

log = structlog.get_logger(__name__)


@contextmanager
def traced(settings: Settings, process: str) -> Iterator[None]:
    """Trace while inside, if the settings say so. Raises Failure when the libraries are not installed."""
    if not settings.tracing:
        yield
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise Failure(Exit.CONFIG, "KEYSCOPE_TRACING needs more libraries: install keyscope[server,tracing]") from error
    from services.bus.spans import Spans

    for name in ("opentelemetry", "urllib3"):  # the exporter's complaints come with every batch while nobody listens
        logging.getLogger(name).setLevel(logging.CRITICAL)
    named = Resource.create({"service.version": version("keyscope"), "keyscope.process": process})
    if str(named.attributes["service.name"]).startswith("unknown_service"):
        named = named.merge(Resource({"service.name": "keyscope"}))
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracing.spans = Spans(provider.get_tracer("keyscope", version("keyscope")))
    log.info("tracing", process=process)
    try:
        yield
    finally:
        tracing.spans = None
        # On a thread: with a collector that is away, it takes as long as an export may.
        leaver = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        leaver.start()
        leaver.join(LEAVING_SECONDS)
