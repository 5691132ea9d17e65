"""What is kept for those with a record is there for them, however many strangers come from however many networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from horde.gateway.core import seats
from horde.gateway.core.requesters import ANONYMOUS, Requester
from horde.services.errors import ServiceError
from horde.services.shares import Pot, Taker


def taken(pot: Pot, taker: Callable[[int], Taker]) -> int:
    """How many seats takers find who are all different."""
    for number in range(pot.capacity + 1):
        try:
            pot.take(taker(number))
        except ServiceError:
            return number
    raise AssertionError("more than there are")


@pytest.mark.parametrize("by_pass", [False, True])
def test_two_fifths_of_the_watches_are_for_accounts(by_pass: bool) -> None:
    pot = seats.watch_seats(1_000)

    def stranger(number: int) -> Taker:
        requester = Requester(ANONYMOUS, number.to_bytes(4))
        return seats.watcher(requester, f"theirs {number}", f"network {number}", by_pass=by_pass)

    assert taken(pot, stranger) == 600
    assert taken(pot, lambda number: seats.watcher(Requester(f"a{number}"), f"g{number}", "", by_pass=False)) == 400


def test_half_of_the_sessions_are_for_owners_with_a_record() -> None:
    pot = seats.session_seats(1_000)
    assert taken(pot, lambda number: seats.owner(f"new {number}", f"network {number}", known=False)) == 500
    assert taken(pot, lambda number: seats.owner(f"owner {number}", "", known=True)) == 500
