"""A span for each HTTP request whose sender samples it. The commands and queries that it leads to are its children.

The instrumentation that OpenTelemetry has for ASGI makes spans of requests without a traceparent too, and some 100 µs
of work of each; here a request without one costs one look at its headers.
"""

from opentelemetry import context, trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from keyscope.asgi import App, Message, Receive, Scope, Send

_NAMES = (b"traceparent", b"tracestate")
_propagator = TraceContextTextMapPropagator()


def traced(app: App, *, on: bool) -> App:
    """`app`, with a span around each sampled request if `on`."""
    if not on:
        return app
    tracer = trace.get_tracer("keyscope")

    async def traced(scope: Scope, receive: Receive, send: Send) -> None:
        parent = _sampled(scope)
        if parent is None:
            await app(scope, receive, send)
            return
        # Neither the query string nor a header: tokens stand in them. Nor the path, in which ids stand.
        span = tracer.start_span(
            f"{scope['method']} {_route(scope['path'])}",
            parent,
            SpanKind.SERVER,
            {"http.request.method": scope["method"], "url.scheme": scope.get("scheme", "http")},
        )

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_status(Status(StatusCode.ERROR))
                    span.set_attribute("error.type", str(status))
            await send(message)

        token = context.attach(trace.set_span_in_context(span, parent))
        try:
            await app(scope, receive, sending)
        finally:
            context.detach(token)
            span.end()

    return traced


def _sampled(scope: Scope) -> context.Context | None:
    if scope["type"] != "http":
        return None
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _NAMES}
    if not headers:
        return None
    parent = _propagator.extract(headers, context.Context())
    told = trace.get_current_span(parent).get_span_context()
    return parent if told.is_valid and told.trace_flags.sampled else None


def _route(path: str) -> str:
    """The first two parts of the path, in which no id stands: few names for many requests."""
    return "/".join(path.split("/")[:3])
