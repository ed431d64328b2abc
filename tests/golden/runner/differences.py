"""The rules by which an answer may differ from Medusa's on purpose.

Each has the number under which docs/medusa-differences.md gives its reason. A rule looks at one mismatch, at what Medusa
did and at what Keyscope did; no rule knows the name of a case.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from keyscope import Event
from tests.golden.runner.bindings import UNDEFINED
from tests.golden.runner.composing import is_its_parts
from tests.golden.runner.history import Pair, thing_of
from tests.golden.runner.matching import ABSENT, LINK_TABLE, Mismatch
from tests.golden.runner.playing import Taken, pair_of
from tests.golden.runner.published import Fact
from tests.golden.runner.scene import RELATIONS, Scene, has_undefined, is_extra, is_missing

Explains = Callable[[Scene, Mismatch], Awaitable[bool]]

LINKING = ("link.create", "workflow.run", "workflow.steps")
DEFINITION = re.compile(
    r"^Module to type (\w+) and (\w+) by keys \w+ and \w+ was not found\.|^Only two modules can be linked"
)
NO_PROPERTY = re.compile(r"^Trying to (query|order) by not existing property \w+\.(\S+)$")
MUST_PASS = re.compile(r"^You must pass a non-undefined value to the property (\w+) of entity \w+\.$")
SWEPT = frozenset({"api_key.deleted", "sales_channel.deleted"})
UNDONE_BY = {
    "link.created": "link.dismissed",
    "link.dismissed": "link.created",
    "api_key.created": "api_key.deleted",
    "api_key.deleted": "api_key.restored",
    "api_key.updated": "api_key.updated",
    "sales_channel.created": "sales_channel.deleted",
    "sales_channel.deleted": "sales_channel.restored",
    "sales_channel.updated": "sales_channel.updated",
}


@dataclass(frozen=True)
class Rule:
    """One difference."""

    number: int
    explains: Explains


async def documented_call(scene: Scene, mismatch: Mismatch) -> bool:
    """1: `api_key_id`, and the ends in either order, work; and do what they say."""
    pairs, result = scene.named_pairs(), scene.taken.result
    if not scene.is_call or scene.taken.error or not scene.op.startswith("link."):
        return False
    complaint = DEFINITION.match((scene.recorded_error or {}).get("message", ""))
    if complaint:
        asked = set(map(_pair, result)) if isinstance(result, list) else set()
        return asked == pairs if scene.op == "link.create" else asked <= pairs
    by_documented_name = "api_key_id" in str(scene.taken.data) and scene.look.outcome.get("result") == [None, {}]
    if not by_documented_name:
        return False
    if isinstance(mismatch.came, Event):
        return mismatch.came.name.startswith("link.") and thing_of(mismatch.came)[0] in scene.named_ids()
    rows = result[1].get(LINK_TABLE, {})
    return mismatch.path[-1] == LINK_TABLE and bool(rows) and set(rows["publishable_key_id"]) <= scene.named_ids()


async def ends_exist(scene: Scene, mismatch: Mismatch) -> bool:
    """2: a link needs a publishable key that is not revoked, and a channel, both there; so there are no holes."""
    if mismatch.recorded == UNDEFINED and is_missing(mismatch):
        return len(mismatch.path) > 1 and mismatch.path[-2] in RELATIONS
    if is_missing(mismatch) and scene.thing(mismatch) in scene.played.refused_pairs:
        return True
    lost = re.match(r"^(?:SalesChannel|ApiKey) id not found: (.+)$", (scene.recorded_error or {}).get("message", ""))
    if lost and not scene.taken.error:
        ids = scene.played.bindings.fill(lost[1]).split(", ")
        return not any(scene.history.is_there(id) or id in str(scene.taken.result) for id in ids)
    if is_missing(mismatch) and _end_is_gone(scene, mismatch):
        return True
    boom = (scene.recorded_error or {"message": "boom"})["message"] == "boom"
    if scene.op not in LINKING or not scene.refused("not_found", "not_allowed") or not boom:
        return False
    history, ids = scene.played.history, (scene.taken.error or {}).get("ids", [])
    unfit = [id for id in ids if not history.is_there(id) or history.kinds.get(id) == "secret" or id in history.revoked]
    return bool(ids) and ids == unfit


def _end_is_gone(scene: Scene, mismatch: Mismatch) -> bool:
    """Whether `link.restore` brought something back, or told of it, that has lost an end."""
    if scene.played.call.step.op != "link.restore":
        return False
    pairs = [scene.thing(mismatch)]
    if isinstance(mismatch.recorded, Fact):
        pairs = list(_pairs_of_row(scene, mismatch.recorded))
    return any(isinstance(pair, tuple) and not all(map(scene.history.is_there, pair)) for pair in pairs)


def _pairs_of_row(scene: Scene, fact: Fact) -> set[Pair]:
    """The pair whose link's id a recorded event names."""
    id = scene.played.bindings.fill(fact.id)
    return {pair for pair, event in scene.played.history.last_of_pair.items() if event.data["id"] == id}


