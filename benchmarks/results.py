"""The results on disk: latest.json, and the table that is made of it.

A row or fact that this run did not measure keeps its last measured value, with its own date.
"""

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.rows import FACT_LIMITS, ORDER, PEERS, TARGETS, TITLES

FOLDER = Path(__file__).parent / "results"
LATEST = FOLDER / "latest.json"
PEER = Path(__file__).parent / "peers" / "medusa"
MEDUSA = (FOLDER / "medusa" / "results.json", PEER / "results.json")
"""A measurement on this very machine, if there is one; else the one that comes along."""
PERCENTILE_FIELDS = {"p50_ms": "50", "p95_ms": "95", "p99_ms": "99", "p999_ms": "99.9"}

BUSY = 0.2
"""Cores in use by others from which on the rates say little."""
ALMOST_ALL = 0.9
"""The share of a core from which on it counts as saturated."""

Row = dict[str, Any]


def today() -> str:
    """The time of a measurement, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ")


def row(name: str, measured: Mapping[str, Any], peers: "Peers", **more: Any) -> Row:
    """A row for latest.json."""
    percentiles = measured.get("percentiles_ms", {})
    made: Row = {"name": name, "title": TITLES.get(name, name), "measured": today()}
    made |= {field: percentiles.get(key) for field, key in PERCENTILE_FIELDS.items()}
    made |= dict(measured) | more
    if name in TARGETS:
        made |= {"target": str(TARGETS[name]), "met": TARGETS[name].met_by(made)}
    return made | {"saturated": _saturated(made)} | peers.beside(name, made)


def _saturated(made: Row) -> str:
    """What has no time left: all cores, or one process on its one thread; nothing when they wait, for the disk say."""
    calls = made.get("calls", made.get("events", 0)) / made["seconds"]
    busy = {name: us * calls / 1e6 for name, us in made["cpu_us_per_call"].items()}
    if sum(busy.values()) + made.get("elsewhere", 0) >= ALMOST_ALL * len(os.sched_getaffinity(0)):
        return "all cores"
    name = max(busy, key=busy.__getitem__)
    return name if busy[name] >= ALMOST_ALL else ""


class Peers:
    """Medusa's figures for the same work."""

    def __init__(self) -> None:
        kept = json.loads(next(file for file in MEDUSA if file.exists()).read_text())
        self._all = [each for each in kept["results"] if each["via"] == "in-process"]
        self.machine: dict[str, Any] = kept["machine"]

    def beside(self, name: str, made: Row) -> Row:
        """What Medusa did, and how many times that this is: of rates with many calls in flight, of medians with one."""
        if name not in PEERS:
            return {}
        dataset, begins, concurrency = PEERS[name]
        found = [
            each
            for each in self._all
            if (each["dataset"], each["concurrency"]) == (dataset, concurrency) and each["name"].startswith(begins)
        ]
        if not found:
            return {}
        theirs = found[0]
        rate = theirs.get("items_per_s", theirs["ops_per_s"])
        ratio = theirs["p50_ms"] / made["p50_ms"] if concurrency == 1 else made["rate"] / rate
        return {
            "medusa": {"rate": rate, "p50_ms": theirs["p50_ms"], "p99_ms": theirs["p99_ms"]},
            "times_medusa": round(ratio, 1),
        }


def read() -> dict[str, Any]:
    """latest.json as it is; empty when there is none."""
    if LATEST.exists():
        kept: dict[str, Any] = json.loads(LATEST.read_text())
        return kept
    return {"rows": [], "facts": {}, "sweeps": {}, "growth": {}}


