"""Playing one case: setup, call, events, what is looked at afterwards; and what differs from what was recorded."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from keyscope import Event, Keyscope, KeyscopeError, NotAllowed, NotFound
from keyscope.events import Subscription
from tests.golden.runner import published
from tests.golden.runner.bindings import UNDEFINED, Bindings
from tests.golden.runner.cases import Case, Look, Step
from tests.golden.runner.flows import Boom
from tests.golden.runner.history import History, Pair
from tests.golden.runner.matching import Matcher, Mismatch
from tests.golden.runner.operations import OPERATIONS, READING

PAUSE = 0.002
"""Seconds after a step that changes something, so that times differ; as the recorder did."""
EVENT_SECONDS = 10.0


@dataclass
class Taken:
    """A step that was played: its data with all references filled in, and what came of it."""

    step: Step
    data: Any
    outcome: dict[str, Any]

    @property
    def error(self) -> dict[str, Any] | None:
        """The error, if it was refused."""
        return self.outcome.get("error")

    @property
    def result(self) -> Any:
        """The result; None when it was refused."""
        return self.outcome.get("result")


@dataclass
class Played:
    """A case that was played."""

    case: Case
    ks: Keyscope
    bindings: Bindings = field(default_factory=Bindings)
    setup: list[Taken] = field(default_factory=list)
    refused_pairs: set[Pair] = field(default_factory=set)
    """Links of the setup that Keyscope refused, so that the setup went on without them."""
    before: dict[int, Taken] = field(default_factory=dict)
    """What was looked at afterwards, as it was before the call; by index in `then`."""
    call: Taken = field(default_factory=lambda: Taken(Step(""), None, {}))
    history: History = field(default_factory=lambda: History([]))
    """What had happened before the call."""
    events: list[Event] = field(default_factory=list)
    """What happened because of it."""
    then: list[Taken] = field(default_factory=list)
    differing: list[tuple[str, Mismatch]] = field(default_factory=list)
    """Where (`setup 2`, `call`, `then 0`) and what."""
    old: set[str] = field(default_factory=set)
    """Every string in what was bound before the call."""

    @property
    def matcher(self) -> Matcher:
        """Compares with what is bound now."""
        return Matcher(self.bindings, self.old)


async def play(case: Case, ks: Keyscope) -> Played:
    """Play a case on empty data."""
    played = Played(case, ks)
    for index, step in enumerate(case.setup):
        await _set_up(played, index, step)
    await _look_before(played)
    start = await position(ks)
    async with ks.events.all(since="beginning") as events:
        played.history = History(await until(events, 0, start))
        await _call(played)
        played.events = await until(events, start, await position(ks))
    _compare(played, "call", played.case.call, played.call.outcome)
    for index, look in enumerate(case.then):
        taken = await _take(played, look.step)
        played.then.append(taken)
        _compare(played, f"then {index}", look, taken.outcome)
    return played


async def _set_up(played: Played, index: int, step: Step) -> None:
    taken = await _take(played, step)
    played.setup.append(taken)
    if taken.error and step.op == "link.create":
        taken = await _link_without_refused(played, taken)
    if taken.error:
        played.differing.append((f"setup {index}", Mismatch(("error",), "a result", taken.error)))
    _bind(played, taken)


async def _link_without_refused(played: Played, taken: Taken) -> Taken:
    """Link those pairs that can be linked in Keyscope: Medusa links also what does not exist."""
    wanted = taken.data if isinstance(taken.data, list) else [taken.data]
    while taken.error and taken.error["type"] in {NotFound.type, NotAllowed.type} and taken.error.get("ids"):
        refused = [link for link in wanted if set(pair_of(link)) & set(taken.error["ids"])]
        if not refused:
            return taken
        played.refused_pairs |= set(map(pair_of, refused))
        wanted = [link for link in wanted if link not in refused]
        taken = await _take(played, Step("link.create", wanted, None, taken.step.name))
    return taken


def pair_of(link: Any) -> Pair:
    """The ids of a link definition's ends."""
    key, channel = link["api_key"], link["sales_channel"]
    return key.get("publishable_key_id", key.get("api_key_id")), channel["sales_channel_id"]


async def _look_before(played: Played) -> None:
    for index, look in enumerate(played.case.then):
        if look.step.op in READING and not _refers_to(look.step, played.case.call.step.name):
            played.before[index] = await _take(played, look.step)


def _refers_to(step: Step, name: str | None) -> bool:
    """Whether the step asks for something that is still to be made."""
    return name is not None and re.search(rf"\${name}\b", json.dumps([step.data, step.options])) is not None


async def _call(played: Played) -> None:
    played.old = played.bindings.strings()
    played.call = await _take(played, played.case.call.step)
    _bind(played, played.call)


async def _take(played: Played, step: Step) -> Taken:
    data, options = played.bindings.fill(step.data), played.bindings.fill(step.options)
    try:
        outcome = {"result": await OPERATIONS[step.op](played.ks, data, options)}
    except KeyscopeError as error:
        outcome = {"error": {"type": error.type, "message": error.message, **error.details}}
    except Boom as error:
        outcome = {"error": {"type": None, "message": str(error)}}
    if step.op not in READING:
        await asyncio.sleep(PAUSE)
    return Taken(step, data, outcome)


def _bind(played: Played, taken: Taken) -> None:
    if taken.step.name and not taken.error:
        played.bindings.bind(taken.step.name, taken.result)


async def position(ks: Keyscope) -> int:
    """Where the event store is now: what an authentication, which changes nothing, was read at."""
    return (await ks.command("api_key.authenticate", "nobody's"))["position"]


async def until(events: Subscription, start: int, end: int) -> list[Event]:
    """The events after the position `start`, up to `end`."""
    came: list[Event] = []
    async with asyncio.timeout(EVENT_SECONDS):
        while (came[-1].position if came else start) < end:
            came.append(await anext(events))
    return came


def _compare(played: Played, where: str, look: Look, outcome: dict[str, Any]) -> None:
    matcher = Matcher(played.bindings, played.old, look.unordered)
    recorded = look.outcome
    found: Sequence[Mismatch]
    if "error" in recorded or "error" in outcome:
        found = _outcome(recorded, outcome, matcher)
    else:
        result = _without_undefined(recorded["result"]) if look.step.op == "shape" else recorded["result"]
        found = matcher.mismatches(result, outcome["result"], ("result",))
    played.differing += [(where, mismatch) for mismatch in found]
    if where == "call":
        events = published.mismatches(recorded.get("events", []), played.events, matcher)
        played.differing += [(where, mismatch) for mismatch in events]


def _outcome(recorded: dict[str, Any], came: dict[str, Any], matcher: Matcher) -> list[Mismatch]:
    """An error on one side, or on both."""
    if "error" not in recorded:
        return [Mismatch(("error",), {"result": recorded["result"]}, came)]
    if "error" not in came:
        return [Mismatch(("error",), recorded, {"result": came["result"]})]
    expected, error = recorded["error"], came["error"]
    same = expected["type"] == error["type"] and matcher.matches(expected["message"], error["message"])
    return [] if same else [Mismatch(("error",), recorded, came)]


def _without_undefined(shape: Any) -> Any:
    """What is undefined in JavaScript is left out in JSON."""
    match shape:
        case dict():
            return {name: _without_undefined(item) for name, item in shape.items() if item != "undefined"}
        case list():
            return [_without_undefined(item) for item in shape]
    return None if shape == UNDEFINED else shape
