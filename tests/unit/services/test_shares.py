"""What is bounded for all is shared: no few take all, and what was taken comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde.services.errors import ResourceExhausted
from horde.services.shares import Pot, Taker


class NoShare(ResourceExhausted):
    """Told which kind of key has its share."""


def pot(capacity: int = 1_000, kept: int = 0, least: int = 1) -> Pot:
    return Pot(capacity, {"caller": 0.5, "address": 1.0}, NoShare, kept=kept, least=least)


def taker(caller: str, address: str = "", *, known: bool = False) -> Taker:
    return Taker((("caller", caller), ("address", address)), known)


def fill(pot: Pot, *takers: Taker) -> str:
    """Take turns until all are refused; the last refusal."""
    refusal = ""
    going = list(takers)
    while going:
        for each in list(going):
            try:
                pot.take(each)
            except NoShare as refused:
                refusal = refused.message
                going.remove(each)
    return refusal


def test_one_that_wants_everything_gets_its_share_and_is_told_of_which_kind() -> None:
    shared = pot()
    assert fill(shared, taker("a")) == "caller"
    assert shared.held(("caller", "a")) == 333


@pytest.mark.parametrize("greedy", [1, 2, 8, 33, 200])
def test_whoever_comes_after_any_number_of_greedy_ones_still_gets_something(greedy: int) -> None:
    shared = pot(100_000)
    fill(shared, *(taker(f"greedy {number}") for number in range(greedy)))
    shared.take(taker("late"), 100)


def test_many_callers_of_one_address_share_what_the_address_gets() -> None:
    shared = pot()
    assert fill(shared, *(taker(f"caller {number}", "here") for number in range(100))) == "address"
    assert shared.used == 500
    shared.take(taker("elsewhere", "there"), 100)


def test_an_empty_name_counts_nobody() -> None:
    shared = pot()
    shared.take(taker("a"), 100)
    shared.take(taker("b"), 100)
    assert shared.held(("address", "")) == 0


def test_what_is_kept_is_for_those_with_a_record_alone() -> None:
    shared = pot(100, kept=40)
    fill(shared, *(taker(f"stranger {number}") for number in range(1_000)))
    assert shared.used == 60
    shared.take(taker("friend", known=True), 10)
    with pytest.raises(NoShare):
        shared.take(taker("one more stranger"))


def test_those_with_a_record_who_fill_their_part_leave_the_others_theirs() -> None:
    shared = pot(100, kept=40)
    shared.take(taker("friend", known=True), 30)
    shared.take(taker("stranger"), 15)


def test_a_refusal_takes_nothing() -> None:
    shared = pot()
    with pytest.raises(NoShare):
        shared.take(taker("a", "here"), 400)
    assert (shared.used, shared.held(("caller", "a")), shared.held(("address", "here"))) == (0, 0, 0)


def test_the_least_is_given_to_whoever_holds_nothing_while_there_is_room() -> None:
    shared = pot(10, least=1)
    for number in range(10):
        shared.take(taker(f"caller {number}"))
    with pytest.raises(NoShare) as refused:
        shared.take(taker("one more"))
    assert refused.value.message == ""


def test_a_tab_gives_everything_back_whatever_happened() -> None:
    shared = pot()
    with pytest.raises(KeyError), shared.tab(taker("a", "here")) as tab:
        tab.take(100)
        tab.take(50)
        assert shared.used == 150
        raise KeyError
    assert (shared.used, len(shared._held)) == (0, 0)


def test_a_new_day_begins_with_everything() -> None:
    shared = pot(100, kept=40)
    fill(shared, taker("a"), taker("b"))
    shared.clear()
    shared.take(taker("a"), 10)
    assert shared.used == 10


@given(
    kept=st.integers(0, 100),
    steps=st.lists(
        st.tuples(
            st.sampled_from("abcdefgh"), st.sampled_from(["here", "there", ""]), st.booleans(), st.integers(1, 60)
        ),
        max_size=60,
    ),
    backs=st.randoms(use_true_random=False),
)
def test_whatever_is_taken_and_given_back_the_bounds_hold_and_nothing_stays(kept, steps, backs) -> None:  # type: ignore[no-untyped-def]
    shared = pot(100, kept=kept)
    held: list[tuple[Taker, int]] = []
    for caller, address, known, amount in steps:
        who = taker(caller, address, known=known)
        before = shared.used
        try:
            shared.take(who, amount)
            held.append((who, amount))
        except NoShare:
            assert shared.used == before
        if held and backs.random() < 0.4:
            shared.give_back(*held.pop(backs.randrange(len(held))))
        assert shared.used == sum(count for _, count in held) <= 100
        assert sum(count for who, count in held if not who.known) <= 100 - kept
    for who, amount in held:
        shared.give_back(who, amount)
    assert (shared.used, shared._held) == (0, {})