def merged(rows: Iterable[Row], facts: Mapping[str, Any], **plots: Any) -> dict[str, Any]:
    """latest.json with this run's results in place of older ones."""
    old = read()
    new = {each["name"]: {**each, "kept": False} for each in rows}
    kept = {each["name"]: {**each, "kept": True} for each in old["rows"]}
    both = kept | new
    order = {name: i for i, name in enumerate(ORDER)}
    measured = dict.fromkeys(facts, today())
    return {
        "rows": sorted(both.values(), key=lambda each: (order.get(each["name"], len(order)), each["name"])),
        "facts": {
            **dict.fromkeys(FACT_LIMITS),
            **old["facts"],
            **facts,
            "measured": {**old["facts"].get("measured", {}), **measured},
        },
        "sweeps": {**old.get("sweeps", {}), **plots.get("sweeps", {})},
        "growth": plots.get("growth") or old.get("growth", {}),
    }


def write(results: Mapping[str, Any], peers: Peers) -> None:
    """latest.json and latest.md."""
    FOLDER.mkdir(exist_ok=True)
    LATEST.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    (FOLDER / "latest.md").write_text(markdown(results, peers))


COLUMNS = (
    "row", "rate /s", "target", "met", "times Medusa", "p50 ms", "p95", "p99", "p99.9",
    "CPU µs per call: nats", "commands", "reads", "http", "load", "saturated", "memory MB", "elsewhere", "measured",
)  # fmt: skip


def markdown(results: Mapping[str, Any], peers: Peers) -> str:
    """The tables, for people."""
    facts = results["facts"]
    limited = sorted((name for name, value in facts.items() if not isinstance(value, dict)), key=_limited_first)
    lines = ["# Keyscope, measured", "", *_circumstances(facts, peers), ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|---|---:|---|---|" + "---:|" * 10 + "---|---:|---:|---|"]
    lines += [line(each) for each in results["rows"]]
    lines += ["", "| fact | value | limit | measured |", "|---|---:|---:|---|"]
    for name in limited:
        measured = facts["measured"].get(name, "never yet")
        lines.append(f"| {name} | {_fact(facts[name])} | {FACT_LIMITS.get(name, '')} | {measured} |")
    return "\n".join([*lines, ""])


def _circumstances(facts: Mapping[str, Any], peers: Peers) -> list[str]:
    here, theirs = facts["machine"], peers.machine
    machine = f"{here['cores']} cores of {here['cpu']}, {here['memory_gib']} GiB; {here['kernel']}"
    disk = f"{here['file_system']}, where an fdatasync takes {here['fdatasync_p50_ms']} ms (p50)"
    peer = f"{theirs['cores']} cores of {theirs['cpu']}, {theirs['date']}"
    busy = facts["busy_elsewhere_cores"]
    warning = f"**The machine was busy with other programs: {busy} cores before the start.**"
    return [
        *([warning, ""] if busy > BUSY else []),
        f"{machine}; {disk}. Load, nats-server and all services share these cores.",
        "",
        *(f"* {what}: {how}" for what, how in facts["durability"].items()),
        f"* {', '.join(f'{name} {number}' for name, number in facts['versions'].items())}",
        "",
        f"Medusa {theirs['medusa']}, called in process, on {peer}: of one call at a time the medians are compared,",
        "else the rates. Elsewhere: cores that other programs used meanwhile. † kept from an earlier run.",
    ]


def _limited_first(name: str) -> tuple[bool, str]:
    return name not in FACT_LIMITS, name


def line(each: Row) -> str:
    """A row of the table."""
    cpu = each.get("cpu_us_per_call", {})
    cells = [
        each["title"] + (" †" if each.get("kept") else ""),
        _number(each.get("rate")),
        each.get("target", ""),
        {True: "yes", False: "**no**", None: ""}[each.get("met")],
        _number(each.get("times_medusa")),
        *(_number(each.get(field)) for field in PERCENTILE_FIELDS),
        *(_number(cpu.get(name)) for name in ("nats-server", "commands", "reads", "http", "load")),
        each.get("saturated", ""),
        _number(sum(mb for name, mb in each.get("memory_mb", {}).items() if name != "load")),
        _number(each.get("elsewhere")),
        each["measured"],
    ]
    return f"| {' | '.join(cells)} |"


def _fact(value: Any) -> str:
    return _number(value) if isinstance(value, int | float | None) else str(value)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
