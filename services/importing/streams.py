"""From Medusa's rows to the events that must have happened, so that replaying them gives those rows again.

Medusa keeps no history: what is between a row's creation and its present state is one event at most.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from events.api_key import ApiKeyCreated, ApiKeyDeleted, ApiKeyRevoked, ApiKeyUpdated
from events.base import Event
from events.link import DismissReason, LinkCreated, LinkDismissed
from events.sales_channel import SalesChannelCreated, SalesChannelDeleted, SalesChannelUpdated
from services.importing.medusa import timestamp

TOGETHER = timedelta(seconds=5)
"""A link that went within so much of one of its ends went with it, and comes back with it: in Medusa the two are
consecutive statements."""


class Happened(NamedTuple):
    """An event and when it was."""

    time: str
    event: Event


def of_channel(row: Any) -> list[Happened]:
    """The stream of a row of sales_channel."""
    what = {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "is_disabled": row.is_disabled,
        "metadata": row.metadata,
    }
    created, updated = timestamp(row.created_at), timestamp(row.updated_at)
    stream = [Happened(created, SalesChannelCreated(**what, created_at=created))]
    if updated != created:
        stream.append(Happened(updated, SalesChannelUpdated(**what, updated_at=updated)))
    if row.deleted_at is not None:
        deleted = timestamp(row.deleted_at)
        stream.append(Happened(deleted, SalesChannelDeleted(id=row.id, deleted_at=deleted, permanent=False)))
    return stream


def of_key(row: Any, links: Sequence[Any], channels: Mapping[str, datetime | None]) -> list[Happened]:
    """The stream of a row of api_key and of its links, in the order of time.

    `channels` are all that there are, with the time of their deletion.
    """
    secret = row.type == "secret"
    created, updated = timestamp(row.created_at), timestamp(row.updated_at)
    first = ApiKeyCreated(
        id=row.id,
        token="" if secret else row.token,
        redacted=row.redacted,
        title=row.title,
        type=row.type,
        created_by=row.created_by,
        created_at=created,
        hash=row.token if secret else "",
        salt=row.salt if secret else "",
    )
    later: list[Happened] = []
    if row.revoked_at is not None:
        revoked_at = timestamp(row.revoked_at)
        revoked = ApiKeyRevoked(id=row.id, revoked_by=row.revoked_by or "", revoked_at=revoked_at, updated_at=updated)
        later.append(Happened(updated, revoked))
    elif updated != created:
        later.append(Happened(updated, ApiKeyUpdated(id=row.id, title=row.title, updated_at=updated)))
    if row.deleted_at is not None:
        deleted = timestamp(row.deleted_at)
        later.append(Happened(deleted, ApiKeyDeleted(id=row.id, deleted_at=deleted, permanent=False)))
    for link in links:
        later += _of_link(link, row.deleted_at, channels[link.sales_channel_id])
    # Python's sort keeps the order of what happened at the same time.
    return [Happened(created, first), *sorted(later, key=lambda happened: happened.time)]


def _of_link(row: Any, key_deleted: datetime | None, channel_deleted: datetime | None) -> Iterator[Happened]:
    gone, reason = _end_of_link(row, key_deleted, channel_deleted)
    ends = {"id": row.id, "publishable_key_id": row.publishable_key_id, "sales_channel_id": row.sales_channel_id}
    created = timestamp(row.created_at)
    updated = created if row.deleted_at else timestamp(row.updated_at)
    yield Happened(created, LinkCreated(**ends, created_at=created, updated_at=updated))
    if gone is not None:
        deleted = max(created, timestamp(gone))
        yield Happened(deleted, LinkDismissed(**ends, created_at=created, deleted_at=deleted, reason=reason))


def _end_of_link(
    row: Any, key_deleted: datetime | None, channel_deleted: datetime | None
) -> tuple[datetime | None, DismissReason]:
    """When the link went, if it did, and why. A link that Medusa left behind went when the first of its ends did."""
    ends: list[tuple[datetime, DismissReason]] = []
    if key_deleted is not None:
        ends.append((key_deleted, "api_key.deleted"))
    if channel_deleted is not None:
        ends.append((channel_deleted, "sales_channel.deleted"))
    if row.deleted_at is None:
        return min(ends, default=(None, "dismissed"))
    near = [reason for when, reason in sorted(ends) if abs(when - row.deleted_at) <= TOGETHER]
    return row.deleted_at, near[0] if near else "dismissed"
