"""The names on the bus: subjects, streams, headers. The prefix `keyscope` is a setting."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

EVENTS_STREAM = "KEYSCOPE_EVENTS"
JOBS_STREAM = "KEYSCOPE_JOBS"
DEAD_JOBS_STREAM = "KEYSCOPE_DEAD_JOBS"
QUEUE_GROUP = "keyscope"
EPOCH = "keyscope_epoch"
"""In the metadata of the events' stream: the epoch of the event store that it is filled from."""

COMMAND_ID = "Nats-Msg-Id"
ACTOR = "Keyscope-Actor"
TRACEPARENT = "traceparent"
REASON = "Keyscope-Reason"
ATTEMPTS = "Keyscope-Attempts"
"""On a dead job: why it was given up, `type: message`, and how often it was tried."""
ERROR = "Nats-Service-Error"
ERROR_CODE = "Nats-Service-Error-Code"

LONGEST_TOKEN = 1_500
"""Bytes of an id in a subject. An event names two at most, and nats-server takes lines of 4,096."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


@lru_cache(maxsize=65_536)
def token(id: str) -> str:
    """`id` as one token of a subject: anything but letters, digits, `_` and `-` is percent-encoded."""
    if _PLAIN.fullmatch(id):
        return id
    return quote(id, safe="").replace(".", "%2E").replace("~", "%7E")


def from_token(token: str) -> str:
    """The id that `token` stands for."""
    return unquote(token)


@dataclass(frozen=True, slots=True)
class Subjects:
    """The subjects under one prefix."""

    prefix: str = "keyscope"

    def command(self, entity: str, verb: str) -> str:
        """Where a command is requested: `keyscope.cmd.link.create`."""
        return f"{self.prefix}.cmd.{entity}.{verb}"

    def job(self, entity: str, verb: str) -> str:
        """Where the same command is published to be carried out durably: `keyscope.job.link.create`."""
        return f"{self.prefix}.job.{entity}.{verb}"

    def dead_job(self, name: str) -> str:
        """Where a job is put that cannot succeed: `keyscope.dead.link.create`."""
        return f"{self.prefix}.dead.{name}"

    def outcome(self, command_id: str) -> str:
        """Where the outcome of a job is published."""
        return f"{self.prefix}.outcome.{token(command_id)}"

    def event(self, name: str, *ids: str) -> str:
        """Where an event is published: `keyscope.evt.link.created.<api key id>.<sales channel id>`."""
        return ".".join((self.prefix, "evt", name, *map(token, ids)))

    def links(self, event: str = "*", *, api_key_id: str | None = None, sales_channel_id: str | None = None) -> str:
        """The subject that filters link events: `event` is `created`, `dismissed` or `*` for both."""
        key = token(api_key_id) if api_key_id else "*"
        channel = token(sales_channel_id) if sales_channel_id else "*"
        return f"{self.prefix}.evt.link.{event}.{key}.{channel}"

    def query(self, endpoint: str) -> str:
        """Where a query is asked: `keyscope.query.graph`."""
        return f"{self.prefix}.query.{endpoint}"

    @property
    def commands(self) -> str:
        """Every command request."""
        return f"{self.prefix}.cmd.>"

    @property
    def jobs(self) -> str:
        """Every job."""
        return f"{self.prefix}.job.>"

    @property
    def dead_jobs(self) -> str:
        """Every job that was given up."""
        return f"{self.prefix}.dead.>"

    @property
    def events(self) -> str:
        """Every event."""
        return f"{self.prefix}.evt.>"

    @property
    def wake(self) -> str:
        """Told the event store's new position after commits: whoever follows the store need not poll."""
        return f"{self.prefix}.wake"
