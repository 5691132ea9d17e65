"""What an image costs: a versioned price table, in exact arithmetic.

The formula is the published historical one of the public horde: with A = width x height in pixels and
r = ((A - 4096) / (1048576 - 4096))^1.75 (0 up to 4096 pixels), an image of s steps costs 0.1232 s (1 + 8.75 r) kudos;
x1.2 for each post-processor, x3 with a control image, x1.3 with a source image. 512x512 at 50 steps is 10.83.

No binary fraction ever touches money: factors are exact fractions, and the power is two square roots in decimal
arithmetic of a fixed precision, which gives the same digits on every machine. Rounded once, up, to milli-kudos: the
price is computed from the exact base, and the base that is told is that one rounded up by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context
from enum import Enum
from fractions import Fraction
from functools import lru_cache

from horde.gateway.core.spec import ImageSpec, Sampler

_DIGITS = Context(prec=60, rounding=ROUND_HALF_EVEN)
SECOND_ORDER = frozenset({int(Sampler.HEUN), int(Sampler.DPM2), int(Sampler.DPM2_ANCESTRAL)})


class SurchargeReason(Enum):
    """Why a requester pays more."""

    FAST_WORKERS_ONLY = "FAST_WORKERS_ONLY"
    DENIED_WORKERS = "DENIED_WORKERS"


@dataclass(frozen=True, slots=True)
class Surcharge:
    """One reason to pay more, in milli-kudos."""

    reason: SurchargeReason
    amount_mkudos: int


class MultiplierReason(Enum):
    """What makes a painting dearer."""

    POST_PROCESSOR = "POST_PROCESSOR"
    CONTROL = "CONTROL"
    SOURCE_IMAGE = "SOURCE_IMAGE"
    HIRES_FIX = "HIRES_FIX"


@dataclass(frozen=True, slots=True)
class Multiplier:
    """One thing that makes a painting dearer, in thousandths."""

    reason: MultiplierReason
    permille: int


@dataclass(frozen=True, slots=True)
class Price:
    """What one image costs, part by part, in milli-kudos."""

    table_version: str
    price_mkudos: int
    surcharges: tuple[Surcharge, ...]
    tax_mkudos: int
    base_mkudos: int
    """Before the multipliers, rounded up by itself."""
    multipliers: tuple[Multiplier, ...]

    @property
    def total_mkudos(self) -> int:
        return self.price_mkudos + sum(surcharge.amount_mkudos for surcharge in self.surcharges) + self.tax_mkudos


@dataclass(frozen=True, slots=True, eq=False)
class PriceTable:
    """One version of the numbers. A number never changes under a version that was used."""

    version: str
    mkudos_per_step: Fraction = Fraction("123.2")
    free_pixels: int = 64 * 64
    full_pixels: int = 1024 * 1024
    area_factor: Fraction = Fraction("8.75")
    post_processor_permille: int = 1_200
    control_permille: int = 3_000
    further_control_permille: int = 1_500
    source_image_permille: int = 1_300
    hires_fix_permille: int = 1_300
    second_order_samplers: frozenset[int] = field(default=SECOND_ORDER)
    second_order_factor: int = 2
    default_denoising: Fraction = Fraction("0.75")
    fast_workers_percent: int = 20
    denied_workers_percent: int = 10


TABLE = PriceTable(version="2026-11")
"""What is charged now."""


def price_image(
    image: ImageSpec, *, fast_workers_only: bool, denies_workers: bool, tax_mkudos: int, table: PriceTable = TABLE
) -> Price:
    """The price of one image. `image` must be valid; the tax is per image and never scaled by the price."""
    multipliers = _multipliers(image, table)
    base, price = _base_and_price(
        effective_steps(image, table),
        image.width * image.height,
        tuple(multiplier.permille for multiplier in multipliers),
        table,
    )
    surcharges = []
    if fast_workers_only:
        surcharges.append(Surcharge(SurchargeReason.FAST_WORKERS_ONLY, _percent(price, table.fast_workers_percent)))
    if denies_workers:
        surcharges.append(Surcharge(SurchargeReason.DENIED_WORKERS, _percent(price, table.denied_workers_percent)))
    return Price(table.version, price, tuple(surcharges), tax_mkudos, base, multipliers)


@lru_cache(maxsize=4096)
def _base_and_price(steps: Fraction, pixels: int, permilles: tuple[int, ...], table: PriceTable) -> tuple[int, int]:
    exact = table.mkudos_per_step * steps * _area(pixels, table)
    multiplied = exact
    for permille in permilles:
        multiplied *= Fraction(permille, 1000)
    return _up(exact), _up(multiplied)


def _up(exact: Fraction) -> int:
    return -(-exact.numerator // exact.denominator)


def _multipliers(image: ImageSpec, table: PriceTable) -> tuple[Multiplier, ...]:
    found = [Multiplier(MultiplierReason.POST_PROCESSOR, table.post_processor_permille) for _ in image.post_processors]
    for index, _ in enumerate(image.controls):
        found.append(
            Multiplier(MultiplierReason.CONTROL, table.further_control_permille if index else table.control_permille)
        )
    if image.source_image is not None:
        found.append(Multiplier(MultiplierReason.SOURCE_IMAGE, table.source_image_permille))
    if image.hires_fix is not None:
        found.append(Multiplier(MultiplierReason.HIRES_FIX, table.hires_fix_permille))
    return tuple(found)


def effective_steps(image: ImageSpec, table: PriceTable = TABLE) -> Fraction:
    """Steps as they are charged: twice for second order, times how far a source image is left; 1 at least."""
    steps = Fraction(image.steps)
    if image.sampler in table.second_order_samplers:
        steps *= table.second_order_factor
    if image.source_image is not None:
        steps *= _thousandths(image.denoising_strength, table.default_denoising)
    return max(steps, Fraction(1))


def _thousandths(strength: float | None, default: Fraction) -> Fraction:
    """A strength as it is charged: in thousandths, so that 0.6 in 32 binary digits costs what 0.6 costs."""
    return default if strength is None else Fraction(round(Fraction(strength) * 1000), 1000)


def _area(pixels: int, table: PriceTable) -> Fraction:
    """1 + 8.75 r."""
    if pixels <= table.free_pixels:
        return Fraction(1)
    above, whole = pixels - table.free_pixels, table.full_pixels - table.free_pixels
    ratio = _DIGITS.divide(_DIGITS.create_decimal(above), _DIGITS.create_decimal(whole))
    power = _DIGITS.sqrt(_DIGITS.sqrt(_DIGITS.power(ratio, 7)))  # x^1.75 is the fourth root of x^7
    return 1 + table.area_factor * Fraction(power)


def _percent(price_mkudos: int, percent: int) -> int:
    """A share of the price alone, rounded up."""
    return -(-price_mkudos * percent // 100)
