"""What clients asked and were told, and the proof that it fits the events: the checker.

The event store puts every change into one order. A history fits when each command can be given a place in that order
between its first sending and its answer, where its outcome is what the sequential specification says (spec.py).
"""

import heapq
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from events.envelope import CloudEvent, decode
from tests.chaos.spec import SPEC, World

Reply = dict[str, Any]


@dataclass
class Operation:
    """One command, sent perhaps many times under one id."""

    id: str
    name: str
    body: Any
    sent: float
    """When it was sent first, by the clock of all clients."""
    answered: float = 0.0
    reply: Reply | None = None
    """The outcome: every later answer must be the same."""
    attempts: int = 0
    job: bool = False

    @property
    def refused(self) -> bool:
        """Whether the outcome is an error."""
        return self.reply is not None and "error" in self.reply

    @property
    def position(self) -> int:
        """The position that its reply names."""
        assert self.reply is not None
        return int(self.reply["position"])

    def __str__(self) -> str:
        return f"{self.name} {self.body} ({self.id}, {self.attempts} times)"


@dataclass
class History:
    """All operations, and the violations that were seen while they went on."""

    operations: list[Operation] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def check(self, rows: Sequence[tuple[int, str, bytes]]) -> list[str]:
        """Every violation, given the whole notification log as (position, topic, stored text)."""
        events = [decode(text).model_copy(update={"position": position}) for position, _, text in rows]
        found = list(self.violations)
        found += _positions(events)
        found += self._effects(events)
        found += self._order(events)
        if not found:
            found += self._outcomes(rows, events)
        return found

    def _effects(self, events: Sequence[CloudEvent]) -> Iterator[str]:
        """Every acknowledged command took effect once, every refused one not at all; nothing else did."""
        by_command: dict[str, list[CloudEvent]] = defaultdict(list)
        for event in events:
            by_command[event.commandid].append(event)
        for operation in self.operations:
            effects = by_command.pop(operation.id, [])
            if operation.reply is None:
                yield f"no answer to {operation}"
            elif operation.refused:
                if effects:
                    yield f"refused and yet done: {operation}"
            else:
                yield from _one_effect(operation, effects)
        for id, effects in by_command.items():
            yield f"nobody sent the command {id} of event {effects[0].id}"

    def _order(self, events: Sequence[CloudEvent]) -> Iterator[str]:
        """Whatever was answered before a command was sent comes before it."""
        answered = [each for each in self.operations if each.reply and not each.refused]
        times, reached = _highest(answered)
        for operation in answered:
            before = bisect_left(times, operation.sent)
            if before and reached[before - 1] > operation.position:
                yield f"{operation} is at {operation.position}, but was sent after {reached[before - 1]} was answered"
            if operation.position > len(events):
                yield f"{operation} was acknowledged at {operation.position}, the store ends at {len(events)}"

    def _outcomes(self, rows: Sequence[tuple[int, str, bytes]], events: Sequence[CloudEvent]) -> Iterator[str]:
        """Each outcome is what the specification says, somewhere between sending and answer."""
        answered = [each for each in self.operations if each.reply and not each.refused]
        times, reached = _highest(answered)
        sent = sorted((each.sent, each.position) for each in answered)
        later = list(accumulate((position for _, position in reversed(sent)), min))[::-1]
        starts: dict[int, list[tuple[int, Operation, str]]] = defaultdict(list)
        first = {event.commandid: event.position for event in reversed(events) if event.cause is None}
        for operation in self.operations:
            before = bisect_left(times, operation.sent)
            low = reached[before - 1] if before else 0
            if operation.refused:
                after = bisect_right(sent, (operation.answered, 1 << 62))
                high = later[after] if after < len(later) else len(rows)
                starts[low].append((max(high, low), operation, "refused"))
            elif operation.id in first:
                starts[first[operation.id] - 1].append((first[operation.id] - 1, operation, "changes"))
            else:
                starts[low].append((operation.position, operation, "nothing"))
        yield from _place(rows, events, starts)


def _place(
    rows: Sequence[tuple[int, str, bytes]],
    events: Sequence[CloudEvent],
    starts: dict[int, list[tuple[int, Operation, str]]],
) -> Iterator[str]:
    """Walk along the log; an operation has found its place as soon as the state allows its outcome."""
    world = World()
    searching: list[tuple[int, int, Operation, str]] = []
    count = 0
    for position in range(len(rows) + 1):
        if position:
            world.apply(rows[position - 1][2], events[position - 1])
        for end, operation, outcome in starts.get(position, ()):
            heapq.heappush(searching, (end, count, operation, outcome))
            count += 1
        searching = [each for each in searching if each[3] not in SPEC[each[2].name](world, each[2].body)]
        heapq.heapify(searching)
        while searching and searching[0][0] <= position:
            _, _, operation, outcome = heapq.heappop(searching)
            yield f"no place for the outcome {outcome!r} of {operation} up to position {position}: {operation.reply}"


def _highest(answered: Sequence[Operation]) -> tuple[list[float], list[int]]:
    """When answers came, in order, and the highest position answered by then."""
    answers = sorted((each.answered, each.position) for each in answered)
    return [time for time, _ in answers], list(accumulate((position for _, position in answers), max))


def _positions(events: Sequence[CloudEvent]) -> Iterator[str]:
    if [event.position for event in events] != list(range(1, len(events) + 1)):
        yield "the event store's positions have holes"
    if len({event.id for event in events}) != len(events):
        yield "an event id stands in the event store twice"


def _one_effect(operation: Operation, effects: Sequence[CloudEvent]) -> Iterator[str]:
    assert operation.reply is not None
    own = [event for event in effects if event.position <= operation.position]
    swept = effects[len(own) :]
    if any(event.cause is None for event in swept):
        yield f"done again after it was acknowledged: {operation}"
    if own and [event.position for event in own] != list(range(own[0].position, operation.position + 1)):
        yield f"its events are not one transaction: {operation}"
    changed = list(dict.fromkeys(event.data.model_dump()["id"] for event in own))
    if changed != operation.reply["changed"]:
        yield f"it says it changed {operation.reply['changed']}, its events say {changed}: {operation}"
