"""What follows from having looked at a job's picture: escrow is freed, or taken."""

from __future__ import annotations

import pytest

from horde.ledger.core.accounts import ANONYMOUS, MESH
from horde.ledger.core.economy import KUDOS, Economy
from horde.ledger.core.errors import BudgetSpent, EntryNotFound, InvalidField
from horde.ledger.core.operations import JobEnding
from horde.ledger.core.validation import check
from horde.testkit.ledger import (
    PureLedger,
    awarded,
    corrected,
    gift,
    held,
    opened,
    price,
    released,
    settled,
    slashed_for,
    standing,
    verified,
)

PRICE = price(10 * KUDOS)
TAX = 3 * KUDOS


@pytest.fixture
def ledger() -> PureLedger:
    """Alice has asked, and paid, for one picture of bob's."""
    ledger = PureLedger()
    ledger.apply(opened("alice"), opened("bob"), awarded("alice", 100 * KUDOS))
    ledger.apply(held("g", "alice", PRICE), settled("g", "bob", PRICE))
    return ledger


def test_a_verified_picture_frees_what_it_put_into_escrow_once(ledger: PureLedger) -> None:
    ledger.apply(held("h", "alice", PRICE), settled("h", "bob", PRICE))
    assert (ledger.spend("bob"), ledger.escrow("bob")) == (10 * KUDOS, 10 * KUDOS)
    ledger.entry(verified("g", "bob"))
    ledger.entry(verified("g", "bob"))
    assert (ledger.spend("bob"), ledger.escrow("bob")) == (15 * KUDOS, 5 * KUDOS)
    assert ledger.audit().finding is None


def test_what_is_parked_is_not_freed_by_a_verified_picture() -> None:
    ledger = PureLedger(Economy(subsidised_earning_per_day_mkudos=0))
    ledger.apply(opened("bob"), held("a", ANONYMOUS, PRICE), settled("a", "bob", PRICE))
    assert ledger.entry(verified("a", "bob")).transfers == ()
    assert ledger.escrow("bob") == 10 * KUDOS


def test_a_slashed_picture_is_paid_back_out_of_all_that_its_painter_has_in_escrow(ledger: PureLedger) -> None:
    ledger.apply(held("h", "alice", PRICE), settled("h", "bob", PRICE))
    had = ledger.spend("alice")
    ledger.entry(slashed_for("g", "bob"))
    assert ledger.spend("alice") == had + 10 * KUDOS
    assert ledger.escrow("bob") == 0
    assert ledger.account("slash_burn").posted == 0
    assert ledger.audit().finding is None


def test_the_slash_gives_back_no_more_than_there_is_and_no_tax(ledger: PureLedger) -> None:
    ledger.entry(slashed_for("g", "bob"))
    assert ledger.spend("alice") == 100 * KUDOS - 10 * KUDOS - TAX + 5 * KUDOS
    assert ledger.entry(slashed_for("g", "bob")).transfers != ()  # The first answer, and nothing more.
    assert ledger.spend("alice") == 100 * KUDOS - 10 * KUDOS - TAX + 5 * KUDOS


def test_what_a_subsidy_had_paid_is_burned() -> None:
    ledger = PureLedger()
    ledger.apply(opened("bob"), held("a", ANONYMOUS, PRICE), settled("a", "bob", PRICE))
    ledger.entry(slashed_for("a", "bob"))
    assert ledger.account("slash_burn").posted == 5 * KUDOS
    assert ledger.audit().finding is None


def test_a_slash_for_a_job_is_a_strike(ledger: PureLedger) -> None:
    ledger.entry(standing("bob", 4, None))
    ledger.now_us += 8 * 86_400_000_000
    ledger.economy = Economy(promotion_escrow_mkudos=1, strikes_limit=5)
    ledger.restart()
    ledger.apply(held("h", "alice", PRICE), settled("h", "bob", PRICE))
    assert ledger.escrow("bob") == 0  # Promoted, with four strikes.
    ledger.entry(slashed_for("g", "bob"))
    ledger.apply(held("i", "alice", PRICE), settled("i", "bob", PRICE))
    assert ledger.escrow("bob") == 5 * KUDOS


def test_a_slash_can_be_corrected(ledger: PureLedger) -> None:
    slash = slashed_for("g", "bob")
    ledger.entry(slash)
    ledger.entry(corrected(slash))
    assert ledger.escrow("bob") == 5 * KUDOS
    assert ledger.audit().finding is None


def test_a_verdict_needs_a_job_that_was_paid_to_this_account(ledger: PureLedger) -> None:
    for event in (verified("g", "carol"), slashed_for("nothing", "bob")):
        (answer,) = ledger.apply(event)
        assert isinstance(answer.result, EntryNotFound)


def test_the_mesh_pays_with_the_check_subsidy_and_what_it_pays_is_no_gift() -> None:
    ledger = PureLedger(Economy(subsidised_earning_per_day_mkudos=0))
    ledger.apply(opened("bob"), standing("bob", 0, True), held("c", MESH, PRICE, address="aa"))
    ledger.entry(settled("c", "bob", PRICE))
    assert ledger.spend("bob") == 10 * KUDOS
    assert ledger.account("check_subsidy").posted == -10 * KUDOS - TAX
    assert ledger.account("tax_burn").posted == TAX
    assert ledger.audit().finding is None


def test_the_days_budget_for_looking_is_shared_by_whose_work_is_looked_at() -> None:
    ledger = PureLedger(Economy(check_budget_per_day_mkudos=1_000 * KUDOS, check_owner_share_permille=100))

    def looks(whose: str) -> int:
        for number in range(200):
            (answer,) = ledger.apply(held(f"{whose}{number}", MESH, PRICE, address=whose))
            if isinstance(answer.result, BudgetSpent):
                assert answer.result.metadata["budget"] == "checks"
                return number
        raise AssertionError("no bound")

    first = looks("aa")
    assert 6 <= first <= 8  # Of 76 pictures of 13 kudos, 1 in 11.
    assert looks("bb") >= 5
    ledger.apply(released("aa0", 0, JobEnding.EXPIRED))
    ledger.restart()
    assert ledger.drawn_today()[0] == ledger.drawn_today()[1]


def test_the_mesh_owns_nothing() -> None:
    ledger = PureLedger()
    ledger.apply(opened("alice"), awarded("alice", 100 * KUDOS))
    for event in (gift("alice", MESH, KUDOS), awarded(MESH, KUDOS), verified("g", MESH)):
        with pytest.raises(InvalidField):
            check(event)
