"""What runs first in each process of a local mesh: ties its life to that of the process that started it.

`python -m horde.cli.local.child PARENT_PID -m MODULE ARGUMENTS...` becomes that module; with a path in place of
`-m MODULE`, that script. A `preexec_fn` would do the same, but needs a fork, which gRPC's threads do not survive.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def die_with(parent: int) -> None:
    """From now on the kernel sends SIGTERM when the parent is gone, however it went. Linux alone can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            # It was gone before we asked.
            sys.exit(128 + signal.SIGTERM)


def main() -> None:
    """Become the program that the arguments name."""
    die_with(int(sys.argv[1]))
    if sys.argv[2] == "-m":
        sys.argv = sys.argv[3:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = sys.argv[2:]
        sys.path.insert(0, os.path.dirname(sys.argv[0]))  # noqa: PTH120 - as Python does for a script
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
