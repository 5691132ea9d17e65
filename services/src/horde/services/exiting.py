"""The end of a process whose libraries have threads that Python knows nothing of.

The S3 client (`obstore`) runs on threads of its own, and nothing can stop them or wait for them. One that comes back
with an answer attaches to the interpreter; while that is taken apart, this aborts the process (SIGABRT, seen after
commands of a second on a busy machine: pyo3-async-runtimes, issue 40). So the interpreter is not taken apart: what has
to be written is written, and the process ends.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NoReturn, cast

FAILED = 1


def run_program(main: Callable[[], object]) -> NoReturn:
    """Run a program and end the process with its status: what it exits with, or returns, as `sys.exit` takes it."""
    try:
        status = _status(main())
    except SystemExit as leaving:
        status = _status(leaving.code)
    except BaseException:  # noqa: BLE001 - as the interpreter does with whatever comes to its end
        sys.excepthook(*cast("tuple[type[BaseException], BaseException, TracebackType]", sys.exc_info()))
        status = FAILED
    end_process(status)


def end_process(status: int) -> NoReturn:
    """End at once, with what was said and logged written out."""
    with suppress(Exception):
        atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # Nobody may read it any more.
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _status(said: object) -> int:
    if said is None or isinstance(said, int):
        return said or 0
    sys.stderr.write(f"{said}\n")
    return FAILED
