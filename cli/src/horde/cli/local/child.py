"""What runs first in each process of a local mesh: ties its life to that of the process that started it.

`python -m horde.cli.local.child -m MODULE ARGUMENTS...` becomes that module; with a path in place of `-m MODULE`, that
script. Its standard input is a pipe that its parent holds open and never writes to: it ends with the parent, however
that ends, on every system.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def end_with_parent() -> None:
    """From now on this process is told to stop once its parent is gone."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def main() -> None:
    """Become the program that the arguments name."""
    end_with_parent()
    if sys.argv[1] == "-m":
        sys.argv = sys.argv[2:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = sys.argv[1:]
        sys.path.insert(0, os.path.dirname(sys.argv[0]))  # noqa: PTH120 - as Python does for a script
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
