"""Whether a measure grows: a slope that single values cannot move, over the second half, against an allowance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import median

FEWEST = 5
"""Samples in the second half; of fewer nothing can be said."""

GO_MB = "MB of Go"
"""Resident memory of a program in Go: its runtime keeps what it has freed, and gives it back when it sees fit."""
ALLOWANCES = {"MB": 8.0, GO_MB: 64.0, "files": 4.0, "tasks": 8.0, "events": 300.0}
"""How much a measure may grow over the second half, by its unit. Memory: an allocator's holes and full caches; of 30
minutes at 300 commands a second it finds 15 bytes that each leaves behind. nats-server's resident memory swings by
tens of MB while it holds the same, so what it holds is judged beside it. Files: a connection. Tasks: subscribers that
come and go. Lag: the events of a second."""


@dataclass
class Series:
    """One measure of one process."""

    name: str
    unit: str
    points: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, value)"""

    def grown(self) -> float:
        """By how much it grew over the second half: the median slope (Theil and Sen), times its length.

        Raises ValueError when there are fewer than 5 samples in it: a process that is not looked at proves nothing.
        """
        half = self.points[len(self.points) // 2 :]
        if len(half) < FEWEST:
            raise ValueError(f"{self.name}: {len(half)} samples are too few")
        return slope(half) * (half[-1][0] - half[0][0])


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between any two points; up to 29 % of outliers do not move it."""
    return median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1)


def offenders(series: Sequence[Series], allowances: Mapping[str, float] = ALLOWANCES) -> list[str]:
    """What grew more than it may."""
    return [
        f"{each.name} by {grown:.1f} {each.unit} in the second half, where {allowances[each.unit]:g} are allowed"
        for each in series
        if (grown := each.grown()) > allowances[each.unit]
    ]
