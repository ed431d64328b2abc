"""Structured logging: one line an event, for people or as JSON, on standard error.

Keyscope's own loggers are structlog's; those of libraries are the standard library's, and come out in the same form.
Keys that recur: `process` (commands, reads, nats-server …), `logger`, `level`, `timestamp`, `event`.
"""

import json
import logging
import os
import sys
from collections.abc import Collection
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

QUIET = ("asyncio", "eventsourcing", "faststream", "nats")
"""Libraries whose news are nobody's: only their warnings are logged."""


def configure(format: Literal["console", "json"], level: str, *, process: str, hidden: Collection[str] = ()) -> None:
    """Log from here on as `process`. Tracebacks are text and never show the values of variables.

    What is `hidden` is shown as `***`: a library may quote a password in an error that nobody has thought of.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    if format == "console":
        last = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
                exception_formatter=structlog.dev.plain_traceback,
                pad_event_to=0,
            )
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, _Masking(hidden)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(threshold)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(process=process)


class _Masking:
    """The last processor: it has the line as it will be written."""

    def __init__(self, hidden: Collection[str]) -> None:
        escaped = {json.dumps(text, ensure_ascii=False)[1:-1] for text in hidden}
        self._hidden = sorted({*hidden, *escaped}, key=len, reverse=True)

    def __call__(self, _: WrappedLogger, __: str, line: EventDict | str) -> str:
        text = str(line)
        for secret in self._hidden:
            text = text.replace(secret, "***")
        return text