async def linked_stays(scene: Scene, mismatch: Mismatch) -> bool:
    """3: linking a linked pair changes nothing: the id stays, and nothing is published."""
    history = scene.played.history
    if isinstance(mismatch.recorded, Fact) and mismatch.recorded.names == ("link.created",) and is_missing(mismatch):
        return any(map(history.is_linked, scene.named_pairs())) and scene.op != "link.restore"
    if mismatch.path[0] == "error":
        twice = isinstance(scene.taken.data, list) and len(scene.named_pairs()) < len(scene.taken.data)
        rows = scene.taken.result if isinstance(scene.taken.result, list) else []
        ids = {row["publishable_key_id"] + row["sales_channel_id"]: row["id"] for row in rows}
        one_each = all(ids[row["publishable_key_id"] + row["sales_channel_id"]] == row["id"] for row in rows)
        driver = bool(scene.recorded_error and scene.recorded_error.get("driver"))
        return scene.op == "link.create" and driver and twice and bool(rows) and one_each
    if scene.op == "compare" and (mismatch.recorded, mismatch.came) == ("<", "="):
        left, right = scene.taken.data[int(mismatch.path[-1])]
        return bool(left == right and str(left).startswith("pksc_"))
    kept = mismatch.recorded == "<id:pksc>" and mismatch.came in scene.played.old
    return kept and mismatch.path[-1] == "id" and history.is_linked(scene.thing(mismatch))  # type: ignore[arg-type]


async def restores_what_was_deleted(scene: Scene, mismatch: Mismatch) -> bool:
    """4: what comes back is what was deleted with it: not what was dismissed on purpose, but its links all."""
    history, fact, thing = scene.played.history, mismatch.recorded, scene.thing(mismatch)
    if isinstance(fact, Fact) and scene.op == "link.restore":
        pairs = _pairs_of_row(scene, fact)
        return any(history.is_linked(pair) or history.gone_because(pair) == "dismissed" for pair in pairs)
    if isinstance(mismatch.came, Event):
        event = mismatch.came
        return (
            scene.op.endswith(".restore")
            and event.name == "link.created"
            and event.data["restored"]
            and history.gone_because(thing_of(event)) in SWEPT  # type: ignore[arg-type]
        )
    if not isinstance(thing, tuple):
        return False
    if scene.history.came_back(thing) and (is_extra(mismatch) or mismatch.path[-1] == "deleted_at"):
        return True
    dismissed = scene.history.gone_because(thing) == "dismissed" and history.gone_because(thing) == "dismissed"
    restoring = scene.played.call.step.op.endswith(".restore")
    return restoring and dismissed and (is_missing(mismatch) or mismatch.path[-1] == "deleted_at")


async def secrets_stay(scene: Scene, mismatch: Mismatch) -> bool:
    """6: of a secret key neither hash nor salt can be read; a salt cannot be read at all."""
    beside = NO_PROPERTY.match(scene.message)
    if mismatch.path[0] == "error" and beside and beside[2] == "salt":
        return scene.recorded_error is None and scene.refused("invalid_data")
    salt = mismatch.path[-1] == "salt" and is_missing(mismatch)
    return salt or (mismatch.path[-1] == "token" and mismatch.recorded == "<scrypt>" and mismatch.came == "")


async def undone_exactly(scene: Scene, mismatch: Mismatch) -> bool:
    """7: after a workflow that failed, everything is as it was."""
    call = scene.played.call
    failed = call.step.op == "workflow.steps" and (call.error or {}).get("message") == "boom"
    return failed and not scene.is_call and scene.as_before(mismatch)


