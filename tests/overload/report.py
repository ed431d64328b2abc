"""What the overload run leaves in benchmarks/results: a table, the figures, and the curve."""

import json
from pathlib import Path

from benchmarks import svg
from tests.overload.run import DOORS, IN_FLIGHT, P99_MS, RECOVERS_SECONDS, Report

FOLDER = Path(__file__).parents[2] / "benchmarks" / "results"

HEADINGS = (
    "| load | offered/s | carried out/s | refused/s | p50 ms | p95 ms | p99 ms | p99 of refusals ms "
    "| try again after ms | recovered after s | unanswered | memory MB: before, most, after |"
)
VIOLATION = (
    "A violation is: a request without an answer, an answer that is neither a result nor `unavailable`, a refusal "
    f"that does not tell when to try again, a p99 over {P99_MS:,.0f} ms, a recovery after {RECOVERS_SECONDS:g} s or "
    "later, less than half of the throughput at 1x."
)


def write(report: Report, folder: Path = FOLDER) -> None:
    """overload.md, overload.json and overload.svg."""
    (folder / "overload.md").write_text(table(report))
    (folder / "overload.json").write_text(json.dumps(report.as_json(), indent=1) + "\n")
    (folder / "overload.svg").write_text(_curve(report))


def _about(report: Report) -> str:
    machine = report.facts["machine"]
    return (
        f"`make overload`, {report.facts['seconds']:g} s a row, on {machine['cores']} cores of {machine['cpu']} that "
        "load, nats-server and all services share (at 10x the load alone takes about one); other programs used "
        f"{report.facts['busy_elsewhere_cores']} cores when it began. The sustainable rate is that of {IN_FLIGHT} "
        "calls in flight. Then requests are sent when they are due, answered or not, and latencies count from then. "
        "What is neither carried out nor refused was waiting when the load ended, and was answered after it."
    )


def table(report: Report) -> str:
    """The Markdown page."""
    lines = [
        "# Overload",
        "",
        _about(report),
    ]
    for door, rows in report.rows.items():
        lines += [
            "",
            f"## {DOORS[door]}: {report.sustainable[door]:,.0f} a second are sustainable",
            "",
            HEADINGS,
            "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
        ]
        for times, row in rows.items():
            memory = [round(sum(each)) for each in zip(*row.memory_mb.values(), strict=True)]
            lines.append(
                f"| {times}x | {row.offered:,.0f} | {row.accepted:,.0f} | {row.refused:,.0f} | {row.p50_ms:,.1f} "
                f"| {row.p95_ms:,.1f} | {row.p99_ms:,.1f} | {row.refused_p99_ms:,.1f} "
                f"| {' to '.join(map(str, row.retry_after_ms))} | {row.recovered_s} | {row.unanswered} "
                f"| {', '.join(map(str, memory))} |"
            )
    lines += [
        "",
        "![carried out over offered](overload.svg)",
        "",
        VIOLATION,
        "",
        *(f"* VIOLATION {violation}" for violation in report.violations()),
        f"violations: {len(report.violations())}",
    ]
    return "\n".join([*lines, ""])


def _curve(report: Report) -> str:
    lines = {
        f"{DOORS[door]}, {what}": [(row.offered, getattr(row, what.replace(" ", "_"))) for row in rows.values()]
        for door, rows in report.rows.items()
        for what in ("accepted", "refused")
    }
    points = [point for each in lines.values() for point in each]
    x = svg.logarithmic("offered, requests a second", [offered for offered, _ in points])
    y = svg.linear("answered a second while the load lasts", [answered for _, answered in points])
    return svg.chart("Overload", f"{report.facts['seconds']:g} s a point, open loop, load included", x, y, lines)
