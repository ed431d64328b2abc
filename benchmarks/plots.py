"""The plots that stand beside latest.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import svg

PERCENTILES = ("10", "25", "50", "75", "90", "95", "99", "99.9")


def write(folder: Path, results: Mapping[str, Any]) -> None:
    """Each plot that there are figures for."""
    note = _note(results["facts"])
    for name, draw in (("latency", _latency), ("concurrency", _concurrency), ("growth", _growth)):
        drawn = draw(results, note)
        if drawn:
            (folder / f"{name}.svg").write_text(drawn)


def _note(facts: Mapping[str, Any]) -> str:
    machine, versions = facts["machine"], facts["versions"]
    return (
        f"{machine['cores']} cores of {machine['cpu']}, load included; event store synced before the reply; "
        f"Python {versions['python']}, nats-server {versions['nats-server']}"
    )


def _latency(results: Mapping[str, Any], note: str) -> str:
    rows = [row for row in results["rows"] if "percentiles_ms" in row and row["name"] != "resolve_in_process"]
    lines = {row["name"]: [(float(p), row["percentiles_ms"][p]) for p in PERCENTILES] for row in rows}
    if not lines:
        return ""
    x = svg.steps("percentile of the calls", [float(p) for p in PERCENTILES])
    y = svg.logarithmic("milliseconds", [value for points in lines.values() for _, value in points])
    return svg.chart("Latency", note, x, y, lines)


def _concurrency(results: Mapping[str, Any], note: str) -> str:
    names = {"by_id": "graph: key by id", "create": "link.create"}
    lines = {
        names[workload]: [(float(c), rate) for c, rate in points.items()]
        for workload, points in results["sweeps"].items()
    }
    if not lines:
        return ""
    x = svg.steps("calls in flight", [c for points in lines.values() for c, _ in points])
    y = svg.linear("calls a second", [rate for points in lines.values() for _, rate in points])
    return svg.chart("Throughput over concurrency", note, x, y, lines)


def _growth(results: Mapping[str, Any], note: str) -> str:
    growth = results["growth"].get("p50_ms", {})
    lines = {name: [(float(keys), ms) for keys, ms in points.items()] for name, points in growth.items()}
    if not lines:
        return ""
    x = svg.logarithmic("keys, five links each", [keys for points in lines.values() for keys, _ in points])
    y = svg.linear("milliseconds, p50, one call at a time", [ms for points in lines.values() for _, ms in points])
    return svg.chart("Growth over data size", note, x, y, lines)
