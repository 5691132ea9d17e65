"""`horde conform` without a mesh: SDKs before a gateway that misbehaves, and what the kit says of a bad one."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from horde.cli.commands.main import main
from horde.cli.conform.cases.reading import read_cases
from horde.cli.conform.drivers import PYTHON_DRIVER
from horde.cli.conform.running import hold

STUBBORN = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    answer = {"ok": {}} if asked["op"] in ("open", "close") else {"error": {"code": "UNKNOWN", "message": "no"}}
    print(json.dumps({"id": asked["id"], **answer}), flush=True)
"""


TYPESCRIPT = Path(__file__).resolve().parents[3] / "clients/typescript/dist/driver/main.js"
DRIVERS = {"python": PYTHON_DRIVER, "typescript": ("node", str(TYPESCRIPT))}


@pytest.mark.parametrize("language", DRIVERS)
async def test_an_sdk_holds_every_case(language: str) -> None:
    if language == "typescript" and not (shutil.which("node") and TYPESCRIPT.exists()):
        pytest.skip("needs node, and `make sdks`")
    verdicts = [verdict async for verdict in hold(DRIVERS[language], None)]
    assert len(verdicts) == len(read_cases("sdk"))
    assert [verdict for verdict in verdicts if not verdict.passed] == []


def test_an_sdk_that_does_nothing_right_holds_no_case_and_the_command_says_so() -> None:
    driver = f"stubborn={sys.executable} -c '{STUBBORN}'"
    told = CliRunner().invoke(main, ["conform", "--json", "--driver", driver])
    assert told.exit_code == 1, told.output
    verdicts = json.loads(told.stdout)["verdicts"]["stubborn"]
    assert not any(verdict["passed"] for verdict in verdicts)
    assert "step 1" in verdicts[0]["why"]


def test_a_driver_that_ends_is_named_and_not_waited_for() -> None:
    told = CliRunner().invoke(main, ["conform", "--driver", f"gone={sys.executable} -c 'pass'"])
    assert told.exit_code == 1
    assert "gone: open: the driver ended" in told.output


def test_a_table_of_drivers_by_cases_is_markdown() -> None:
    told = CliRunner().invoke(main, ["conform", "--markdown", "--only", "request_id"])
    assert told.exit_code == 0, told.output
    header, line, *rows = told.stdout.splitlines()
    assert (header, line) == ("| case | python |", "|---|---|")
    assert rows == ["| a call is repeated with the same request_id while the mesh is away | yes |"]
