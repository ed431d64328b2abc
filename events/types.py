"""The field types that commands, events and queries share."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"),
]
"""An id: 1 to 255 characters, not blank, no control characters. Ours are a prefix and a ULID (`apk_01J…`)."""

Text = Annotated[str, StringConstraints(max_length=10_000, pattern=r"^[^\x00]*$")]
"""Free text: up to 10,000 characters, no NUL (which neither database stores)."""

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""An instant in UTC with milliseconds, `2026-11-23T12:00:00.000Z`: text that sorts in the order of time."""

Metadata = dict[str, Any]
"""A JSON object of the caller's own."""
