"""What each command must do to a given state: change it, leave it, or be refused. The sequential truth, in one table.

Only what the workload sends is told apart: one id or one pair at a time, publishable keys, revocations of now.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from events.envelope import CloudEvent
from events.link import LinkDismissed
from projections.account import State

Outcome = Literal["changes", "nothing", "refused"]
Allowed = frozenset[Outcome]
Pair = tuple[str, str]

_BROUGHT_BACK = ("link.deleted", "api_key.deleted", "sales_channel.deleted")


class World:
    """The state at a position, and what commands ask of it."""

    def __init__(self) -> None:
        self.state = State()
        self._reason: dict[Pair, str] = {}
        self._unsettled: set[str] = set()

    def apply(self, text: bytes, event: CloudEvent) -> None:
        """The next event."""
        self.state.apply(text, event.position)
        if isinstance(event.data, LinkDismissed):
            self._reason[(event.data.publishable_key_id, event.data.sales_channel_id)] = event.data.reason
        if event.name == "sales_channel.deleted":
            self._unsettled.add(event.data.aggregate_id)

    def row(self, entity: str, id: Any) -> dict[str, Any] | None:
        """A row, deleted or not."""
        return self.state.row(entity, id if entity == "link" else (id, ""))

    def alive(self, entity: str, id: Any) -> bool:
        """Whether the row is there and not deleted."""
        row = self.row(entity, id)
        return row is not None and row["deleted_at"] is None

    def revoked(self, id: str) -> bool:
        """Whether the key is revoked."""
        row = self.row("api_key", id)
        return row is not None and row.get("revoked_at") is not None

    def unsettled(self, channel: str) -> bool:
        """Whether the events of the channel's links may lag behind its own: it was deleted once."""
        return channel in self._unsettled

    def links_of(self, key: str) -> list[Pair]:
        """Every link of the key, live or not."""
        return [pair for pair in self.state.links_of(key) if pair[0] == key]

    def comes_back(self, pair: Pair) -> bool:
        """Whether link.restore brings it back."""
        went = not self.alive("link", pair) and self._reason.get(pair) in _BROUGHT_BACK
        return went and self.alive("api_key", pair[0]) and self.alive("sales_channel", pair[1])


def _is(outcome: Outcome) -> Allowed:
    return frozenset({outcome})


def _changes_if(changes: bool) -> Allowed:
    return _is("changes" if changes else "nothing")


_EITHER: Allowed = frozenset({"changes", "nothing"})


def _pair(body: Any) -> Pair:
    return body["api_key"]["api_key_id"], body["sales_channel"]["sales_channel_id"]


def _create(entity: str) -> Callable[[World, Any], Allowed]:
    return lambda world, body: _is("refused" if world.row(entity, body["id"]) else "changes")


def _update(entity: str, name: str) -> Callable[[World, Any], Allowed]:
    def update(world: World, body: Any) -> Allowed:
        row = world.row(entity, body["id"])
        if row is None or not world.alive(entity, body["id"]):
            return _is("refused")
        return _changes_if(row[name] != body.get("update", body)[name])

    return update


def _soft_delete(entity: str) -> Callable[[World, Any], Allowed]:
    def delete(world: World, body: Any) -> Allowed:
        return _changes_if(world.alive(entity, body)) if world.row(entity, body) else _is("refused")

    return delete


def _delete(entity: str) -> Callable[[World, Any], Allowed]:
    def delete(world: World, body: Any) -> Allowed:
        row = world.row(entity, body)
        return _changes_if(not row["hidden"]) if row else _is("refused")

    return delete


def _restore(entity: str) -> Callable[[World, Any], Allowed]:
    def restore(world: World, body: Any) -> Allowed:
        return _changes_if(not world.alive(entity, body)) if world.row(entity, body) else _is("refused")

    return restore


def _delete_key(world: World, body: Any) -> Allowed:
    if world.alive("api_key", body) and not world.revoked(body):
        return _is("refused")
    return _delete("api_key")(world, body)


def _revoke(world: World, body: Any) -> Allowed:
    return _is("changes" if world.alive("api_key", body["id"]) else "refused")


def _link(world: World, pair: Pair, *, live: bool) -> Allowed:
    key, channel = pair
    if live and world.alive("sales_channel", channel):
        return _is("nothing")
    linkable = world.alive("api_key", key) and not world.revoked(key) and world.alive("sales_channel", channel)
    if world.unsettled(channel) and world.alive("sales_channel", channel):
        return _EITHER if linkable else frozenset({"refused", "nothing"})
    return _is("changes" if linkable else "refused")


def _link_create(world: World, body: Any) -> Allowed:
    return _link(world, _pair(body), live=world.alive("link", _pair(body)))


def _link_dismiss(world: World, body: Any) -> Allowed:
    return _EITHER if world.unsettled(_pair(body)[1]) else _changes_if(world.alive("link", _pair(body)))


def _link_batch(world: World, body: Any) -> Allowed:
    new, old = _pair(body["create"][0]), _pair(body["dismiss"][0])
    went = world.alive("link", old)
    came = _link(world, new, live=world.alive("link", new) and new != old)
    if came == {"refused"}:
        return came
    if world.unsettled(new[1]) or world.unsettled(old[1]):
        return _EITHER | came
    return _changes_if(went or came == {"changes"})


def _link_delete(world: World, body: Any) -> Allowed:
    pairs = world.links_of(body["api_key"]["api_key_id"])
    if any(world.unsettled(channel) for _, channel in pairs):
        return _EITHER
    return _changes_if(any(world.alive("link", pair) for pair in pairs))


def _link_restore(world: World, body: Any) -> Allowed:
    pairs = world.links_of(body["api_key"]["api_key_id"])
    if any(world.unsettled(channel) for _, channel in pairs):
        return _EITHER
    return _changes_if(any(world.comes_back(pair) for pair in pairs))


SPEC: Mapping[str, Callable[[World, Any], Allowed]] = {
    "api_key.create": _create("api_key"),
    "api_key.update": _update("api_key", "title"),
    "api_key.upsert": _update("api_key", "title"),
    "api_key.revoke": _revoke,
    "api_key.delete": _delete_key,
    "api_key.soft_delete": _soft_delete("api_key"),
    "api_key.restore": _restore("api_key"),
    "api_key.authenticate": lambda _, __: _is("nothing"),
    "sales_channel.create": _create("sales_channel"),
    "sales_channel.update": _update("sales_channel", "name"),
    "sales_channel.upsert": _update("sales_channel", "name"),
    "sales_channel.delete": _delete("sales_channel"),
    "sales_channel.soft_delete": _soft_delete("sales_channel"),
    "sales_channel.restore": _restore("sales_channel"),
    "link.create": _link_create,
    "link.dismiss": _link_dismiss,
    "link.batch": _link_batch,
    "link.delete": _link_delete,
    "link.restore": _link_restore,
}
