"""Where errors and answers differ from Medusa's on purpose, by the numbers of docs/medusa-differences.md."""

import re
from typing import Any

from keyscope import Event
from tests.golden.runner.bindings import UNDEFINED
from tests.golden.runner.composing import is_its_parts
from tests.golden.runner.matching import Mismatch
from tests.golden.runner.messages import DEFINITION, MUST_PASS, NO_PROPERTY
from tests.golden.runner.scene import RELATIONS, Scene, has_undefined, is_missing

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
    """10: what is no id, or not of its type, is refused; Medusa stores it, ignores it or takes it for all."""
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


async def expressions_are_linear(scene: Scene, mismatch: Mismatch) -> bool:
    """22: regular expressions have no look-around and no back-references, so that none takes for ever."""
    told = scene.refused("invalid_data") and "not a regular expression" in scene.message
    beyond = any(re.search(r"\(\?[=!<]|\\[1-9mMyYAZ]", text) for text in scene.named_ids())
    return scene.recorded_error is None and told and beyond


async def not_recorded(scene: Scene, mismatch: Mismatch) -> bool:
    """Not a difference: of many calls at once, and of 20 links at once, the recorder kept no events."""
    many = scene.look.step.op == "parallel" or len(scene.named_pairs()) >= 20
    return many and isinstance(mismatch.came, Event) and "events" not in scene.look.outcome
