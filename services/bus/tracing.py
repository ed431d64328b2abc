"""Where the services tell what belongs to a trace. Off, and free, until services.runtime.tracing switches it on.

Only what a client has sampled is traced: a request whose `traceparent` says so, and the batches that carry it on. So
every place asks `tracing.spans is not None` first, which costs some 30 ns, and nothing else while tracing is off.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.bus.spans import Spans

spans: "Spans | None" = None
"""What makes the spans, when tracing is on in this process."""

_MEMBER = b'"traceparent":"'
_DATA = b'"data":'


def traceparent_of(envelope: bytes) -> str | None:
    """The traceparent in an event's text, stored or published. The envelope is ours: it stands before the data."""
    at = envelope.find(_MEMBER, 0, envelope.find(_DATA))
    if at < 0:
        return None
    at += len(_MEMBER)
    return envelope[at : envelope.index(b'"', at)].decode()


def ids_of(traceparent: str | None) -> dict[str, str]:
    """The keys of a log line that name the trace and the span of a `traceparent`; none of what is none."""
    parts = (traceparent or "").split("-")
    return {"trace_id": parts[1], "span_id": parts[2]} if [*map(len, parts)] == [2, 32, 16, 2] else {}


def part(name: str, **attributes: Any) -> AbstractContextManager[None]:
    """A part of the request that the current task works on, as a span of its own."""
    return nullcontext() if spans is None else spans.part(name, **attributes)


def headers() -> dict[str, str] | None:
    """The headers that let a request of this process' own belong to the trace of the one it works on."""
    return None if spans is None else spans.headers()
