"""`python -m horde.auditor`, which is `horde storage audit`."""

from __future__ import annotations

from horde.auditor.commands import main
from horde.services.exiting import run_program

if __name__ == "__main__":
    run_program(main)
