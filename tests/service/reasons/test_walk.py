"""Every reason of every error enum: provoked over the wire, and compared with what its comment in the contract says.

The list cannot go stale: a reason that nobody provokes must be named below with why, and one that is named though it is
provoked fails, too.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.service.reasons import (
    curation_reasons,
    filter_reasons,
    gateway_reasons,
    ledger_reasons,
    scheduler_reasons,
    standing_reasons,
    storage_reasons,
    webhook_reasons,
)
from tests.service.reasons.provoking import PROVOKED, SCHEDULER, STORAGE

from horde.gateway.doors.listeners import ALLOW
from horde.services.status import to_status
from horde.testkit.contract import differences, read_reasons

REASONS = {(reason.domain, reason.name): reason for reason in read_reasons()}
TELLERS = (
    curation_reasons,
    filter_reasons,
    gateway_reasons,
    ledger_reasons,
    scheduler_reasons,
    standing_reasons,
    storage_reasons,
    webhook_reasons,
)

NOT_BUILT = {
    (STORAGE, "NOT_TEXT"): "PutText",
}
"""Reasons of an RPC that answers UNIMPLEMENTED so far."""
SERVICES_NOT_BUILT = {
    "horde.api.style.v1": "StyleService",
    "horde.api.team.v1": "TeamService",
}


SAID_BY_NOBODY = {
    (SCHEDULER, "NOT_LEADER"): "a standby serves nothing, and a leader that was replaced ends before it can say so",
}
"""Reasons that would need a defect."""


def excused(key: tuple[str, str]) -> bool:
    return key in NOT_BUILT or key in SAID_BY_NOBODY or key[0] in SERVICES_NOT_BUILT


@pytest.mark.parametrize("key", sorted(PROVOKED), ids="/".join)
async def test_a_reason_comes_as_the_contract_says(key: tuple[str, str], tmp_path: Path) -> None:
    error = await PROVOKED[key](tmp_path)
    assert (error.domain, error.reason) == key
    assert differences(to_status(error), REASONS) == []


def test_every_reason_is_provoked_or_named() -> None:
    assert all(teller.__doc__ for teller in TELLERS)
    assert PROVOKED.keys() <= REASONS.keys()
    assert {key for key in REASONS if not excused(key)} == PROVOKED.keys()
    assert NOT_BUILT.keys() <= REASONS.keys()


@pytest.mark.parametrize(("package", "service"), SERVICES_NOT_BUILT.items())
def test_a_service_that_is_excused_is_served_by_nobody(package: str, service: str) -> None:
    assert f"/{package}.{service}/*" not in ALLOW.methods()
