"""Linking keys with channels."""

from collections.abc import Iterable, Iterator
from typing import Any

from events.commands import MAX_ITEMS, Ends, LinkBatch, Pair, Pairs
from events.errors import InvalidData, NotFound
from services.commands.command import Command, Result
from services.commands.work import Work
from services.domain.api_key import ApiKey, Fate
from services.domain.ids import link_id

LINK_TABLE = "ApiKeyApiKeySalesChannelSalesChannelLink"
"""What Medusa calls the link in the answers of link.delete and link.restore."""

_DELETED: frozenset[Fate] = frozenset({"link.deleted", "swept"})
_ANY: frozenset[Fate] = frozenset({"link.deleted", "swept", "dismissed"})


def create(work: Work, command: Command) -> Result:
    """Link pairs; the answer has a row for each pair, in the order asked."""
    return Result(_create(work, _as_list(command.body)))


def _create(work: Work, pairs: Iterable[Pair]) -> list[dict[str, Any]]:
    rows = []
    for pair in pairs:
        key, channel = work.key(pair.api_key.id), work.channel(pair.sales_channel.id)
        work.must_be_settled(channel)
        event = key.link(channel, link_id, work.now)
        if event:
            work.record(key, event)
        rows.append(key.link_as_json(channel.id))
    return rows


def dismiss(work: Work, command: Command) -> Result:
    """Take links away; the answer has the rows that went. Pairs that are not linked are passed over."""
    return Result(_dismiss(work, _as_list(command.body)))


def _dismiss(work: Work, wanted: list[Pairs]) -> list[dict[str, Any]]:
    if sum(len(pairs.api_key.ids) * len(pairs.sales_channel.ids) for pairs in wanted) > MAX_ITEMS:
        raise InvalidData(f"more than {MAX_ITEMS} pairs in one command")
    rows: list[dict[str, Any]] = []
    for pairs in wanted:
        for key_id in pairs.api_key.ids:
            key = work.find_key(key_id)
            for channel_id in pairs.sales_channel.ids if key else ():
                rows += _dismissed(work, key, channel_id, "dismissed")
    return rows


def _dismissed(work: Work, key: ApiKey | None, channel_id: str, reason: Any) -> Iterator[dict[str, Any]]:
    if key is None or channel_id not in key.links:
        return
    channel = work.find_channel(channel_id)
    if channel is not None:
        work.must_be_settled(channel)
    event = key.dismiss(channel_id, reason, work.now)
    if event:
        row = key.link_as_json(channel_id)
        work.record(key, event)
        yield {**row, "deleted_at": event.deleted_at}  # Medusa answers the updated_at of before


def batch(work: Work, command: Command) -> Result:
    """Create and dismiss in one transaction: dismissals first, so a pair in both ends up linked."""
    body: LinkBatch = command.body
    dismissed = _dismiss(work, body.dismiss)
    created = _create(work, body.create)
    return Result({"created": created, "dismissed": dismissed})


def delete(work: Work, command: Command) -> Result:
    """Take away every link of the named keys, and of the named channels."""
    return _for_each(work, command.body, lambda key, channel_id: _deleted(work, key, channel_id))


def _deleted(work: Work, key: ApiKey, channel_id: str) -> bool:
    return any(_dismissed(work, key, channel_id, "link.deleted"))


def restore(work: Work, command: Command) -> Result:
    """Bring back what link.delete, or the deletion of an end, took away. The answer has what is linked now."""
    ends: list[Ends] = _as_list(command.body)
    exactly = any(end.exactly for end in ends)
    fates = _ANY if exactly else _DELETED
    return _for_each(work, ends, lambda key, channel_id: _restored(work, key, channel_id, fates))


def _restored(work: Work, key: ApiKey, channel_id: str, fates: frozenset[Fate]) -> bool:
    channel = work.find_channel(channel_id)
    if channel is not None:
        work.must_be_settled(channel)
        event = key.relink(channel, fates, work.now)
        if event:
            work.record(key, event)
    return key.links[channel_id].fate == "live"


def _for_each(work: Work, ends: Ends | list[Ends], act: Any) -> Result:
    """Act on each (key, channel) row of the ends; the answer lists those for which it was true, in two columns."""
    keys: list[str] = []
    channels: list[str] = []
    rows = list(_rows(work, _as_list(ends)))
    work.preload(channel_id for _, channel_id in rows)
    for key, channel_id in rows:
        if act(key, channel_id):
            keys.append(key.id)
            channels.append(channel_id)
    columns = {LINK_TABLE: {"publishable_key_id": keys, "sales_channel_id": channels}} if keys else {}
    return Result([None, columns])


def _rows(work: Work, ends: list[Ends]) -> Iterator[tuple[ApiKey, str]]:
    """Every row, live or not, of the named ends, each once."""
    seen: set[tuple[str, str]] = set()
    for end in ends:
        key_ids = end.api_key.ids if end.api_key else []
        channel_ids = end.sales_channel.ids if end.sales_channel else []
        if end.exactly:
            _must_exist(work, key_ids, channel_ids)
            wanted = [(key_id, channel_id) for key_id in key_ids for channel_id in channel_ids]
        else:
            wanted = [(key.id, id) for key in map(work.find_key, key_ids) if key for id in key.links]
            wanted += [(key_id, id) for id in channel_ids for key_id in _keys_of(work, id)]
        if len(seen) + len(wanted) > MAX_ITEMS:
            raise InvalidData(f"these ends have more than {MAX_ITEMS} links: name fewer of them in one command")
        for row in wanted:
            key = work.find_key(row[0])
            if row not in seen and key and row[1] in key.links:
                seen.add(row)
                yield key, row[1]


def _keys_of(work: Work, channel_id: str) -> list[str]:
    """Every key that has a row with the channel: as stored, and as this batch adds to it."""
    stored = work.store.recorder.keys_of(channel_id, limit=MAX_ITEMS + 1)
    added = [
        r.originator_id for r in work.events if r.event.subject[-1] == channel_id and r.originator_id != channel_id
    ]
    return list(dict.fromkeys([*stored, *added]))


def _must_exist(work: Work, key_ids: list[str], channel_ids: list[str]) -> None:
    missing = [id for id in key_ids if not work.find_key(id)] + [id for id in channel_ids if not work.find_channel(id)]
    if missing:
        raise NotFound(f"not found: {', '.join(missing)}", ids=missing)


def _as_list(body: Any) -> list[Any]:
    return body if isinstance(body, list) else [body]
