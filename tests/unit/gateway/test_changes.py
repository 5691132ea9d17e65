"""What is proposed in a quote's stead is smaller, cheaper or sooner, and the best comes first."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from horde.gateway.core.changes import MAX_CHANGES, MULTIPLE, Offer, ever_smaller, fewer_steps, smaller, worth_saying

sides = st.integers(1, 512).map(lambda eighths: 8 * eighths)
offers = st.builds(Offer, st.integers(0, 10**6), st.none() | st.floats(0, 10_000))


@given(sides, sides)
def test_a_smaller_size_is_smaller_and_can_be_painted(width: int, height: int) -> None:
    size = smaller(width, height)
    if size is not None:
        assert size[0] * size[1] < width * height
        assert all(side >= MULTIPLE and side % MULTIPLE == 0 for side in size)


def test_sizes_and_steps_that_people_know() -> None:
    assert smaller(512, 512) == (320, 320)
    assert smaller(1024, 1024) == (704, 704)
    assert smaller(1024, 512) == (704, 320)
    assert smaller(256, 256) is None
    assert (fewer_steps(30), fewer_steps(12), fewer_steps(10), fewer_steps(1)) == (20, 10, None, None)


@given(offers, st.lists(offers, max_size=20))
def test_nothing_is_proposed_that_is_neither_sooner_nor_cheaper(now: Offer, others: list[Offer]) -> None:
    chosen = worth_saying(now, others)
    assert len(chosen) == len(set(chosen)) <= MAX_CHANGES
    for index in chosen:
        offer = others[index]
        assert offer.sooner_than(now) or offer.total_mkudos < now.total_mkudos
        assert not now.sooner_than(offer)
    sooner = [others[index].sooner_than(now) for index in chosen]
    assert sooner == sorted(sooner, reverse=True)


def test_what_somebody_can_paint_comes_before_what_is_cheaper() -> None:
    nobody_can = Offer(100, None)
    assert worth_saying(nobody_can, [Offer(50, None), Offer(300, 20.0), Offer(200, 5.0)]) == [2, 1]


def test_ever_smaller_sizes_end_at_the_smallest() -> None:
    assert ever_smaller(1024, 1024) == [(704, 704), (448, 448), (256, 256)]
    assert ever_smaller(256, 256) == []
