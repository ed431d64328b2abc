"""Which keys and channels a command names, so that a batch can load those of all its commands at once."""

from collections.abc import Callable, Iterable
from typing import Any

from events.commands import Ends, LinkBatch, NewChannel, NewKey, Pair, Pairs, UpsertChannel, UpsertKey
from services.commands.command import Command


def named(command: Command) -> Iterable[str]:
    """Their ids, some of them more than once, not all of them of anything that exists."""
    yield from command.prepared.ids
    for part in command.body if isinstance(command.body, list) else (command.body,):
        find = _FIND.get(type(part))
        if find is not None:
            yield from find(part)


def _batch(batch: LinkBatch) -> Iterable[str]:
    for pair in batch.create:
        yield from _FIND[Pair](pair)
    for pairs in batch.dismiss:
        yield from _FIND[Pairs](pairs)


def _own(item: Any) -> Iterable[str]:
    return () if item.id is None else (item.id,)


_FIND: dict[type, Callable[[Any], Iterable[str]]] = {
    Pair: lambda pair: (pair.api_key.id, pair.sales_channel.id),
    Pairs: lambda pairs: (*pairs.api_key.ids, *pairs.sales_channel.ids),
    Ends: lambda ends: ends.api_key.ids if ends.api_key else (),
    LinkBatch: _batch,
    NewKey: _own,
    NewChannel: _own,
    UpsertKey: _own,
    UpsertChannel: _own,
}
