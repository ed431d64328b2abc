"""The spans that Keyscope makes: their names, kinds and attributes.

A client's trace goes on through request and reply as parent and child. Behind that, one transaction, one publication
and one application serve many commands: such a span is a child of the first command in it, and links to all of them.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import structlog
from opentelemetry import context, trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from events.commands import COMMANDS
from events.subjects import ACTOR, COMMAND_ID, ERROR_CODE, TRACEPARENT
from services.bus.calls import Call

MOST_LINKS = 128
"""The SDK keeps no more links in one span, unless told otherwise."""

log = structlog.get_logger("trace")

_propagator = TraceContextTextMapPropagator()
_SAYS_SAMPLED = re.compile(r"^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f][13579bdf]")
"""Looked at first: most are not sampled, and what the propagator makes of one takes ten times as long."""
_BATCHES = {"commit": SpanKind.INTERNAL, "publish": SpanKind.PRODUCER, "apply": SpanKind.CONSUMER}
_MESSAGING = {
    "publish": {"messaging.system": "nats", "messaging.operation.type": "send"},
    "apply": {"messaging.system": "nats", "messaging.operation.type": "process"},
}


class Spans:
    """Makes spans with `tracer`. No method waits, and none raises for what a client has sent."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def command(
        self, name: str, headers: Mapping[str, str], answer: Callable[[Any], None], deliveries: int
    ) -> tuple[Mapping[str, str], Callable[[Any], None]]:
        """A command begins; it ends with its answer. Gives the headers and the answer to go on with.

        The headers then bear this span as the parent, and so do the events. What is not sampled stays as it is.
        """
        parent = _sampled(headers)
        if parent is None:
            return headers, answer
        known = name if name in COMMANDS else "unknown"
        span = self._tracer.start_span(
            f"command {known}",
            parent,
            SpanKind.CONSUMER if deliveries else SpanKind.SERVER,
            {
                "messaging.system": "nats",
                "messaging.operation.name": known,
                "messaging.operation.type": "process",
                "messaging.message.id": _text(headers.get(COMMAND_ID)),
                "keyscope.command": known,
                "keyscope.actor": _text(headers.get(ACTOR)),
                "keyscope.command.retries": max(deliveries - 1, 0),
            },
        )
        carried: dict[str, str] = {}
        _propagator.inject(carried, trace.set_span_in_context(span, parent))
        said = {"command": known, "command_id": _text(headers.get(COMMAND_ID)), "actor": _text(headers.get(ACTOR))}

        def answered(reply: Any) -> None:
            answer(reply)
            position = _position(reply.text)
            span.set_attributes({"keyscope.outcome": reply.outcome, "keyscope.position": position})
            _end(span, reply.error.code if reply.error else 0, reply.outcome)
            log.debug("a command was answered", **said, outcome=reply.outcome, position=position, **ids(span))

        return {**headers, TRACEPARENT: carried[TRACEPARENT]}, answered

    def batch(self, name: str, traceparents: Iterable[str | None], seconds: float, **attributes: Any) -> None:
        """A batch has just ended: `name` is commit, publish or apply. Nothing, if no trace goes through it."""
        found = (_sampled({TRACEPARENT: value}) for value in dict.fromkeys(traceparents) if value is not None)
        parents = list(islice((parent for parent in found if parent is not None), MOST_LINKS))
        if not parents:
            return
        end = time.time_ns()
        span = self._tracer.start_span(
            name,
            parents[0],
            _BATCHES[name],
            {**_MESSAGING.get(name, {}), **{f"keyscope.{key}": value for key, value in attributes.items()}},
            [Link(trace.get_current_span(parent).get_span_context()) for parent in parents],
            end - int(seconds * 1e9),
        )
        span.end(end)
        log.debug("a batch went through", batch=name, **attributes, **ids(span))

    def query(self, name: str, receive: Callable[[Call], None]) -> Callable[[Call], None]:
        """The endpoint `name`, which makes a span of each sampled request."""

        def traced(call: Call) -> None:
            headers = call.headers
            parent = _sampled(headers)
            if parent is None:
                receive(call)
                return
            attributes = {
                "messaging.system": "nats",
                "messaging.operation.name": name,
                "messaging.operation.type": "process",
                "messaging.destination.name": call.subject,
            }
            span = self._tracer.start_span(f"query {name}", parent, SpanKind.SERVER, attributes)
            token = context.attach(trace.set_span_in_context(span, parent))
            try:
                receive(_Traced(call, span, name))
            finally:
                context.detach(token)

        return traced

    def note(self, **attributes: Any) -> None:
        """Say more about what is worked on."""
        trace.get_current_span().set_attributes({f"keyscope.{key}": value for key, value in attributes.items()})

    @contextmanager
    def part(self, name: str, **attributes: Any) -> Iterator[None]:
        """A part of the request that the current task works on."""
        if not trace.get_current_span().is_recording():
            yield
            return
        named = {f"keyscope.{key}": value for key, value in attributes.items()}
        with self._tracer.start_as_current_span(name, attributes=named, record_exception=False):
            yield

    def headers(self) -> dict[str, str] | None:
        """The headers that make a request a child of the current span; none, if nothing is sampled."""
        if not trace.get_current_span().is_recording():
            return None
        carried: dict[str, str] = {}
        _propagator.inject(carried)
        return carried


class _Traced(Call):
    """A request whose reply ends its span."""

    __slots__ = ("_name", "_span")

    def __init__(self, call: Call, span: Span, name: str) -> None:
        subject = call.subject.encode("utf-8", "surrogateescape")
        super().__init__(call._calls, subject, call._reply, call._header, call.data)  # noqa: SLF001 - of its own kind
        self._span, self._name = span, name

    def respond(self, text: bytes, headers: Mapping[str, str] | None = None) -> None:
        try:
            super().respond(text, headers)
        finally:
            code = int((headers or {}).get(ERROR_CODE, 0))
            outcome = json.loads(text)["error"]["type"] if code else "done"
            self._span.set_attributes({"keyscope.outcome": outcome, "keyscope.reply.bytes": len(text)})
            _end(self._span, code, outcome)
            log.debug("a query was answered", query=self._name, outcome=outcome, **ids(self._span))


def ids(span: Span) -> dict[str, str]:
    """The keys of a log line that name the span."""
    told = span.get_span_context()
    return {"trace_id": trace.format_trace_id(told.trace_id), "span_id": trace.format_span_id(told.span_id)}


def _sampled(headers: Mapping[str, str]) -> context.Context | None:
    """The context of the sender, if it is valid and sampled."""
    if not _SAYS_SAMPLED.search(headers.get(TRACEPARENT, "")):
        return None
    parent = _propagator.extract(headers, context.Context())
    told = trace.get_current_span(parent).get_span_context()
    return parent if told.is_valid and told.trace_flags.sampled else None


def _end(span: Span, code: int, outcome: str) -> None:
    """End the span. What the sender asked wrongly is no failure of the service's: only 5xx is an error."""
    if code:
        span.set_attribute("error.type", outcome)
    if code >= 500:
        span.set_status(Status(StatusCode.ERROR, outcome))
    span.end()


def _position(text: bytes) -> int:
    try:
        return int(json.loads(text).get("position") or 0)
    except (ValueError, AttributeError):
        return 0


def _text(value: str | None) -> str:
    """A header as an attribute: what is no text in it would make the exporter fail."""
    return (value or "")[:255].encode("utf-8", "replace").decode()
