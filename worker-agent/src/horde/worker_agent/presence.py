"""How long nobody has touched this machine, where its system tells."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

ASK_SECONDS = 5.0


def untouched_seconds() -> float | None:
    """Since the last key, click or line typed; None where the system does not tell."""
    idle_seconds = [seconds for source in _sources() if (seconds := source()) is not None]
    return min(idle_seconds, default=None)


def _sources() -> Iterator[Callable[[], float | None]]:
    if sys.platform == "win32":
        yield _windows
    elif sys.platform == "darwin":
        yield _macos
    else:
        yield _desktop
        yield _terminals


def _windows() -> float | None:
    if sys.platform == "win32":
        import ctypes

        class LastInput(ctypes.Structure):
            _fields_ = (("size", ctypes.c_uint), ("tick", ctypes.c_uint))

        last = LastInput(ctypes.sizeof(LastInput), 0)
        if ctypes.windll.user32.GetLastInputInfo(ctypes.byref(last)):
            # Both count milliseconds in 32 bits, and begin anew every 49 days.
            return float((ctypes.windll.kernel32.GetTickCount() - last.tick) & 0xFFFFFFFF) / 1000
    return None


def _macos() -> float | None:
    found = re.search(r'"HIDIdleTime" = (\d+)', _said("ioreg", "-c", "IOHIDSystem", "-d", "4"))
    return int(found[1]) / 1e9 if found else None


def _desktop() -> float | None:
    """As the desktop tells the session manager, which it does minutes after the last touch at the earliest."""
    idle = []
    for line in _said("loginctl", "list-sessions", "--no-legend").splitlines():
        shown = _said(
            "loginctl", "show-session", line.split()[0], "-p", "Type", "-p", "IdleHint", "-p", "IdleSinceHint"
        )
        facts = dict(splitline.split("=", 1) for splitline in shown.splitlines() if "=" in splitline)
        if facts.get("Type") not in ("x11", "wayland"):
            continue
        since = int(facts.get("IdleSinceHint") or 0) / 1e6
        idle.append(time.time() - since if facts.get("IdleHint") == "yes" and since else 0.0)
    return min(idle, default=None)


def _terminals() -> float | None:
    """Of whoever is logged in on one."""
    touched = []
    for user in psutil.users():
        if user.terminal:
            try:
                touched.append((Path("/dev") / user.terminal).stat().st_atime)
            except OSError:
                continue
    return max(0.0, time.time() - max(touched)) if touched else None


def _said(program: str, *arguments: str) -> str:
    """What a program of the system says; nothing if it is not there or fails."""
    path = shutil.which(program)
    if path is None:
        return ""
    try:
        return subprocess.run([path, *arguments], capture_output=True, text=True, timeout=ASK_SECONDS).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""


def others_percent(own: psutil.Process) -> float:
    """How much of the processor everybody but this process and its children uses, percent, since the last call."""
    whole = psutil.cpu_percent(None)
    mine = 0.0
    for process in [own, *own.children(recursive=True)]:
        try:
            mine += _known.setdefault(process.pid, process).cpu_percent(None)
        except psutil.Error:
            _known.pop(process.pid, None)
    return max(0.0, whole - mine / (psutil.cpu_count() or 1))


_known: dict[int, psutil.Process] = {}
"""A process tells its use since it was last asked, so it must be the same object."""
