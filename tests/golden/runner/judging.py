"""What is said of a case: the same, different on purpose, or failing."""

from dataclasses import dataclass, field
from typing import Literal

from tests.golden.runner.playing import Played

Status = Literal["same", "different on purpose", "failing"]


@dataclass
class Verdict:
    """Of one case: the rules of docs/medusa-differences.md that explain what differs, and what no rule explains."""

    name: str
    area: str
    rules: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def status(self) -> Status:
        """Failing when anything is not explained."""
        return "failing" if self.failures else "different on purpose" if self.rules else "same"


async def judge(played: Played) -> Verdict:
    """The verdict on a case that was played, while its service still runs."""
    verdict = Verdict(played.case.name, played.case.area)
    for where, mismatch in played.differing:
        verdict.failures.append(f"{where}: {mismatch}")
    return verdict
