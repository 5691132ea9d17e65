"""What an image costs."""

from __future__ import annotations

import inspect
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horde.gateway.core import pricing
from horde.gateway.core.pricing import TABLE, Price, effective_steps, price_image
from horde.gateway.core.spec import Control, HiresFix, ImageSpec, InputRef, Sampler

REF = InputRef("x", b"")


def price(fast: bool = False, denies: bool = False, **fields: Any) -> Price:
    image = replace(ImageSpec(prompt="x", width=512, height=512, steps=50), **fields)
    return price_image(image, fast_workers_only=fast, denies_workers=denies, tax_mkudos=3_000)


@pytest.mark.parametrize(
    ("fields", "mkudos"),
    [
        # The published figures: 10.83, 4.33, 6.50, 15.45, 24.02, 36.04, 137.88 and 619.11 kudos.
        ({}, 10_827),
        ({"steps": 20}, 4_331),
        ({"steps": 30}, 6_496),
        ({"width": 768, "height": 768, "steps": 30}, 15_449),
        ({"width": 1024, "height": 1024, "steps": 20}, 24_024),
        ({"width": 1024, "height": 1024, "steps": 30}, 36_036),
        ({"width": 1536, "height": 1536, "steps": 30}, 137_884),
        ({"width": 2048, "height": 2048, "steps": 50}, 619_112),
        # No area to speak of: 0.1232 a step.
        ({"width": 64, "height": 64, "steps": 1}, 124),
        ({"width": 64, "height": 64, "steps": 50}, 6_160),
        # 12.9918 = 10.82648… x 1.2
        ({"post_processors": (1,)}, 12_992),
        ({"post_processors": (1, 2)}, 15_591),
        ({"controls": (Control(REF, ""),)}, 32_480),
        # x 1.3 x 0.75
        ({"source_image": REF}, 10_556),
        ({"source_image": REF, "denoising_strength": 1.0}, 14_075),
        ({"sampler": int(Sampler.HEUN)}, 21_653),
    ],
)
def test_prices_are_the_published_ones(fields: dict[str, Any], mkudos: int) -> None:
    assert abs(price(**fields).price_mkudos - mkudos) <= 2
    assert price(**fields) == price(**fields)


def test_the_price_of_the_reference_image() -> None:
    reference = price()
    assert round(reference.price_mkudos / 1000, 2) == 10.83
    assert reference.total_mkudos == 13_827
    assert reference.table_version == "2026-11"


def test_surcharges_are_of_the_price_alone_and_rounded_up_each() -> None:
    dear = price(fast=True, denies=True)
    assert [surcharge.amount_mkudos for surcharge in dear.surcharges] == [2_166, 1_083]
    assert dear.total_mkudos == 10_827 + 2_166 + 1_083 + 3_000


def test_strength_counts_in_thousandths() -> None:
    # 0.6 in 32 binary digits is 0.60000002384…: it must cost what 0.6 costs.
    image = ImageSpec(steps=50, source_image=REF, denoising_strength=0.6000000238418579)
    assert effective_steps(image) == 30


def test_at_least_one_step_is_charged() -> None:
    assert effective_steps(ImageSpec(steps=1, source_image=REF, denoising_strength=0.01)) == 1


SIDES = st.integers(8, 512).map(lambda n: n * 8)
IMAGES = st.builds(
    ImageSpec,
    width=SIDES,
    height=SIDES,
    steps=st.integers(1, 500),
    sampler=st.sampled_from([int(sampler) for sampler in Sampler]),
    source_image=st.none() | st.just(REF),
    controls=st.lists(st.just(Control(REF, "")), max_size=3).map(tuple),
    denoising_strength=st.none() | st.floats(0.0625, 1, width=32),
    post_processors=st.lists(st.integers(1, 4), max_size=4).map(tuple),
)


@settings(deadline=None)
@given(IMAGES, st.booleans(), st.booleans(), st.sampled_from([1_000, 3_000]))
def test_money_is_whole_and_adds_up(image: ImageSpec, fast: bool, denies: bool, tax: int) -> None:
    found = price_image(image, fast_workers_only=fast, denies_workers=denies, tax_mkudos=tax)
    assert type(found.price_mkudos) is int
    assert found.price_mkudos > 0
    for surcharge, percent in zip(found.surcharges, [20] * fast + [10] * denies, strict=True):
        assert type(surcharge.amount_mkudos) is int
        assert 0 <= surcharge.amount_mkudos * 100 - found.price_mkudos * percent < 100
    assert found.total_mkudos == found.price_mkudos + sum(s.amount_mkudos for s in found.surcharges) + tax


