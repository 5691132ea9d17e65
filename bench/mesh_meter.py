"""Whose processor time it was: of each process of a mesh, its children included."""

from __future__ import annotations

from collections.abc import Mapping

import psutil


def processor_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """User and system seconds so far, by name."""
    return {name: _of(psutil.Process(pid)) for name, pid in pids.items()}


def _of(process: psutil.Process) -> float:
    total = 0.0
    for member in (process, *process.children(recursive=True)):
        times = member.cpu_times()
        total += times.user + times.system
    return total


def machine_seconds() -> float:
    """Seconds that all cores together were busy with anything so far."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


def memory_mb(pids: Mapping[str, int]) -> dict[str, float]:
    """Resident megabytes now, by name."""
    return {name: psutil.Process(pid).memory_info().rss / 1e6 for name, pid in pids.items()}
