"""What is said of a case that was played: the same, different on purpose, or failing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from keyscope import Event
from tests.golden.runner.differences import RULES
from tests.golden.runner.matching import Mismatch
from tests.golden.runner.playing import Played
from tests.golden.runner.scene import Scene, is_extra, is_missing

Status = Literal["same", "different on purpose", "failing"]

NOT_A_DIFFERENCE = 0


@dataclass
class Verdict:
    """Of one case: the numbers of docs/medusa-differences.md that explain what differs, and what nothing explains."""

    name: str
    area: str
    differences: list[int] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def status(self) -> Status:
        """Failing when anything is not explained."""
        return "failing" if self.failures else "different on purpose" if self.differences else "same"


async def judge(played: Played) -> Verdict:
    """The verdict, while the case's service still runs."""
    verdict = Verdict(played.case.name, played.case.area)
    numbers: set[int] = set()
    of_call: set[int] = set()
    of_rows: dict[str, set[int]] = {}
    for where, mismatch in played.differing:
        scene = _scene(played, where)
        found = await _explanation(scene, mismatch) if scene else set()
        if not found and scene and _is_count_of_rows(played, where, mismatch):
            found = of_rows.get(where, set())
        if where == "call" and mismatch.path[0] != "events":
            of_call |= found
        if mismatch.path[:2] == ("result", "data"):
            of_rows.setdefault(where, set()).update(found)
        found = found or (_consequence(scene, mismatch, of_call) if scene else set())
        numbers |= found
        text = f"{where}: {mismatch}"
        if found:
            verdict.explained.append(text)
        else:
            verdict.failures.append(text)
    verdict.differences = sorted(numbers - {NOT_A_DIFFERENCE})
    return verdict


def _scene(played: Played, where: str) -> Scene | None:
    """Nothing explains a setup that fails."""
    kind, *index = where.split()
    if kind == "call":
        return Scene(played, where, played.case.call, played.call)
    return Scene(played, where, played.case.then[int(index[0])], played.then[int(index[0])]) if kind == "then" else None


async def _explanation(scene: Scene, mismatch: Mismatch) -> set[int]:
    for rule in RULES:
        if await rule.explains(scene, mismatch):
            return {rule.number}
    return set()


def _is_count_of_rows(played: Played, where: str, mismatch: Mismatch) -> bool:
    """Whether a count differs by just as many rows as the data beside it."""
    if mismatch.path != ("result", "metadata", "count") or not isinstance(mismatch.recorded, int):
        return False
    rows = [other for at, other in played.differing if at == where and other.path[:2] == ("result", "data")]
    more = sum(is_extra(row) for row in rows) - sum(is_missing(row) for row in rows)
    return bool(mismatch.came == mismatch.recorded + more)


def _consequence(scene: Scene, mismatch: Mismatch, of_call: set[int]) -> set[int]:
    """What follows from a difference in the call itself.

    Where Keyscope refused, nothing has happened; where Medusa refused, what Keyscope's events say has happened.
    """
    call, recorded = scene.played.call, scene.played.case.call.outcome
    if call.error and of_call:
        undone = (
            is_missing(mismatch) and not scene.played.events
            if mismatch.path[0] == "events"
            else scene.as_before(mismatch)
        )
        return of_call if undone else set()
    if "error" in recorded and not call.error:
        done = isinstance(mismatch.came, Event) if mismatch.path[0] == "events" else scene.touched(mismatch)
        return of_call if done else set()
    return of_call if not scene.is_call and scene.touched(mismatch) else set()


def failing(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those that fail."""
    return [verdict for verdict in verdicts if verdict.failures]
