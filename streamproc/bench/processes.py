"""CPU time and memory of other processes, where the system tells them (Linux)."""

from __future__ import annotations

from collections.abc import Iterable
from os import sysconf
from pathlib import Path

_PROC = Path("/proc")


def cpu_seconds(pids: Iterable[int]) -> float | None:
    """User and system time of the processes so far; None where /proc does not tell it."""
    total = 0.0
    for pid in pids:
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        total += (int(fields[11]) + int(fields[12])) / sysconf("SC_CLK_TCK")
    return total


def peak_rss_bytes(pid: int) -> int | None:
    """Largest resident size a process ever had; None where /proc does not tell it."""
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith("VmHWM")), None)
    return int(kilobytes) * 1024 if kilobytes else None
