"""How a job ends, in kudos: the design's table, and nothing else.

| ending | owner earns | burned |
|---|---|---|
| DONE | price | tax, surcharges |
| CANCELLED before step 1, FAULTED, EXPIRED | 0 | 0 |
| CANCELLED at step k of s | floor(price * k / s) | floor(surcharges * k / s), no tax |
| CENSORED | price, from the censor subsidy | 0 |

The requester gets back the rest. A cancelled image pays no tax: the seed taxes a generated image. k is what the fleet's
measured speed makes of the time there was; of what a subsidy would have paid, the ledger pays nothing.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from horde.scheduler.core.job import NOTHING, AccountId, Amounts, Ending, Mkudos, Price

if TYPE_CHECKING:
    from horde.scheduler.core.board import Board

UNMEASURED_STEPS = 1
"""Steps that are paid for of a cancelled job where nothing shows how long a step takes."""
REFRESH = 16
"""Measurements after which the fleet's pace is computed again."""
MAX_PACES = 1_000
"""Models and sizes whose pace is remembered."""


def amounts(ending: Ending, price: Price, step: int = 0, steps: int = 1) -> Amounts:
    """What an ending moves; `step` of `steps` matters for CANCELLED alone."""
    match ending:
        case Ending.DONE:
            return Amounts(price.price, price.tax, price.surcharge)
        case Ending.CENSORED:
            return Amounts(earned=price.price)
        case Ending.CANCELLED:
            done = max(0, min(step, steps))
            earned, burned = price.price * done // steps, price.surcharge * done // steps
            return Amounts(Mkudos(earned), Mkudos(0), Mkudos(burned)) if earned or burned else NOTHING
        case Ending.FAULTED | Ending.EXPIRED:
            return NOTHING
        case Ending.NONE:
            raise ValueError("a job that has not ended moves nothing")


def counted_steps(reported: int, steps: int, elapsed_seconds: float, seconds_per_step: float | None) -> int:
    """How many reported steps are paid for: never more than the fleet's measured speed makes in the time there was.

    Where the fleet has no measure (None), as with a model that nobody else has, one step: a report alone is no work.
    """
    believed = max(0, min(reported, steps))
    if seconds_per_step is None or seconds_per_step <= 0:
        return min(believed, UNMEASURED_STEPS)
    return min(believed, math.ceil(max(0.0, elapsed_seconds) / seconds_per_step))


class Paces:
    """How fast the fleet is, as far as it decides what a cancelled job pays: by owner, remembered for a while."""

    def __init__(self) -> None:
        self._by_owner: dict[tuple[str, int], tuple[int, dict[AccountId, float]]] = {}
        """With the number of measurements from which it was computed."""

    def of_others(self, board: Board, model: str, size_class: int, owner: AccountId) -> float | None:
        """Seconds for a megapixel-step, by the median of all owners but this one: what somebody measured on his own
        workers does not decide what he is paid for. None: nobody else has painted with this model."""
        key, taken = (model, size_class), board.speeds.taken
        computed, by_owner = self._by_owner.get(key, (-REFRESH, {}))
        others = [pace for other, pace in by_owner.items() if other != owner]
        if taken - computed >= (REFRESH if others else 1):
            if len(self._by_owner) >= MAX_PACES:
                self._by_owner.clear()
            by_owner = _by_owner(board, model, size_class)
            self._by_owner[key] = taken, by_owner
            others = [pace for other, pace in by_owner.items() if other != owner]
        return median(others) if others else None


def _by_owner(board: Board, model: str, size_class: int) -> dict[AccountId, float]:
    """Every owner's fastest worker: an owner counts once, however many workers he brings."""
    found: dict[AccountId, float] = {}
    for worker_id in board.speeds.painters(model):
        worker = board.fleet.workers.get(worker_id)
        pace = board.speeds.measured(worker_id, model, size_class)
        if worker is not None and pace is not None:
            found[worker.owner] = min(pace, found.get(worker.owner, pace))
    return found