async def many_at_once(scene: Scene, mismatch: Mismatch) -> bool:
    """8: many at once neither deadlock nor run out of connections: all are carried out."""
    if scene.look.step.op != "parallel" or mismatch.path[0] != "result":
        return False
    return bool(scene.taken.result == {"fulfilled": scene.taken.data["times"], "rejected": 0})


async def must_be_there(scene: Scene, mismatch: Mismatch) -> bool:
    """9: a write to a key or channel that does not exist is refused."""
    if scene.recorded_error or not scene.refused("not_found"):
        return False
    ids = (scene.taken.error or {}).get("ids", [])
    return bool(ids) and set(ids) <= scene.named_ids() and not any(map(scene.played.history.is_there, ids))


async def accidents_are_told(scene: Scene, mismatch: Mismatch) -> bool:
    """10: an accident of the implementation is an error of ours that names the field."""
    error = scene.recorded_error
    if error is None or not scene.refused("invalid_data", "not_found", "not_allowed"):
        return False
    message = error["message"]
    if error.get("driver") or error.get("name"):
        return True
    if error["type"] is None:
        beside = NO_PROPERTY.match(message)
        return bool(DEFINITION.match(message) or MUST_PASS.match(message) or (beside and beside[2].isdigit()))
    null = re.match(r"^Cannot set field '(\w+)' of .* to null$", message)
    absent = re.match(r"^\w+ - (\w+) must be defined$", message)
    named = null or absent
    return bool(named and named[1] in scene.message and scene.refused("invalid_data"))


async def ids_are_ids(scene: Scene, mismatch: Mismatch) -> bool:
    """10: what is no id, or not of the field's type, is refused, where Medusa stores it, ignores it or takes it for all."""
    if scene.recorded_error or not scene.refused("invalid_data"):
        return False
    data = scene.taken.data
    unnamed = scene.op.startswith("link.") and _names_no_link(data)
    no_text = scene.op == "link.create" and any(not isinstance(id, str) for id in _ids(data))
    return unnamed or no_text or _has_wrong_type(data)


def _ids(links: Any) -> list[Any]:
    """What stands for ids in the ends of links."""
    ends = [end for link in (links if isinstance(links, list) else [links]) for end in link.values()]
    return [id for end in ends if isinstance(end, dict) for id in end.values()]


def _names_no_link(data: Any) -> bool:
    """Whether some link or end is not named as it must be."""
    for ends in data if isinstance(data, list) else [data]:
        known = {"api_key": {"publishable_key_id", "api_key_id"}, "sales_channel": {"sales_channel_id"}}
        if not isinstance(ends, dict) or not ends:
            return True
        for end, names in ends.items():
            if end != "data" and (
                end not in known or not isinstance(names, dict) or len(names.keys() & known[end]) != 1
            ):
                return True
    return False


_NOT_TEXT: dict[str, tuple[type, ...]] = {
    "revoke_in": (int, float),
    "is_disabled": (bool,),
    "metadata": (dict,),
    "take": (int,),
    "skip": (int,),
    "withDeleted": (bool,),
}
_TEXT = frozenset(
    {"id", "publishable_key_id", "api_key_id", "sales_channel_id", "title", "name", "created_by", "revoked_by", "token"}
)


def _has_wrong_type(data: Any, name: str = "id") -> bool:
    """Whether a member that must be an id, a text, a number or so is something else, or an empty id."""
    match data:
        case list():
            return any(_has_wrong_type(item, name) for item in data)
        case dict():
            operators = all(str(member).startswith("$") for member in data) and data
            return any(_has_wrong_type(item, name if operators else member) for member, item in data.items())
    if name in _NOT_TEXT:
        return not isinstance(data, _NOT_TEXT[name])
    is_id = name == "id" or name.endswith("_id")
    return name in _TEXT and (not isinstance(data, str) or (is_id and not data.strip()))


async def dates_are_dates(scene: Scene, mismatch: Mismatch) -> bool:
    """10: the database's own words for times, `yesterday` or `infinity`, are no dates."""
    words = {"now", "today", "yesterday", "tomorrow", "epoch", "infinity", "-infinity"}
    told = scene.refused("invalid_data") and "is no date or time" in scene.message
    return scene.recorded_error is None and told and bool(words & scene.named_ids())


