"""The report: a table of areas, every failure with what differs, and the same as JSON."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.golden.runner.judging import Verdict, failing

SHOWN = 5


def report(verdicts: Sequence[Verdict], *, target: Path) -> str:
    """The report as text. Writes it to `target` as JSON too."""
    areas = sorted({verdict.area for verdict in verdicts})
    by_area = {area: [verdict for verdict in verdicts if verdict.area == area] for area in areas}
    target.write_text(json.dumps(_as_json(by_area), indent=1, ensure_ascii=False) + "\n")
    lines = [f"{'area':24} {'cases':>5} {'same':>5} {'on purpose':>10} {'failing':>7}  by difference"]
    lines += [_line(area, of_area) for area, of_area in by_area.items()]
    lines += [_line("all", verdicts)]
    for verdict in failing(verdicts):
        lines += [f"\n{verdict.area} · {verdict.name}", *(f"    {text}" for text in verdict.failures[:SHOWN])]
        lines += [f"    and {len(verdict.failures) - SHOWN} more"] * (len(verdict.failures) > SHOWN)
    return "\n".join(lines)


def _line(name: str, verdicts: Sequence[Verdict]) -> str:
    count = Counter(verdict.status for verdict in verdicts)
    numbers = Counter(number for verdict in verdicts for number in verdict.differences)
    by_number = " ".join(f"{number}:{times}" for number, times in sorted(numbers.items()))
    purpose = count["different on purpose"]
    return f"{name:24} {len(verdicts):5} {count['same']:5} {purpose:10} {count['failing']:7}  {by_number}".rstrip()


def _as_json(by_area: dict[str, list[Verdict]]) -> dict[str, object]:
    return {
        area: [
            {
                "name": verdict.name,
                "status": verdict.status,
                "differences": verdict.differences,
                "explained": verdict.explained,
                "failures": verdict.failures,
            }
            for verdict in verdicts
        ]
        for area, verdicts in by_area.items()
    }
