"""Medusa, measured in the same run, and how many times as fast Keyscope is."""

import os
import subprocess
import sys

from benchmarks.results import PEER, Peers, Row

SKIP = "http cache plain floor"
"""Of the peer's own suite: what has no row here."""


def measure(seconds: float) -> None:
    """Measure Medusa on this machine (peers/medusa/README.md tells what that needs). Raises CalledProcessError."""
    environment = {"PYTHON": sys.executable, "SKIP": SKIP, "BENCH_SECONDS": f"{seconds:g}", **os.environ}
    subprocess.run([str(PEER / "run.sh")], env=environment, check=True)


def ratios(rows: list[Row]) -> str:
    """The rows beside the peer's newest figures, as a table."""
    peers = Peers()
    lines = [f"Medusa {peers.machine['medusa']} on {peers.machine['cpu']}, {peers.machine['date']}", ""]
    lines.append(f"{'row':26}{'Keyscope':>12}{'Medusa':>12}{'times':>8}")
    for row in rows:
        beside = peers.beside(row["name"], row)
        if beside:
            lines.append(
                f"{row['name']:26}{row['rate']:>12,.0f}{beside['medusa']['rate']:>12,.1f}{beside['times_medusa']:>8.1f}"
            )
    return "\n".join(lines)