async def nothing_is_an_object(scene: Scene, mismatch: Mismatch) -> bool:
    """10: an item with nothing selected is `{}`, not a hole."""
    return mismatch.recorded == UNDEFINED and mismatch.came == {} and mismatch.path[:2] == ("result", "data")


async def undefined_is_null(scene: Scene, mismatch: Mismatch) -> bool:
    """10: there is no undefined: a filter without a value asks for null, and not for every row."""
    data = scene.look.step.data
    filters = data.get("filters") if isinstance(data, dict) else None
    missing_rows = (
        is_missing(mismatch) and isinstance(mismatch.recorded, dict) and mismatch.path[-2] in {"data", "result"}
    )
    return has_undefined(filters) and missing_rows


async def goes_with_its_ends(scene: Scene, mismatch: Mismatch) -> bool:
    """11: a key's or a channel's links go when it is deleted, by whichever call."""
    if isinstance(mismatch.came, Event):
        event = mismatch.came
        return event.name == "link.dismissed" and event.data["reason"] in SWEPT and event.cause is not None
    if isinstance(mismatch.recorded, Fact):
        gone = [scene.played.history.gone_because(pair) for pair in _pairs_of_row(scene, mismatch.recorded)]
        return mismatch.recorded.names == ("link.dismissed",) and any(reason in SWEPT for reason in gone)
    thing = scene.thing(mismatch)
    if not isinstance(thing, tuple) or scene.history.gone_because(thing) not in SWEPT:
        return False
    return is_missing(mismatch) or (mismatch.path[-1] in {"deleted_at", "updated_at"} and mismatch.came is not ABSENT)


async def errors_have_types(scene: Scene, mismatch: Mismatch) -> bool:
    """12: every error has a type; a wrong request's is invalid_data. The message is Medusa's."""
    recorded = scene.recorded_error
    if (
        recorded is None
        or recorded["type"] is not None
        or not scene.refused("invalid_data", "not_found", "not_allowed")
    ):
        return False
    return scene.played.matcher.matches(recorded["message"], scene.message)


async def past_medusa(scene: Scene, mismatch: Mismatch) -> bool:
    """13: filters that Medusa cannot carry out are carried out, and mean what their parts mean."""
    error, data = scene.recorded_error, scene.taken.data
    if error is None or scene.taken.error or scene.op != "query.graph" or not data.get("filters"):
        return False
    beside = NO_PROPERTY.match(error["message"])
    options = scene.taken.step.options or {}
    looks_for_ids = error.get("name") == "TypeError" and options.get("throwIfKeyNotFound")
    cannot = beside[2] in RELATIONS if beside else bool(error.get("driver") or looks_for_ids)
    return cannot and await is_its_parts(scene.played.ks, data)


async def times_are_text(scene: Scene, mismatch: Mismatch) -> bool:
    """14: times are text, as in Medusa over HTTP."""
    return scene.op == "shape" and (mismatch.recorded, mismatch.came) == ("Date", "string")


async def no_default_channel(scene: Scene, mismatch: Mismatch) -> bool:
    """15: no channel is a store's default: Keyscope has no store."""
    message = (scene.recorded_error or {}).get("message", "")
    return message.startswith("Cannot delete default sales channels: ") and not scene.taken.error


