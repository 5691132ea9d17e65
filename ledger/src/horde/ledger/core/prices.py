"""The price of one picture as it was quoted, and its canonical text. Pure: what it should be is the
gateway's to know."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from json.encoder import encode_basestring_ascii as quoted


class MultiplierReason(IntEnum):
    """What a multiplier is for; the numbers are the contract's."""

    POST_PROCESSOR = 1
    CONTROL = 2
    SOURCE_IMAGE = 3
    HIRES_FIX = 4


class SurchargeReason(IntEnum):
    """What a surcharge is for; the numbers are the contract's."""

    FAST_WORKERS_ONLY = 1
    DENIED_WORKERS = 2


@dataclass(frozen=True, slots=True)
class PriceParts:
    """The price of one picture as it was quoted, for people who read a statement."""

    table_version: str
    price_mkudos: int
    surcharges: tuple[tuple[int, int], ...]
    """Reason (`SurchargeReason`) and amount of each."""
    tax_mkudos: int
    total_mkudos: int
    base_mkudos: int = 0
    """Before the multipliers; 0: not told."""
    multipliers: tuple[tuple[int, int], ...] = ()
    """Reason (`MultiplierReason`) and thousandths of each."""

    @property
    def surcharge_mkudos(self) -> int:
        return sum(amount for _, amount in self.surcharges)

    def canonical(self) -> str:
        return (
            f'{{"base":{self.base_mkudos},"multipliers":[{_pairs(self.multipliers)}],"price":{self.price_mkudos},'
            f'"surcharges":[{_pairs(self.surcharges)}],"table":{quoted(self.table_version)},'
            f'"tax":{self.tax_mkudos},"total":{self.total_mkudos}}}'
        )


def _pairs(pairs: tuple[tuple[int, int], ...]) -> str:
    return ",".join([f"[{one},{other}]" for one, other in pairs]) if pairs else ""
