"""The cases of `horde conform`, through the web door: by the contract's paths, and by AI Horde's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests.mesh.v1.calling import Caller

from horde.cli.conform.cases.reading import read_cases
from horde.cli.conform.drivers import HTTP_DRIVER, V2_DRIVER, driving
from horde.cli.conform.running import hold
from horde.cli.conform.suite import Verdict, needs_met
from horde.cli.conform.table import as_markdown
from horde.cli.local.mesh import LocalMesh
from horde.clients.specs import DEFAULT_MODEL
from horde.testkit.waiting import ticks

pytestmark = pytest.mark.asyncio(loop_scope="session")
TABLE = Path(__file__).parents[3] / "clients" / "conformance.md"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def verdicts(mesh: LocalMesh, stranger: Caller) -> Mapping[str, Sequence[Verdict]]:
    """What holds of each door of HTTP."""
    async with driving(HTTP_DRIVER) as driver:
        for _ in ticks():
            if "worker" in await needs_met(driver, mesh.web, DEFAULT_MODEL):
                break
    return {
        "http": [verdict async for verdict in hold(HTTP_DRIVER, mesh.web)],
        "v2": [verdict async for verdict in hold(V2_DRIVER, mesh.web, words="v2")],
    }


@pytest.mark.parametrize(("door", "least"), [("http", 82), ("v2", 47)])
async def test_each_door_holds_every_case_of_horde_conform_that_it_can_say(
    verdicts: Mapping[str, Sequence[Verdict]], door: str, least: int
) -> None:
    found = verdicts[door]
    assert len(found) == len(read_cases("mesh")) >= 80
    wrong = [f"{verdict.case}: {verdict.why}" for verdict in found if not (verdict.passed or verdict.skipped)]
    assert not wrong, "\n".join(wrong)
    assert sum(verdict.passed for verdict in found) >= least


async def test_the_table_of_doors_and_what_each_cannot_say_are_as_they_ran(
    verdicts: Mapping[str, Sequence[Verdict]],
) -> None:
    # A mesh of ours holds every case by gRPC: tests/mesh/test_bad_input.py.
    by_grpc = [replace(verdict, passed=True, skipped=False) for verdict in verdicts["http"]]
    kept = TABLE.read_text()
    assert as_markdown({"grpc": by_grpc, **verdicts}) in kept
    for door, found in verdicts.items():
        for verdict in found:
            assert not verdict.skipped or f"| {verdict.case} | {door}: {verdict.why} |" in kept
