"""Creating, changing and deleting sales channels."""

from typing import Any

from events.commands import ChannelChange, NewChannel, UpdateChannels, UpsertChannel
from events.errors import DuplicateError, InvalidData
from services.commands.command import Command, Result
from services.commands.sweeps import begin_sweep
from services.commands.work import Work
from services.domain.ids import sales_channel_id
from services.domain.sales_channel import SalesChannel


def create(work: Work, command: Command) -> Result:
    """Create one channel or several; the answer is one or several."""
    many = isinstance(command.body, list)
    rows = [_create(work, new) for new in (command.body if many else [command.body])]
    return Result(rows if many else rows[0])


def _create(work: Work, new: NewChannel) -> dict[str, Any]:
    if new.id is not None and work.taken(new.id):
        raise DuplicateError(f"Sales channel with id: {new.id}, already exists.", ids=[new.id])
    channel = work.create(SalesChannel.create(new.id or sales_channel_id(), new, work.now))
    assert isinstance(channel, SalesChannel)
    return channel.as_json()


def update(work: Work, command: Command) -> Result:
    """Change channels: by id the answer is the channel, by several ids or a selector the channels."""
    body: UpdateChannels = command.body
    rows = [_update(work, channel, body.update) for channel in work.living_channels(command.prepared.ids)]
    return Result(rows[0] if isinstance(body.id, str) else rows)


def _update(work: Work, channel: SalesChannel, change: ChannelChange) -> dict[str, Any]:
    for name in ("name", "is_disabled"):
        if name in change.model_fields_set and getattr(change, name) is None:
            raise InvalidData(f"Cannot set field '{name}' of Sales channel to null", fields=[name])
    event = channel.update(change, work.now)
    if event:
        work.record(channel, event)
    return channel.as_json()


def upsert(work: Work, command: Command) -> Result:
    """Update the channels that have an id, create the others. Medusa answers the created ones first."""
    many = isinstance(command.body, list)
    items: list[UpsertChannel] = command.body if many else [command.body]
    created = [_create(work, _as_new(item)) for item in items if item.id is None]
    old = {item.id: item for item in items if item.id is not None}
    updated = [_update(work, channel, old[channel.id]) for channel in work.living_channels(old)]
    rows = created + updated
    return Result(rows if many else rows[0])


def _as_new(item: UpsertChannel) -> NewChannel:
    if item.name is None:
        raise InvalidData("name: Field required", fields=["name"])
    return NewChannel(**{**item.model_dump(exclude_unset=True), "is_disabled": bool(item.is_disabled)})


def delete(work: Work, command: Command) -> Result:
    """Delete channels out of every answer."""
    _delete(work, command.prepared.ids, permanent=True)
    return Result(None)


def soft_delete(work: Work, command: Command) -> Result:
    """Delete channels; `withDeleted` still shows them. The answer names those that were there."""
    ids = _delete(work, command.prepared.ids, permanent=False)
    return Result({"sales_channel_id": ids} if ids else {})


def _delete(work: Work, ids: tuple[str, ...], *, permanent: bool) -> list[str]:
    """The ids of those that were there."""
    gone = []
    for id in ids:
        channel = work.channel(id)
        event = channel.delete(work.now, permanent=permanent)
        if event:
            begin_sweep(work, channel.id, "dismiss", work.record(channel, event))
            gone.append(id)
    return gone


def restore(work: Work, command: Command) -> Result:
    """Bring channels back; their links follow."""
    for id in command.prepared.ids:
        channel = work.channel(id)
        event = channel.restore(work.now)
        if event:
            begin_sweep(work, channel.id, "restore", work.record(channel, event))
    return Result({"sales_channel_id": list(command.prepared.ids)})
