"""What a process costs: CPU seconds, memory, and the machine it was measured on."""

import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Reading:
    """A process at one moment."""

    at: float
    """Monotonic seconds."""
    cpu_seconds: float
    """User and system, all threads."""
    rss_bytes: int


def read(pid: int) -> Reading:
    """Ask the kernel."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Reading(time.monotonic(), (int(stat[11]) + int(stat[12])) / _TICKS, resident * _PAGE)


def pin(pid: int, core: int) -> None:
    """Keep a process, and the threads it will make, on one core (modulo what the machine has)."""
    cores = sorted(os.sched_getaffinity(0))
    chosen = {cores[core % len(cores)]}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), chosen)


def machine() -> str:
    """Class of machine, for the head of a table."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return f"{len(os.sched_getaffinity(0))} cores ({model}), Python {platform.python_version()}"


def median(values: Sequence[float]) -> float:
    """Of the runs."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0..1) of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
