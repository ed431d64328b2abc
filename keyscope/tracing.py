"""The trace that the caller's own work belongs to, if its process traces with OpenTelemetry."""

import sys

_MODULE = "opentelemetry.trace"


def current_traceparent() -> str | None:
    """The current span as a `traceparent`; None where there is none.

    Whoever has a span has imported the library, so a process without it pays one look into a dictionary.
    """
    trace = sys.modules.get(_MODULE)
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags & 1:02x}"
