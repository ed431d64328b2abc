"""Where links differ from Medusa's on purpose, by the numbers of docs/medusa-differences.md."""

from typing import Any

from keyscope import Event
from tests.golden.runner.bindings import UNDEFINED
from tests.golden.runner.history import Pair, thing_of
from tests.golden.runner.matching import ABSENT, LINK_TABLE, Mismatch
from tests.golden.runner.messages import DEFINITION, LOST
from tests.golden.runner.playing import Taken, pair_of
from tests.golden.runner.published import Fact
from tests.golden.runner.scene import RELATIONS, Scene, is_extra, is_missing

LINKING = ("link.create", "workflow.run", "workflow.steps")

SWEPT = frozenset({"api_key.deleted", "sales_channel.deleted"})


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
    lost = LOST.match((scene.recorded_error or {}).get("message", ""))
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
        pairs = [_pair_of_row(scene, mismatch.recorded)]
    return any(isinstance(pair, tuple) and not all(map(scene.history.is_there, pair)) for pair in pairs)


def _pair_of_row(scene: Scene, fact: Fact) -> Pair | None:
    """The pair whose link's id a recorded event names."""
    return scene.played.history.pair_of_link(scene.played.bindings.fill(fact.id))


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
    return kept and mismatch.path[-1] == "id" and history.is_linked(scene.thing(mismatch))


async def restores_what_was_deleted(scene: Scene, mismatch: Mismatch) -> bool:
    """4: what comes back is what was deleted with it: not what was dismissed on purpose, but its links all."""
    history, fact, thing = scene.played.history, mismatch.recorded, scene.thing(mismatch)
    if isinstance(fact, Fact) and scene.op == "link.restore":
        pair = _pair_of_row(scene, fact)
        return history.is_linked(pair) or history.gone_because(pair) == "dismissed"
    if isinstance(mismatch.came, Event):
        event = mismatch.came
        return (
            scene.op.endswith(".restore")
            and event.name == "link.created"
            and event.data["restored"]
            and history.gone_because(thing_of(event)) in SWEPT
        )
    if not isinstance(thing, tuple):
        return False
    if scene.history.came_back(thing) and (is_extra(mismatch) or mismatch.path[-1] == "deleted_at"):
        return True
    dismissed = scene.history.gone_because(thing) == "dismissed" and history.gone_because(thing) == "dismissed"
    restoring = scene.played.call.step.op.endswith(".restore")
    return restoring and dismissed and (is_missing(mismatch) or mismatch.path[-1] == "deleted_at")


async def goes_with_its_ends(scene: Scene, mismatch: Mismatch) -> bool:
    """11: a key's or a channel's links go when it is deleted, by whichever call."""
    if isinstance(mismatch.came, Event):
        event = mismatch.came
        return event.name == "link.dismissed" and event.data["reason"] in SWEPT and event.cause is not None
    if isinstance(mismatch.recorded, Fact):
        reason = scene.played.history.gone_because(_pair_of_row(scene, mismatch.recorded))
        return mismatch.recorded.names == ("link.dismissed",) and reason in SWEPT
    thing = scene.thing(mismatch)
    if not isinstance(thing, tuple) or scene.history.gone_because(thing) not in SWEPT:
        return False
    return is_missing(mismatch) or (mismatch.path[-1] in {"deleted_at", "updated_at"} and mismatch.came is not ABSENT)


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
