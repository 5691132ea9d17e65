"""`python -m horde.data_releases`, which is `horde release`: the operator's job, and the researcher's commands."""

from __future__ import annotations

from horde.data_releases.commands import main
from horde.services.exiting import run_program

if __name__ == "__main__":
    run_program(main)