async def failures_are_published(scene: Scene, mismatch: Mismatch) -> bool:
    """16: what the steps of a workflow that failed did, and what undid it, is published as it happens."""
    event, error = mismatch.came, scene.taken.error or {}
    if not isinstance(event, Event) or scene.op != "workflow.steps" or error.get("message") != "boom":
        return False
    if event.name == "api_key.revoked":  # is never undone
        return True
    names = [other.name for other in scene.played.events if thing_of(other) == thing_of(event)]
    return len(names) % 2 == 0 and names[len(names) // 2 :] == [
        UNDONE_BY[name] for name in reversed(names[: len(names) // 2])
    ]


async def whole_answers(scene: Scene, mismatch: Mismatch) -> bool:
    """17: an upsert answers whole keys and channels."""
    return scene.op.endswith(".upsert") and is_extra(mismatch) and mismatch.came is None and len(mismatch.path) > 1


async def data_has_no_effect(scene: Scene, mismatch: Mismatch) -> bool:
    """18: `data` beside a link's ends cannot change the row."""
    call = scene.played.call
    links = call.data if isinstance(call.data, list) else [call.data]
    extra = [link["data"] for link in links if isinstance(link, dict) and isinstance(link.get("data"), dict)]
    if call.step.op != "link.create" or not extra or call.error:
        return False
    thing = scene.thing(mismatch)
    ours = isinstance(thing, tuple) and thing in set(scene.named_pairs() if scene.is_call else _pairs_of(call))
    values = [value for data in extra for value in data.values()]
    if isinstance(mismatch.recorded, Fact):
        return mismatch.recorded.id in values
    if isinstance(mismatch.came, Event):
        return mismatch.came.name == "link.created" and thing_of(mismatch.came) in _pairs_of(call)
    recorded = str(scene.played.bindings.fill(mismatch.recorded)) if is_missing(mismatch) else ""
    return ours or any(str(value) in recorded for value in values)


def _pairs_of(call: Taken) -> set[Pair]:
    return set(map(_pair, call.result))


def _pair(row: dict[str, Any]) -> Pair:
    """The pair of a link's row, or of its definition."""
    return pair_of(row) if "api_key" in row else (row["publishable_key_id"], row["sales_channel_id"])


async def nothing_to_change(scene: Scene, mismatch: Mismatch) -> bool:
    """19: an update that names nothing to change is no error, and changes nothing."""
    must = MUST_PASS.match((scene.recorded_error or {}).get("message", ""))
    quiet = not scene.taken.error and not scene.played.events
    return bool(must) and quiet and f"'{must[1]}'" not in str(scene.taken.data)  # type: ignore[index]


async def taken_has_a_type(scene: Scene, mismatch: Mismatch) -> bool:
    """20: an id that is taken is a duplicate_error."""
    error = scene.recorded_error
    same = error is not None and scene.played.matcher.matches(error["message"], scene.message)
    return same and error is not None and "already exists" in error["message"] and scene.refused("duplicate_error")


async def restoring_is_told(scene: Scene, mismatch: Mismatch) -> bool:
    """21: that a key or a channel is back is an event."""
    event = mismatch.came
    restored = isinstance(event, Event) and event.name in {"api_key.restored", "sales_channel.restored"}
    return restored and scene.op.endswith(".restore")


async def expressions_are_linear(scene: Scene, mismatch: Mismatch) -> bool:
    """22: regular expressions have no look-around and no back-references, so that none takes for ever."""
    told = scene.refused("invalid_data") and "not a regular expression" in scene.message
    beyond = any(re.search(r"\(\?[=!<]|\\[1-9mMyYAZ]", text) for text in scene.named_ids())
    return scene.recorded_error is None and told and beyond


async def not_recorded(scene: Scene, mismatch: Mismatch) -> bool:
    """Not a difference: of many calls at once, and of 20 links at once, the recorder kept no events."""
    many = scene.look.step.op == "parallel" or len(scene.named_pairs()) >= 20
    return many and isinstance(mismatch.came, Event) and "events" not in scene.look.outcome


RULES = [
    Rule(0, not_recorded),
    Rule(1, documented_call),
    Rule(2, ends_exist),
    Rule(3, linked_stays),
    Rule(4, restores_what_was_deleted),
    Rule(6, secrets_stay),
    Rule(7, undone_exactly),
    Rule(8, many_at_once),
    Rule(9, must_be_there),
    Rule(12, errors_have_types),
    Rule(10, accidents_are_told),
    Rule(10, ids_are_ids),
    Rule(10, dates_are_dates),
    Rule(10, nothing_is_an_object),
    Rule(10, undefined_is_null),
    Rule(11, goes_with_its_ends),
    Rule(13, past_medusa),
    Rule(14, times_are_text),
    Rule(15, no_default_channel),
    Rule(16, failures_are_published),
    Rule(17, whole_answers),
    Rule(18, data_has_no_effect),
    Rule(19, nothing_to_change),
    Rule(20, taken_has_a_type),
    Rule(21, restoring_is_told),
    Rule(22, expressions_are_linear),
]
"""In the order in which they are asked. Number 5 of the list, one event per link with both its ids, is in how events are compared."""
