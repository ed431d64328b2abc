"""What the kernel tells about processes: CPU time and memory. Linux."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

Groups = dict[str, list[int]]
"""Process ids by the name they are reported under."""


def cpu_seconds(pid: int) -> float:
    """CPU time that the process has used, in user and kernel mode, all threads; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_of(groups: Groups) -> dict[str, float]:
    """CPU seconds used so far, by group."""
    return {name: sum(map(cpu_seconds, pids)) for name, pids in groups.items()}


def machine_cpu() -> float:
    """CPU seconds that all processes of the machine together have used (waiting for the disk is not use)."""
    user, nice, system, _, _, irq, soft, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICKS


def pss_mb(pid: int) -> float:
    """Memory in megabytes (10^6): private pages, and its share of those that processes share."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024 / 1e6


def memory_of(groups: Groups) -> dict[str, float]:
    """Megabytes by group."""
    return {name: round(sum(map(pss_mb, pids)), 1) for name, pids in groups.items()}


def children(pid: int) -> list[int]:
    """The direct children, in the order of their starting."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
