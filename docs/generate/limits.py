"""The page of all limits and timeouts: what each is, written from the constants that the services run on."""

import inspect
from typing import Any

from docs.generate.reference import table
from events import commands as command_bodies
from events.subjects import LONGEST_TOKEN, Subjects
from keyscope import bus, client
from projections import limits as queries
from services.bus.streams import dead_jobs_stream, jobs_stream
from services.commands import desk, jobs, reading, writer
from services.domain.sales_channel import METADATA_LIMIT
from services.gateway import live, querystring, requests, service
from services.gateway import store as storefronts
from services.query import endpoints, progress, readers, turns
from services.query import service as query
from services.runtime import health, supervisor, wiring
from services.runtime.settings import Settings
from services.store import postgres_connections, sqlite

KB, MB = 1024, 1024 * 1024


def limits() -> str:
    """Every limit, by where it is met."""
    return "\n\n".join(f"### {title}\n\n{table(('what', 'at most', 'then'), rows)}" for title, rows in _PARTS.items())


def _default(function: Any, name: str) -> Any:
    return inspect.signature(function).parameters[name].default


def _setting(name: str, unit: str = "") -> str:
    return f"{Settings.model_fields[name].default}{unit} (`KEYSCOPE_{name.upper()}`)"


_SUBJECTS = Subjects()
_LATER = "`unavailable`, with `retry_after_ms`"
_WRONG = "`invalid_data`"

_PARTS: dict[str, list[tuple[str, str, str]]] = {
    "Commands": [
        ("the body of a command", f"{reading.MAX_BODY // MB} MB", _WRONG),
        ("items in it, and links that it may touch", f"{command_bodies.MAX_ITEMS:,}", _WRONG),
        ("a channel's `metadata`, as JSON", f"{METADATA_LIMIT // KB} kB", _WRONG),
        ("an id, as it stands in a subject", f"{LONGEST_TOKEN:,} bytes", _WRONG),
        ("commands that wait for the writer", f"{writer.QUEUE_LIMIT:,}, or {writer.QUEUE_WEIGHT:,} events", _LATER),
        ("commands in preparation (secret keys, selectors, tokens)", f"{desk.MAX_PREPARING}", _LATER),
        ("an answer", "what the broker takes (`max_payload`)", f"{_WRONG}, and nothing was done"),
    ],
    "Jobs": [
        ("jobs in hand", f"{jobs.AT_ONCE}", "the others wait in their stream"),
        ("jobs in the stream", f"{jobs_stream(_SUBJECTS).max_msgs:,}", "the broker refuses the next"),
        (
            "attempts, with pauses of 1 to 60 s",
            f"{jobs.MOST_DELIVERIES}",
            "it goes to `KEYSCOPE_DEAD_JOBS`, with the reason",
        ),
        ("dead jobs", f"{dead_jobs_stream(_SUBJECTS).max_msgs:,}", "the oldest go"),
    ],
    "Queries": [
        ("wait for a position", f"{progress.WAIT_SECONDS:g} s", _LATER),
        ("wait for a thread", f"{readers.MOST_SECONDS:g} s, in a queue of {readers.MAX_QUEUED}", _LATER),
        ("one statement", f"{queries.STATEMENT_SECONDS:g} s", _WRONG),
        ("queries that wait for their turn", f"{turns.MOST_WAITING:,}, or {turns.MOST_BYTES // MB} MB", _LATER),
        (
            "queries that wait for a position or a thread",
            f"{endpoints.MAX_TASKS:,}, or {endpoints.MAX_TASK_BYTES // MB} MB",
            _LATER,
        ),
        ("fields, depth, conditions and so on", "see [queries](queries.md#limits)", _WRONG),
        ("an answer", "what the broker takes (`max_payload`)", _WRONG),
    ],
    "HTTP": [
        ("a body", f"{requests.MAX_BODY:,} bytes", "413"),
        ("parameters in a query string", f"{querystring.MAX_PARAMETERS:,}", "the others are not read"),
        ("requests at once", f"{service.CONNECTIONS:,}", "503"),
        ("streams of `/events`", f"{live.MAX_STREAMS}", "503"),
        ("keys looked up at once, for storefronts", f"{storefronts.MAX_LOADS}", "the others wait"),
        ("channel ids in a header", f"{storefronts.MAX_HEADER // KB} kB", "`unexpected_state`: ask `/store/scope`"),
        ("failed sign-ins of one address", _setting("http_failed_sign_ins"), "429; one more every 2 seconds"),
    ],
    "Services": [
        ("to end what has begun, on a stop", _setting("drain_seconds", " s"), "it ends; clients send it again"),
        ("an event loop that stands still", f"{health.STANDSTILL_SECONDS:g} s", "`/healthz` is 503"),
        ("free on each disk", f"at least {health.LEAST_FREE // MB} MB", "`/readyz` is 503"),
        ("events that a stream or read model lacks", f"{query.MOST_BEHIND:,}", "`/readyz` is 503"),
        ("crashes in a row, under `keyscope up`", f"{supervisor.GIVE_UP_AFTER}", "it ends with exit code 70"),
        (
            "`max_payload` of a NATS of your own",
            f"at least {wiring.LEAST_PAYLOAD // KB} kB",
            "a service does not start: exit code 78",
        ),
        ("wait for another writer, with SQLite", f"{sqlite.BUSY_SECONDS} s", "`unavailable`"),
        ("wait for a connection to PostgreSQL", f"{postgres_connections.PATIENCE_SECONDS:g} s", "`unavailable`"),
    ],
    "The Python client": [
        ("a call, with all attempts (`timeout`)", f"{_default(client.connect, 'timeout'):g} s", "Timeout"),
        ("attempts of one call", f"{bus.ATTEMPTS}", "the last error is raised"),
        ("pause between two", f"{bus.FIRST_PAUSE:g} to {bus.LONGEST_PAUSE:g} s", "or what `retry_after_ms` tells"),
        (
            "keys that a storefront keeps (`max_entries`)",
            f"{_default(client.Keyscope.storefront, 'max_entries'):,}",
            "the least recently used goes",
        ),
        (
            "silence, for a storefront (`stale_after`)",
            f"{_default(client.Keyscope.storefront, 'stale_after'):g} s",
            "nothing is answered from memory: the service is asked",
        ),
    ],
}
