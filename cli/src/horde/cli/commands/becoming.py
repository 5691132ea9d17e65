"""Commands that become another program: its options, its signals and its exit status are its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

BECOMES_ANOTHER: Final = (
    "serve",
    "release",
    "ratings train",
    "ratings evaluate",
    "storage",
    "worker start",
    "worker doctor",
    "worker status",
    "worker pause",
    "worker resume",
    "worker stop",
    "worker models",
)
"""The commands that do. All others have --json."""


def become(module: str, arguments: Sequence[str]) -> NoReturn:
    """Run `python -m module` with these arguments in the place of this process."""
    command = [sys.executable, "-m", module, *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform == "win32":
        # There a process cannot take another's place: this one waits, and ends as it did.
        sys.exit(subprocess.call(command))  # noqa: S603
    os.execv(sys.executable, command)  # noqa: S606