@settings(deadline=None)
@given(IMAGES)
def test_the_price_is_the_base_times_the_multipliers(image: ImageSpec) -> None:
    found = price_image(image, fast_workers_only=False, denies_workers=False, tax_mkudos=0)
    expected = [("POST_PROCESSOR", 1_200)] * len(image.post_processors)
    expected += [("CONTROL", 1_500 if index else 3_000) for index, _ in enumerate(image.controls)]
    expected += [("SOURCE_IMAGE", 1_300)] * (image.source_image is not None)
    assert [(multiplier.reason.value, multiplier.permille) for multiplier in found.multipliers] == expected
    times = Fraction(1)
    for multiplier in found.multipliers:
        times *= Fraction(multiplier.permille, 1000)
    # As the contract says it: both come from one exact base, each rounded up by itself.
    assert (found.base_mkudos - 1) * times < found.price_mkudos <= ceil(found.base_mkudos * times)
    if not found.multipliers:
        assert found.base_mkudos == found.price_mkudos
    exact = pricing.TABLE.mkudos_per_step * effective_steps(image) * pricing._area(image.width * image.height, TABLE)
    assert found.price_mkudos == ceil(exact * times)


@settings(deadline=None)
@given(IMAGES)
def test_the_base_is_what_it_costs_without_what_makes_it_dearer(image: ImageSpec) -> None:
    plain = replace(image, source_image=None, controls=(), post_processors=())
    dear = replace(plain, controls=image.controls, post_processors=image.post_processors)

    def found(each: ImageSpec) -> Price:
        return price_image(each, fast_workers_only=False, denies_workers=False, tax_mkudos=0)

    assert found(dear).base_mkudos == found(plain).price_mkudos


def test_a_price_can_be_followed_by_hand() -> None:
    # 64x64: no area. 0.1232 x 50 steps x 0.8 = 4.928; x 1.2 x 1.2 x 3 x 1.3 = 27.6756480, up.
    found = price(
        width=64,
        height=64,
        source_image=REF,
        denoising_strength=0.8,
        controls=(Control(REF, ""),),
        post_processors=(1, 2),
    )
    assert (found.base_mkudos, found.price_mkudos) == (4_928, 27_676)
    assert [multiplier.permille for multiplier in found.multipliers] == [1_200, 1_200, 3_000, 1_300]


@settings(deadline=None)
@given(IMAGES, st.integers(0, 100), st.integers(0, 20))
def test_more_work_never_costs_less(image: ImageSpec, steps: int, eights: int) -> None:
    def mkudos(each: ImageSpec) -> int:
        return price_image(each, fast_workers_only=False, denies_workers=False, tax_mkudos=0).price_mkudos

    base = mkudos(image)
    assert mkudos(replace(image, steps=image.steps + steps)) >= base
    assert mkudos(replace(image, width=image.width + 8 * eights)) >= base
    assert mkudos(replace(image, post_processors=(*image.post_processors, 1))) > base
    assert mkudos(replace(image, controls=(*image.controls, Control(REF, "")))) > base
    assert mkudos(replace(image, hires_fix=HiresFix())) >= base
    # Sides are interchangeable: only the area counts.
    assert mkudos(replace(image, width=image.height, height=image.width)) == base


@settings(deadline=None)
@given(st.integers(4_097, 4_096 * 4_096))
def test_the_power_is_exact_to_far_below_a_milli_kudo(pixels: int) -> None:
    above, whole = pixels - 4_096, 1_048_576 - 4_096
    r = (pricing._area(pixels, pricing.TABLE) - 1) / Fraction("8.75")
    # r = (above / whole)^(7/4), so r^4 = (above / whole)^7; no binary fraction is needed to check that.
    exact = Fraction(above, whole) ** 7
    assert abs(r**4 - exact) <= exact / 10**40


def test_no_binary_fraction_touches_money() -> None:
    source = inspect.getsource(pricing)
    assert "float(" not in source
    assert "math" not in source
