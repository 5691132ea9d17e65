"""What the subsidies and uptime pay in a day over everybody, and that no few take all of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from horde.ledger.core.accounts import ANONYMOUS, DAY_US
from horde.ledger.core.economy import KUDOS, Economy
from horde.ledger.core.entries import Entry, EscrowReason, Settlement
from horde.ledger.core.errors import BudgetSpent, EntryNotFound, EventConflict, InsufficientKudos, InvalidField
from horde.ledger.core.operations import Event, JobEnding, Settle
from horde.testkit.ledger import (
    PRICE,
    PureLedger,
    awarded,
    corrected,
    held,
    opened,
    price,
    rated,
    released,
    settled,
    slashed_for,
    some_id,
    standing,
    uptime,
)

MIDNIGHT_US = 1_800_000_000_000_000 // DAY_US * DAY_US


@pytest.fixture
def ledger() -> PureLedger:
    made = PureLedger(now_us=MIDNIGHT_US)
    made.apply(opened("ann"), opened("bob"), opened("cat"))
    return made


def token(number: int) -> str:
    return f"{number:064x}"


def settlement(ledger: PureLedger, event: Event) -> Settlement:
    found = ledger.entry(event).settlement
    assert found is not None
    return found


def draw(ledger: PureLedger, name: str, who: int, address: str) -> int:
    """How many kudos of the anonymous budget a token gets, asking for one picture after the other."""
    for number in range(2_000):
        (answer,) = ledger.apply(held(f"{name} {number}", ANONYMOUS, token=token(who), address=address))
        if not isinstance(answer.result, Entry):
            assert isinstance(answer.result, BudgetSpent)
            return 13 * number
    raise AssertionError("there is no end to it")


def test_three_huge_requests_do_not_spend_everybodys_day(ledger: PureLedger) -> None:
    # 4096x4096 in 143 steps.
    huge = price(19_749_000)
    for number in range(3):
        with pytest.raises(BudgetSpent) as refused:
            ledger.entry(held(f"huge {number}", ANONYMOUS, huge, token=token(number), address="ab"))
        assert refused.value.metadata["budget"] == "anonymous"
    ledger.entry(held("small", ANONYMOUS, token=token(9), address="cd"))


def test_one_token_gets_its_share_and_its_address_no_more_by_many(ledger: PureLedger) -> None:
    budget = 20_000
    first = draw(ledger, "first", 1, "aa")
    assert 0.02 * budget < first < 0.025 * budget
    at_one_address = first + sum(draw(ledger, f"more {who}", who, "aa") for who in range(2, 60))
    assert at_one_address < 0.05 * budget + 60 * 30
    assert draw(ledger, "elsewhere", 99, "bb") > 0.02 * budget


def test_a_hundred_addresses_that_want_everything_leave_something_for_the_next(ledger: PureLedger) -> None:
    taken = sum(draw(ledger, f"greedy {who}", who, f"{who:04x}") for who in range(1, 101))
    assert taken > 12_000
    assert draw(ledger, "next", 101, "ffff") >= 3 * 13


def test_who_has_a_share_already_is_told_which_and_when_it_is_back(ledger: PureLedger) -> None:
    ledger.now_us += DAY_US // 2
    draw(ledger, "all", 1, "aa")
    with pytest.raises(BudgetSpent) as refused:
        ledger.entry(held("one more", ANONYMOUS, token=token(1), address="aa"))
    assert refused.value.metadata == {
        "budget": "anonymous", "budget_mkudos": "20000000", "share": "token", "back_at": "2027-01-16T00:00:00Z",
    }  # fmt: skip
    assert refused.value.retry_after is not None
    assert refused.value.retry_after.total_seconds() == 43_200
    ledger.now_us += DAY_US // 2
    ledger.entry(held("tomorrow", ANONYMOUS, token=token(1), address="aa"))


def test_what_comes_back_today_may_be_drawn_again_by_whom_it_came_back_from(ledger: PureLedger) -> None:
    drawn = draw(ledger, "all", 1, "aa")
    for number in range(5):
        ledger.entry(released(f"all {number}"))
    assert draw(ledger, "again", 1, "aa") == 65
    # Settled for less, the rest comes back, too.
    for number in range(5, 15):
        ledger.entry(settled(f"all {number}", "bob", ending=JobEnding.CANCELLED, earned=10 * KUDOS, tax=0))
    assert draw(ledger, "and again", 1, "aa") == 130
    assert drawn > 200


@pytest.mark.parametrize("forget", [PureLedger.restart, lambda ledger: ledger.journal.forget()])
def test_what_was_drawn_today_is_remembered_across_restarts(
    ledger: PureLedger, forget: Callable[[PureLedger], None]
) -> None:
    ledger.apply(awarded("ann", 900 * KUDOS), held("before midnight", ANONYMOUS, token=token(1), address="aa"))
    ledger.now_us += DAY_US
    draw(ledger, "all", 1, "aa")
    for number in range(20):
        ledger.apply(held(f"c{number}", "ann"), settled(f"c{number}", "bob", ending=JobEnding.CENSORED))
        ledger.apply(held(f"x{number}", "ann"), settled(f"x{number}", "dan", ending=JobEnding.CANCELLED, tax=0))
    for number in range(400):
        ledger.apply(uptime("bob", number))
    ledger.apply(held("floor", "cat", address="bb", count=2), released("floor", 1), released("before midnight"))
    ledger.apply(released("all 0"), settled("all 1", "bob"))
    remembered, journal = ledger.drawn_today()
    assert remembered == journal != None  # noqa: E711
    forget(ledger)
    for refused in (
        held("anonymous", ANONYMOUS, token=token(1), address="aa", count=2),
        uptime("bob", 500),
    ):
        with pytest.raises(BudgetSpent):
            ledger.entry(refused)
    again, journal = ledger.drawn_today()
    assert again == journal == remembered
    ledger.entry(held("came back", ANONYMOUS, token=token(1), address="aa"))
    ledger.now_us += DAY_US
    ledger.entry(held("new day", ANONYMOUS, token=token(1), address="aa"))
    assert ledger.audit().finding is None


def test_puppets_and_owners_that_censor_share_one_small_budget(ledger: PureLedger) -> None:
    paid = 0
    for owner in ("one", "two", "three"):
        for number in range(200):
            name = f"{owner} {number}"
            ledger.apply(awarded("puppet", 13 * KUDOS, name), held(name, "puppet"))
            paid += settlement(ledger, settled(name, owner, ending=JobEnding.CENSORED)).earned
    assert 0 < paid <= 100 * KUDOS
    # With as many puppets as owners, and more of both, there is still an end.
    for number in range(4_000):
        name, puppet = f"many {number}", f"puppet {number % 50}"
        ledger.apply(awarded(puppet, 13 * KUDOS, name), held(name, puppet))
        paid += settlement(ledger, settled(name, f"owner {number % 40}", ending=JobEnding.CENSORED)).earned
    assert 500 * KUDOS < paid <= ledger.economy.censor_budget_per_day_mkudos
    assert ledger.account("censor_subsidy").posted == -paid


def test_a_censored_picture_that_is_not_paid_costs_nothing_and_says_why(ledger: PureLedger) -> None:
    ledger.economy = Economy(censor_budget_per_day_mkudos=15 * KUDOS, censor_owner_share_permille=10_000,
                             censor_payer_share_permille=10_000)  # fmt: skip
    ledger.restart()
    ledger.apply(held("a", "ann"), held("b", "ann"))
    assert settlement(ledger, settled("a", "bob", ending=JobEnding.CENSORED)).earned == 10 * KUDOS
    unpaid = settlement(ledger, settled("b", "bob", ending=JobEnding.CENSORED))
    assert (unpaid.earned, unpaid.to_spend, unpaid.to_escrow, unpaid.from_censor_subsidy) == (0, 0, 0, 0)
    assert (unpaid.returned, unpaid.charged, unpaid.escrow_reason) == (13 * KUDOS, 0, EscrowReason.UNPAID)
    (again,) = ledger.apply(settled("b", "bob", ending=JobEnding.CENSORED))
    assert again.repeated
    assert isinstance(again.result, Entry)
    assert again.result.settlement == unpaid


def test_a_cancelled_job_is_not_paid_by_a_subsidy(ledger: PureLedger) -> None:
    ledger.apply(awarded("ann", 4 * KUDOS), held("part", "ann", price(10 * KUDOS, 3 * KUDOS, KUDOS)))
    ledger.apply(held("none", ANONYMOUS))
    cancelled = settled("part", "bob", price(10 * KUDOS), ending=JobEnding.CANCELLED, earned=9 * KUDOS, tax=0,
                        surcharge=900)  # fmt: skip
    part = settlement(ledger, cancelled)
    assert (part.earned, part.surcharge, part.charged, part.subsidised) == (4 * KUDOS, 0, 4 * KUDOS, 0)
    assert part.escrow_reason == EscrowReason.UNPAID
    none = settlement(ledger, settled("none", "bob", ending=JobEnding.CANCELLED, earned=9 * KUDOS, tax=0))
    assert (none.earned, none.subsidised, none.returned) == (0, 0, 13 * KUDOS)
    assert ledger.account("floor_subsidy").posted == ledger.account("anonymous_subsidy").posted == 0
    (again,) = ledger.apply(cancelled)
    assert isinstance(again.result, Entry)
    assert again.result.settlement == part
    assert ledger.audit().finding is None


def test_cancelled_jobs_are_no_way_around_tax_and_the_limits_on_gifts(ledger: PureLedger) -> None:
    ledger.apply(awarded("ann", 100_000 * KUDOS), standing("bob", trusted=True))
    large = price(900 * KUDOS)
    ledger.apply(*[held(f"g{number}", "ann", large) for number in range(5)])
    for number in range(5):
        ledger.entry(settled(f"g{number}", "bob", large, ending=JobEnding.CANCELLED, tax=0))
    assert ledger.spend("bob") == ledger.economy.cancelled_earning_per_day_mkudos
    assert ledger.spend("ann") == 100_000 * KUDOS - ledger.spend("bob")
    ledger.now_us += DAY_US
    ledger.apply(held("next day", "ann", large))
    assert settlement(ledger, settled("next day", "bob", large, ending=JobEnding.CANCELLED, tax=0)).earned == 900_000


def test_the_floor_subsidy_is_not_for_new_accounts(ledger: PureLedger) -> None:
    ledger.apply(opened("new", ledger.now_us))
    with pytest.raises(InsufficientKudos) as refused:
        ledger.entry(held("a", "new"))
    assert refused.value.metadata == {
        "available_mkudos": "0", "needed_mkudos": "13000", "floor": "ACCOUNT_TOO_YOUNG",
        "back_at": "2027-01-16T00:00:00Z",
    }  # fmt: skip
    with pytest.raises(InsufficientKudos):
        ledger.entry(held("b", "never opened"))
    ledger.now_us += DAY_US
    ledger.entry(held("c", "new"))


def test_the_floor_subsidy_has_a_budget_over_everybody(ledger: PureLedger) -> None:
    ledger.economy = Economy(floor_budget_per_day_mkudos=60 * KUDOS, floor_address_share_permille=10_000)
    ledger.restart()
    ledger.apply(awarded("cat", 5 * KUDOS))
    ledger.entry(held("a", "ann", count=3, address="aa"))
    with pytest.raises(InsufficientKudos) as refused:
        ledger.entry(held("b", "bob", count=2, address="bb"))
    assert refused.value.metadata["floor"] == "BUDGET_SPENT"
    assert refused.value.metadata["available_mkudos"] == "0"
    ledger.entry(held("c", "cat", address="aa"))
    ledger.entry(released("a", 0))
    ledger.entry(held("d", "bob", address="bb"))
    assert ledger.account("floor_subsidy").held == 47 * KUDOS


def test_uptime_has_a_budget_over_everybody_and_owners_have_shares(ledger: PureLedger) -> None:
    def earned(owner: str) -> int:
        before = ledger.escrow(owner)
        for bucket in range(400):
            for worker in range(3):
                ledger.apply(uptime(owner, bucket, worker=some_id(f"{owner} {worker}")))
        return ledger.escrow(owner) - before

    budget = ledger.economy.uptime_budget_per_day_mkudos
    first = earned("one")
    assert 0.4 * budget < first <= budget // 2
    # Shares are of what is free: there is always something for the next owner, and never more than there is.
    rest = [earned(owner) for owner in ("two", "three", "four", "five")]
    assert all(rest)
    assert rest == sorted(rest, reverse=True)
    assert first + sum(rest) < budget
    refused = ledger.apply(uptime("one", 500))[0].result
    assert isinstance(refused, BudgetSpent)
    assert (refused.metadata["budget"], refused.metadata["share"]) == ("uptime", "owner")


def test_a_rating_is_paid_once_out_of_its_own_account_and_can_be_spent(ledger: PureLedger) -> None:
    first, again = ledger.apply(rated("ann", "i"), rated("ann", "i"))
    assert isinstance(first.result, Entry)
    assert (first.repeated, again.repeated) == (False, True)
    assert [(line.debit, line.credit, line.amount) for line in first.result.transfers] == [
        ("rating_subsidy", "spend/ann", KUDOS)
    ]
    (other,) = ledger.apply(rated("ann", "i", 2 * KUDOS))
    assert isinstance(other.result, EventConflict)
    assert other.result.metadata["field"] == "reward_rating.amount_mkudos"
    assert (ledger.spend("ann"), ledger.account("rating_subsidy").posted) == (KUDOS, -KUDOS)
    ledger.entry(corrected(rated("ann", "i")))
    assert (ledger.spend("ann"), ledger.account("rating_subsidy").posted) == (0, 0)
    assert ledger.audit().finding is None


def test_ratings_have_a_budget_over_everybody_and_raters_have_shares(ledger: PureLedger) -> None:
    def earned(account: str) -> int:
        for number in range(400):
            ledger.apply(rated(account, f"image {number}"))
        return ledger.spend(account)

    budget = ledger.economy.rating_budget_per_day_mkudos
    first = earned("one")
    assert 0.15 * budget < first <= budget // 5
    rest = [earned(account) for account in ("two", "three", "four", "five")]
    assert all(rest)
    assert first + sum(rest) < budget
    drawn, by_the_journal = ledger.drawn_today()
    assert drawn == by_the_journal
    # Who begins anew is bounded all the same, and tomorrow is another day.
    ledger.restart()
    refused = ledger.apply(rated("one", "image 401"))[0].result
    assert isinstance(refused, BudgetSpent)
    assert (refused.metadata["budget"], refused.metadata["share"]) == ("rating", "account")
    ledger.now_us += DAY_US
    ledger.entry(rated("one", "image 402"))


def test_nothing_is_paid_for_models_that_nobody_wants(ledger: PureLedger) -> None:
    with pytest.raises(InvalidField):
        ledger.entry(uptime("bob", 1, models=0))
    with pytest.raises(InvalidField):
        ledger.entry(uptime("bob", 1, sharers=10**9))
    assert ledger.escrow("bob") == 0


def test_a_clock_that_steps_back_finds_nothing_unspent(ledger: PureLedger) -> None:
    ledger.now_us += 1_000_000
    draw(ledger, "all", 1, "aa")
    ledger.now_us -= 2_000_000
    with pytest.raises(BudgetSpent):
        ledger.entry(held("yesterday", ANONYMOUS, token=token(1), address="aa"))


def test_the_address_is_recorded_and_no_part_of_what_a_repeat_must_agree_with(ledger: PureLedger) -> None:
    ledger.entry(held("g", ANONYMOUS, address="aa"))
    (again,) = ledger.apply(held("g", ANONYMOUS))
    assert again.repeated
    assert '"decided":{"address":"aa"}' in ledger.store._events[-1].body


def test_a_verdict_on_a_job_takes_no_more_than_it_earned(ledger: PureLedger) -> None:
    ledger.apply(awarded("ann", 100 * KUDOS), held("g", "ann", count=3), uptime("bob", 1))
    ledger.apply(settled("g", "bob"), settled("g", "bob", index=1))
    entry = ledger.entry(slashed_for("g", "bob"))
    assert (entry.transfers[0].amount, entry.job_id) == (10 * KUDOS, settled("g", "bob").operation.job_id)  # type: ignore[union-attr]
    assert ledger.entry(slashed_for("g", "bob", 4 * KUDOS, 1)).transfers[0].amount == 4 * KUDOS
    assert ledger.apply(slashed_for("g", "bob"))[0].repeated
    for event in (slashed_for("g", "cat", index=1), slashed_for("g", "bob", index=2), slashed_for("h", "bob")):
        with pytest.raises(EntryNotFound):
            ledger.entry(dataclasses.replace(event, event_id=some_id(repr(event))))
    ledger.entry(released("g", 2))
    with pytest.raises(EntryNotFound):
        ledger.entry(slashed_for("g", "ann", index=2))
    # Back to who had paid for them.
    assert (ledger.spend("ann"), ledger.account("slash_burn").posted) == (100 * KUDOS - 26 * KUDOS + 14 * KUDOS, 0)
    assert ledger.audit().finding is None


def test_a_job_of_the_same_batch_can_be_slashed(ledger: PureLedger) -> None:
    ledger.apply(awarded("ann", 100 * KUDOS), held("g", "ann"))
    _, burned = ledger.apply(settled("g", "bob"), slashed_for("g", "bob"))
    assert isinstance(burned.result, Entry)
    assert burned.result.transfers[0].amount == 5 * KUDOS
    assert isinstance(settled("g", "bob").operation, Settle)
    assert PRICE.price_mkudos == 10 * KUDOS
