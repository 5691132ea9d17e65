"""What the ledger tells whoever watches it: events by what became of them, and kudos by where they went."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from opentelemetry import metrics

from horde.ledger.calls import Call
from horde.ledger.core.operations import Settle
from horde.services import telemetry
from horde.services.errors import ServiceError

_METER: Final = metrics.get_meter("horde.ledger")
EVENTS: Final = _METER.create_counter(
    "horde.ledger.events", unit="{event}", description="Events that were answered, by kind and what became of them"
)
SETTLED: Final = _METER.create_counter(
    "horde.ledger.settled", unit="{mkudos}", description="Milli-kudos of jobs that ended, by where they went"
)


def tell(calls: Iterable[Call]) -> None:
    """Count what was just answered. Costs nothing while nobody watches."""
    if telemetry.rpc is None:
        return
    for call in calls:
        for event, answer in zip(call.events, call.answers, strict=True):
            operation = event.operation
            refused = isinstance(answer.result, ServiceError)
            became = "refused" if refused else "repeated" if answer.repeated else "applied"
            EVENTS.add(1, {"kind": operation.kind.name.lower(), "outcome": became})
            if isinstance(operation, Settle) and became == "applied":
                for part in ("earned", "tax", "surcharge"):
                    SETTLED.add(getattr(operation, f"{part}_mkudos"), {"part": part})
