"""Parts of a price in words, the same wherever a price is shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from horde.api.job.v1.job_pb2 import MultiplierReason, PriceMultiplier, PriceParts, Surcharge, SurchargeReason

_MULTIPLIERS: Final = {
    MultiplierReason.MULTIPLIER_REASON_POST_PROCESSOR: "post-processor",
    MultiplierReason.MULTIPLIER_REASON_CONTROL: "control image",
    MultiplierReason.MULTIPLIER_REASON_SOURCE_IMAGE: "source image",
    MultiplierReason.MULTIPLIER_REASON_HIRES_FIX: "painted twice, small and then large",
}
_SURCHARGES: Final = {
    SurchargeReason.SURCHARGE_REASON_FAST_WORKERS_ONLY: "fast workers only",
    SurchargeReason.SURCHARGE_REASON_DENIED_WORKERS: "some workers denied",
}


def multipliers_text(parts: PriceParts) -> str:
    """For example `x 1.2 post-processor x 1.3 source image`; empty without multipliers."""
    return " ".join(
        f"x {_factor(multiplier)} {_MULTIPLIERS.get(multiplier.reason, 'other')}" for multiplier in parts.multipliers
    )


def _factor(multiplier: PriceMultiplier) -> str:
    whole, thousandths = divmod(multiplier.permille, 1000)
    return f"{whole}.{thousandths:03d}".rstrip("0").rstrip(".")


def surcharge_name(surcharge: Surcharge) -> str:
    """What a surcharge is for."""
    return _SURCHARGES.get(surcharge.reason, "surcharge")


def surcharges_text(surcharges: Iterable[Surcharge]) -> str:
    """What surcharges are for, one after the other."""
    return ", ".join(surcharge_name(surcharge) for surcharge in surcharges)
