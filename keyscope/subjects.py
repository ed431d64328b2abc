"""The names on the bus that the client needs: subjects, streams, headers."""

import re
from dataclasses import dataclass
from urllib.parse import quote

EVENTS_STREAM = "KEYSCOPE_EVENTS"
EPOCH = "keyscope_epoch"
"""In that stream's metadata: a store that was put back to an earlier state begins a new history of events."""

COMMAND_ID = "Nats-Msg-Id"
ACTOR = "Keyscope-Actor"
TRACEPARENT = "traceparent"
ERROR = "Nats-Service-Error"

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def token(id: str) -> str:
    """`id` as one token of a subject: anything but letters, digits, `_` and `-` is percent-encoded."""
    if _PLAIN.fullmatch(id):
        return id
    return quote(id, safe="").replace(".", "%2E").replace("~", "%7E")


@dataclass(frozen=True, slots=True)
class Subjects:
    """The subjects under one prefix."""

    prefix: str = "keyscope"

    def command(self, name: str) -> str:
        """Where the command `link.create` is requested."""
        return f"{self.prefix}.cmd.{name}"

    def job(self, name: str) -> str:
        """Where the same command is published to be carried out durably."""
        return f"{self.prefix}.job.{name}"

    def dead_job(self, name: str) -> str:
        """Where a job is put that could not be carried out."""
        return f"{self.prefix}.dead.{name}"

    def outcome(self, command_id: str) -> str:
        """Where the outcome of a job is published."""
        return f"{self.prefix}.outcome.{token(command_id)}"

    def query(self, endpoint: str) -> str:
        """Where a query is asked."""
        return f"{self.prefix}.query.{endpoint}"

    def links(self, event: str = "*", *, api_key_id: str | None = None, sales_channel_id: str | None = None) -> str:
        """The link events of a key, of a channel or of both; `event` is `created`, `dismissed` or `*`."""
        key = token(api_key_id) if api_key_id else "*"
        channel = token(sales_channel_id) if sales_channel_id else "*"
        return f"{self.prefix}.evt.link.{event}.{key}.{channel}"

    def events(self, pattern: str = ">") -> str:
        """Events by name, `api_key.revoked.*`; `>` is all of them."""
        return f"{self.prefix}.evt.{pattern}"
