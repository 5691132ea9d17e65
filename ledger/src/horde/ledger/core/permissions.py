"""Who may do what here: methods by the allow-list, and within Apply each operation by itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from horde.ledger.core.errors import OperationNotAllowed
from horde.ledger.core.operations import (
    Award,
    CloseAccount,
    Correct,
    Event,
    Gift,
    OpenAccount,
    PlaceHolds,
    Release,
    RewardRating,
    RewardUptime,
    SetStanding,
    Settle,
    Slash,
    Verify,
)

SERVICE: Final = "horde.internal.ledger.v1.LedgerService"
SCHEDULER: Final = "scheduler"
GATEWAY: Final = "gateway"
OPERATOR: Final = "operator"
CURATION: Final = "curation"
WEBHOOKS: Final = "webhooks"

METHODS: Final[Mapping[str, AbstractSet[str]]] = {
    f"/{SERVICE}/Apply": {SCHEDULER, GATEWAY, OPERATOR, CURATION},
    f"/{SERVICE}/GetBalances": {SCHEDULER, GATEWAY, OPERATOR, WEBHOOKS},
    f"/{SERVICE}/GetOwner": {GATEWAY, OPERATOR},
    f"/{SERVICE}/ListHolds": {OPERATOR},
    f"/{SERVICE}/ListEntries": {GATEWAY, OPERATOR},
    f"/{SERVICE}/GetEntries": {SCHEDULER, GATEWAY, OPERATOR},
    f"/{SERVICE}/FollowEntries": {GATEWAY, OPERATOR, WEBHOOKS},
    f"/{SERVICE}/Audit": {GATEWAY, OPERATOR},
    f"/{SERVICE}/GetStatistics": {GATEWAY, OPERATOR},
    f"/{SERVICE}/ProveEntry": {GATEWAY, OPERATOR},
}
"""Caller by method."""

OPERATIONS: Final[Mapping[type[object], AbstractSet[str]]] = {
    OpenAccount: {GATEWAY},
    PlaceHolds: {SCHEDULER},
    Settle: {SCHEDULER},
    Release: {SCHEDULER, OPERATOR},
    RewardUptime: {SCHEDULER},
    RewardRating: {CURATION},
    Award: {GATEWAY, OPERATOR},
    Gift: {GATEWAY},
    Slash: {SCHEDULER, GATEWAY, OPERATOR},
    Correct: {GATEWAY, OPERATOR},
    SetStanding: {GATEWAY, OPERATOR},
    CloseAccount: {GATEWAY},
    Verify: {SCHEDULER},
}
"""Caller by operation. The gateway acts here for people, whose right to it (an operator's role) it checks; what pays
for jobs is the scheduler's alone, and it slashes for a job alone. Operators release what it has lost, and say why."""


def check_caller(caller: str, events: Iterable[Event]) -> None:
    """Raise OperationNotAllowed if this caller may not ask for one of these."""
    asked = [event.operation for event in events]
    for kind in {type(operation) for operation in asked}:
        if caller not in OPERATIONS[kind]:
            raise OperationNotAllowed(metadata={"caller": caller, "method": f"Apply.{kind.__name__}"})
    for operation in asked:
        if isinstance(operation, Slash) and caller == SCHEDULER and not operation.job_id:
            raise OperationNotAllowed(metadata={"caller": caller, "method": "Apply.Slash of no job"})
        if isinstance(operation, Release) and bool(operation.note) != (caller == OPERATOR):
            raise OperationNotAllowed(metadata={"caller": caller, "method": "Apply.Release, with a reason or without"})
