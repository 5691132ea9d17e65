"""Programs with the S3 client end with their own status, whatever its threads do: nothing is taken apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import atexit, logging, logging.handlers, sys
from horde.services.exiting import run_program

class Library:
    def __del__(self):
        print("taken apart", flush=True)

library = Library()
atexit.register(lambda: print("bye"))
log = logging.handlers.MemoryHandler(10, target=logging.StreamHandler(sys.stdout))
log.emit(logging.makeLogRecord({"msg": "logged", "levelno": logging.INFO}))
sys.stdout.write("said ")

def main():
    ENDS

END(main)
"""


@pytest.mark.parametrize(
    ("ends", "status", "error"),
    [
        ("return", 0, ""),
        ("return 3", 3, ""),
        ("sys.exit(5)", 5, ""),
        ("sys.exit('no such bucket')", 1, "no such bucket\n"),
        ("raise ValueError('a defect')", 1, "ValueError: a defect\n"),
    ],
)
def test_a_program_ends_with_its_status_and_all_it_said_and_nothing_is_taken_apart(
    ends: str, status: int, error: str
) -> None:
    code = PROGRAM.replace("ENDS", ends)
    ran = subprocess.run([sys.executable, "-c", code.replace("END", "run_program")], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (status, "said bye\nlogged\n")
    assert ran.stderr.endswith(error)
    # As Python does it by itself, but for the last step.
    usual = subprocess.run([sys.executable, "-c", code.replace("END(main)", "sys.exit(main())")], capture_output=True)
    assert usual.returncode == status
    assert b"taken apart" in usual.stdout


def test_whatever_speaks_to_a_store_ends_so() -> None:
    users = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("*/src/**/*.py") if "S3Bucket(" in path.read_text()}
    users -= {"buckets", "testkit"}
    assert {"auditor", "cli", "curation", "data-releases", "storage-router"} <= users
    for user in users - {"cli"}:
        (main,) = ROOT.glob(f"{user}/src/horde/*/__main__.py")
        assert "    run_program(main)" in main.read_text()
    assert "end_process(" in (ROOT / "cli/src/horde/cli/commands/doctor.py").read_text()
