"""One look at a case that was played, with what the rules ask about it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.golden.runner.bindings import UNDEFINED
from tests.golden.runner.cases import Look
from tests.golden.runner.history import History, Pair, thing_of
from tests.golden.runner.matching import ABSENT, LINK_TABLE, Mismatch
from tests.golden.runner.playing import Played, Taken

RELATIONS = frozenset({"sales_channels", "sales_channels_link", "publishable_api_keys", "api_keys_link"})
KEY_NAMES = ("publishable_key_id", "api_key_id")
FIELDS = frozenset(
    {"entity", "fields", "filters", "pagination", "order", "take", "skip", "api_key", "sales_channel", "id", "ids"}
    | {"title", "type", "created_by", "revoked_by", "revoke_in", "name", "description", "is_disabled", "metadata"}
    | {"selector", "update", "token", *KEY_NAMES, "sales_channel_id"}
)
"""What a message may name that the caller left out."""

_INTERNAL = re.compile(
    r"Traceback|File \"|pydantic|sqlite|apsw|\bselect .* from\b|\binsert into\b|\b0x[0-9a-f]{6}|Exception"
    r"|NoneType|object at|(Key|Type|Value|Attribute)Error|Value error",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Scene:
    """The call, or something looked at afterwards: what was recorded, and what was played."""

    played: Played
    where: str
    look: Look
    taken: Taken

    @property
    def is_call(self) -> bool:
        """Whether this is the call itself."""
        return self.where == "call"

    @property
    def op(self) -> str:
        """The operation; that of the step which was played in parallel."""
        data = self.look.step.data
        return str(data["step"]["op"]) if self.look.step.op == "parallel" else self.look.step.op

    @property
    def recorded_error(self) -> dict[str, Any] | None:
        """Medusa's error."""
        return self.look.outcome.get("error")

    @property
    def history(self) -> History:
        """All that has happened when this is looked at."""
        before = self.played.history
        return before if self.is_call else History([*before.events, *self.played.events])

    @property
    def message(self) -> str:
        """Our error's message."""
        return str((self.taken.error or {}).get("message", ""))

    def refused(self, *types: str) -> bool:
        """Whether Keyscope refused with one of these types, telling a field or id of the call, and nothing internal."""
        error = self.taken.error
        return error is not None and error["type"] in types and self.is_clear()

    def is_clear(self) -> bool:
        """Whether our error's message names a field or a value of the call, and nothing internal."""
        words = {*_words(self.taken.data), *_words(self.taken.step.options)} | FIELDS
        named = any(word in self.message for word in words) or "field" in (self.taken.error or {})
        return named and not _INTERNAL.search(self.message)

    def named_pairs(self) -> set[Pair]:
        """Every pair that the call's data names."""
        return {pair for pair in _pairs(self.taken.data) if all(isinstance(id, str) for id in pair)}

    def named_ids(self) -> set[str]:
        """Every string in the call's data."""
        return set(_words(self.taken.data))

    def thing(self, mismatch: Mismatch) -> Pair | str | None:
        """The pair, or the id of the key or channel, that a mismatch is about."""
        filled = self.played.bindings.fill
        chain: list[Any] = [*(pair for pair in mismatch.around), (mismatch.recorded, mismatch.came)]
        objects = []
        for recorded, came in chain:
            value = came if isinstance(came, dict) else recorded
            if isinstance(value, dict):
                objects.append(filled(value))
        for index in range(len(objects) - 1, -1, -1):
            found = _thing(objects[index], [outer["id"] for outer in objects[:index] if "id" in outer])
            if found is not None:
                return self.history.pair_of_link(found) or found if isinstance(found, str) else found
        return None

    def as_before(self, mismatch: Mismatch) -> bool:
        """Whether what the mismatch is about reads as it did before the call, but for the time of its update."""
        before = self.played.before.get(int(self.where.split()[1])) if not self.is_call else None
        thing = self.thing(mismatch)
        if before is None:
            return False
        if thing is None:
            return bool(before.outcome == self.taken.outcome)
        return _found(before.result, thing) == _found(self.taken.result, thing)

    def touched(self, mismatch: Mismatch) -> bool:
        """Whether what the mismatch is about is what the call's own events are about."""
        return self.thing(mismatch) in {thing_of(event) for event in self.played.events}


def _thing(value: dict[str, Any], outer: list[str]) -> Pair | str | None:
    key = next((value[name] for name in KEY_NAMES if isinstance(value.get(name), str)), None)
    if key is not None and isinstance(value.get("sales_channel_id"), str):
        return key, value["sales_channel_id"]
    id = value.get("id")
    if not isinstance(id, str):
        return None
    if outer and {outer[-1][:3], id[:3]} == {"apk", "sc_"}:
        return (outer[-1], id) if outer[-1].startswith("apk") else (id, outer[-1])
    return id


def _found(result: Any, thing: Pair | str, outer: tuple[str, ...] = ()) -> list[Any]:
    """Everything in a result that is about the thing; without the time of its update, and without what hangs on it."""
    match result:
        case list():
            return [item for value in result for item in _found(value, thing, outer)]
        case dict():
            inner = (*outer, result["id"]) if isinstance(result.get("id"), str) else outer
            below = [item for value in result.values() for item in _found(value, thing, inner)]
            if _thing(result, list(outer)) != thing:
                return below
            own = {name: value for name, value in result.items() if not isinstance(value, list | dict)}
            return [
                {name: value for name, value in own.items() if name != "updated_at"},
                result.get("metadata"),
                *below,
            ]
    return []


def _pairs(value: Any) -> Iterator[Pair]:
    match value:
        case list():
            for item in value:
                yield from _pairs(item)
        case {"api_key": dict() as key, "sales_channel": dict() as channel}:
            for key_id in _as_list(next((key[name] for name in KEY_NAMES if name in key), None)):
                yield from ((key_id, id) for id in _as_list(channel.get("sales_channel_id")))
        case {"id": str() as key_id, **rest} if "add" in rest or "remove" in rest:
            yield from ((key_id, id) for name in ("add", "remove") for id in _as_list(rest.get(name, [])))
        case dict():
            for item in value.values():
                yield from _pairs(item)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _words(value: Any) -> Iterator[str]:
    match value:
        case str() if value.strip():
            yield value
        case int() | float():
            yield json.dumps(value)
        case list():
            for item in value:
                yield from _words(item)
        case dict():
            for name, item in value.items():
                yield name
                yield from _words(item)


def has_undefined(value: Any) -> bool:
    """Whether undefined stands anywhere in recorded data."""
    match value:
        case list():
            return any(map(has_undefined, value))
        case dict():
            return any(map(has_undefined, value.values()))
    return bool(value == UNDEFINED)


def is_missing(mismatch: Mismatch) -> bool:
    """Whether something was recorded and nothing came."""
    return mismatch.came is ABSENT


def is_extra(mismatch: Mismatch) -> bool:
    """Whether something came and nothing was recorded."""
    return mismatch.recorded is ABSENT


__all__ = ["LINK_TABLE", "RELATIONS", "Scene", "has_undefined", "is_extra", "is_missing"]
