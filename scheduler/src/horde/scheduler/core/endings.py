"""How a job ends, in kudos: the design's table, and nothing else.

| ending | owner earns | burned |
|---|---|---|
| DONE | price | tax, surcharges |
| CANCELLED before step 1, FAULTED, EXPIRED | 0 | 0 |
| CANCELLED at step k of s | floor(price * k / s) | floor(surcharges * k / s), no tax |
| CENSORED | price, from the censor subsidy | 0 |

The requester gets back the rest. A cancelled image pays no tax: the seed taxes a generated image.
"""

from __future__ import annotations

import math

from horde.scheduler.core.job import NOTHING, Amounts, Ending, Mkudos, Price


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
    """How many reported steps are believed: never more than the worker's measured speed makes in the time it had.

    Without a measurement (None) the report is all there is.
    """
    believed = min(reported, steps)
    if seconds_per_step is not None and seconds_per_step > 0:
        believed = min(believed, math.ceil(max(0.0, elapsed_seconds) / seconds_per_step))
    return max(0, believed)
