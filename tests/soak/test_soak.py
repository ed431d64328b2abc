"""The soak in short, and that it would see what grows."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.growth import ALLOWANCES, Series, offenders
from tests.soak.run import Report
from tests.soak.watch import Watch

LEAKING = """
import os, sys
kept = []
for line in sys.stdin:
    if line == "memory\\n":
        kept.append(bytearray(os.urandom(1_000_000)))
    elif line == "files\\n":
        kept.append(open(os.devnull))
    print("done", flush=True)
"""


def test_a_short_soak(tmp_path: Path) -> None:
    """It works, to the last line; of so short a time nothing but a flood of memory can be judged."""
    command = [sys.executable, "-m", "tests.soak", "--minutes", "0.3", "--megabytes", "100"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={"TMPDIR": str(tmp_path)}
    )
    assert done.stdout.endswith("growth: none\n"), done.stdout + done.stderr
    assert done.returncode == 0
    for name in ("commands", "reads", "http", "supervisor", "load"):
        assert f"| {name}: memory | MB |" in done.stdout
    assert "| nats-server: memory | MB of Go |" in done.stdout
    assert "| nats-server: memory in use | MB |" in done.stdout
    for measure in ("reads: keyscope_relay_lag_events", "reads: keyscope_projection_lag_events"):
        assert f"| {measure} | events |" in done.stdout
    assert "| commands: keyscope_tasks | tasks |" in done.stdout


@pytest.mark.parametrize("leak", ["nothing", "memory", "files"])
def test_a_process_that_leaks_is_named(leak: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LEAKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        watch = Watch({"leaky": process.pid})
        for _ in range(40):
            process.stdin.write(f"{leak}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            asyncio.run(watch.look())
        process.stdin.close()
    report = Report(1, {}, [], list(watch.series.values()), ALLOWANCES)
    verdict = report.lines()[-1]
    if leak == "nothing":
        assert verdict == "growth: none"
        assert not report.violations()
    else:
        measure = {"memory": "memory", "files": "open files"}[leak]
        assert verdict.startswith(f"growth: leaky: {measure} by ")
        assert len(report.violations()) == 1


def test_growth_is_told_from_noise() -> None:
    noisy = Series("noisy", "MB", [(n, 100 + 20 * (n % 7)) for n in range(100)])
    warm = Series("warm", "MB", [(n, min(n, 40)) for n in range(100)])
    peak = Series("peak", "MB", [(n, 500 if 70 < n < 80 else 100) for n in range(100)])
    leak = Series("leak", "MB", [(n, 100 + 0.3 * n + 20 * (n % 7)) for n in range(100)])
    assert [text.split()[0] for text in offenders([noisy, warm, peak, leak])] == ["leak"]


def test_what_was_hardly_looked_at_is_not_judged() -> None:
    with pytest.raises(ValueError, match="too few"):
        offenders([Series("one", "MB", [(0.0, 1.0)])])


def test_an_error_is_a_violation() -> None:
    report = Report(1, {}, ["Timeout: no answer"], [], ALLOWANCES, log="what was wrong\n")
    assert report.lines()[-3:] == [
        "what was wrong",
        "VIOLATION an answer was Timeout: no answer",
        "growth: an answer was Timeout: no answer",
    ]
