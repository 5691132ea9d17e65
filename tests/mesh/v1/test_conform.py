"""The cases of `horde conform`, through the web door."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.mesh.v1.calling import Caller

from horde.cli.conform.cases.reading import read_cases
from horde.cli.conform.drivers import HTTP_DRIVER, driving
from horde.cli.conform.running import hold
from horde.cli.conform.suite import needs_met
from horde.cli.conform.table import as_markdown
from horde.cli.local.mesh import LocalMesh
from horde.clients.specs import DEFAULT_MODEL
from horde.testkit.waiting import ticks

TABLE = Path(__file__).parents[3] / "clients" / "conformance.md"
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_contract_over_http_holds_every_case_of_horde_conform(mesh: LocalMesh, stranger: Caller) -> None:
    async with driving(HTTP_DRIVER) as driver:
        for _ in ticks():
            if "worker" in await needs_met(driver, mesh.web, DEFAULT_MODEL):
                break
    verdicts = [verdict async for verdict in hold(HTTP_DRIVER, mesh.web)]
    assert len(verdicts) == len(read_cases("mesh")) >= 80
    wrong = [f"{verdict.case}: {verdict.why}" for verdict in verdicts if not (verdict.passed or verdict.skipped)]
    assert not wrong, "\n".join(wrong)
    # A mesh of ours holds every case by gRPC: tests/mesh/test_bad_input.py.
    by_grpc = [replace(verdict, passed=True, skipped=False) for verdict in verdicts]
    assert as_markdown({"grpc": by_grpc, "http": verdicts}) in TABLE.read_text()
    assert {verdict.case: verdict.why for verdict in verdicts if verdict.skipped} == {
        "operators' calls need a role": "the contract gives AuditLedger no path"
    }
