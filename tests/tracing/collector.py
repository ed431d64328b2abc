"""A collector of traces: a real OTLP/HTTP receiver that keeps the spans it is sent."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Received(NamedTuple):
    """A span, as it arrived."""

    process: str
    name: str
    trace: str
    id: str
    parent: str
    links: list[str]
    attributes: dict[str, Any]
    kind: int


class Collector:
    """Listens on a free port of loopback."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = ExportTraceServiceRequest()
                request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
                collector.take(request)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep what has arrived."""
        for resource in request.resource_spans:
            process = _plain(resource.resource.attributes)["keyscope.process"]
            for scope in resource.scope_spans:
                self.spans += [
                    Received(
                        process, span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                        [link.span_id.hex() for link in span.links], _plain(span.attributes), span.kind,
                    )
                    for span in scope.spans
                ]  # fmt: skip

    def of(self, trace: str) -> list[Received]:
        """The spans of one trace."""
        return [span for span in list(self.spans) if span.trace == trace]

    def named(self, trace: str, name: str) -> Received:
        """The one span of the trace with this name."""
        [span] = [span for span in self.of(trace) if span.name == name]
        return span


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in attributes}
