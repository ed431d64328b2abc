"""Where keys, channels and workflows differ from Medusa's on purpose, by the numbers of docs/medusa-differences.md."""

from keyscope import Event
from tests.golden.runner.history import thing_of
from tests.golden.runner.matching import Mismatch
from tests.golden.runner.messages import MUST_PASS, NO_PROPERTY
from tests.golden.runner.operations import READING
from tests.golden.runner.scene import Scene, is_extra, is_missing

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
    if scene.look.step.op in READING or scene.recorded_error or not scene.refused("not_found"):
        return False
    ids = (scene.taken.error or {}).get("ids", [])
    return bool(ids) and set(ids) <= scene.named_ids() and not any(map(scene.played.history.is_there, ids))


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
