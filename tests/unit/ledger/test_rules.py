"""What each operation does to whom, and what it refuses."""

from __future__ import annotations

import pytest

from horde.ledger.core.accounts import ANONYMOUS, DAY_US
from horde.ledger.core.economy import KUDOS, Economy
from horde.ledger.core.entries import EscrowReason, TransferCode
from horde.ledger.core.errors import (
    AmountExceedsHold,
    BudgetSpent,
    EntryNotFound,
    EventConflict,
    HoldNotFound,
    InsufficientKudos,
    InvalidField,
    LimitReached,
    NotCorrectable,
)
from horde.ledger.core.operations import EventKind, JobEnding
from horde.testkit.ledger import (
    PRICE,
    PureLedger,
    awarded,
    closed,
    corrected,
    gift,
    held,
    opened,
    price,
    released,
    settled,
    slashed,
    standing,
    uptime,
)


@pytest.fixture
def ledger() -> PureLedger:
    made = PureLedger()
    made.apply(opened("ann"), opened("bob"))
    return made


def rich(ledger: PureLedger, account: str = "ann", amount: int = 100 * KUDOS) -> None:
    ledger.apply(awarded(account, amount, "rich"))


SURCHARGED = price(10 * KUDOS, 3 * KUDOS, 2 * KUDOS)


@pytest.mark.parametrize(
    ("ending", "earned", "tax", "surcharge", "ann", "bob", "burned"),
    [
        (JobEnding.DONE, 10_000, 3_000, 2_000, 85_000, 10_000, 5_000),
        (JobEnding.CANCELLED, 4_000, 0, 800, 95_200, 4_000, 800),
        (JobEnding.CANCELLED, 0, 0, 0, 100_000, 0, 0),
        (JobEnding.CENSORED, 10_000, 0, 0, 100_000, 10_000, 0),
        (None, 0, 0, 0, 100_000, 0, 0),
    ],
)
def test_how_a_job_ends_pays_as_the_table_says(
    ledger: PureLedger, ending: JobEnding | None, earned: int, tax: int, surcharge: int, ann: int, bob: int, burned: int
) -> None:
    rich(ledger)
    ledger.apply(held("g", "ann", SURCHARGED))
    assert ledger.spend("ann") == 85_000
    assert ledger.account("spend/ann").held == 15_000
    if ending is None:
        ledger.entry(released("g"))
    else:
        ledger.entry(settled("g", "bob", SURCHARGED, 0, ending, earned, tax, surcharge))
    assert ledger.spend("ann") == ann
    assert ledger.spend("bob") + ledger.escrow("bob") == bob
    assert ledger.account("tax_burn").posted + ledger.account("surcharge_burn").posted == burned
    assert ledger.account("held").posted == ledger.account("spend/ann").held == 0
    assert ledger.account("censor_subsidy").posted == (-earned if ending is JobEnding.CENSORED else 0)
    assert ledger.audit().finding is None


def test_a_hold_draws_on_the_account_then_on_the_floor_subsidy(ledger: PureLedger) -> None:
    rich(ledger, amount=20 * KUDOS)
    entry = ledger.entry(held("g", "ann", count=3))
    assert [(line.debit, line.amount) for line in entry.transfers] == [
        ("spend/ann", 13_000), ("spend/ann", 7_000), ("floor_subsidy", 6_000), ("floor_subsidy", 13_000),
    ]  # fmt: skip
    assert ledger.spend("ann") == 0
    assert ledger.account("floor_subsidy").posted == -19_000
    assert ledger.account("floor_subsidy").held == 19_000


def test_each_part_of_a_hold_goes_back_to_its_own_source(ledger: PureLedger) -> None:
    rich(ledger, amount=10 * KUDOS)
    ledger.entry(held("g", "ann"))
    ledger.entry(released("g"))
    assert ledger.spend("ann") == 10 * KUDOS
    assert ledger.account("floor_subsidy").posted == 0
    rich(ledger, "bob", 10 * KUDOS)
    ledger.entry(held("h", "bob"))
    part = ledger.entry(settled("h", "cat", ending=JobEnding.CANCELLED, earned=4_000, tax=0))
    assert part.settlement is not None
    assert (part.settlement.charged, part.settlement.subsidised, part.settlement.returned) == (4_000, 0, 9_000)
    assert ledger.spend("bob") == 6 * KUDOS
    assert ledger.account("floor_subsidy").posted == 0


def test_the_floor_subsidy_has_an_allowance_for_each_account_and_day(ledger: PureLedger) -> None:
    ledger.entry(held("g", "ann", count=4))
    with pytest.raises(InsufficientKudos) as refused:
        ledger.entry(held("h", "ann"))
    assert refused.value.metadata == {"available_mkudos": "8000", "needed_mkudos": "13000"}
    ledger.entry(held("i", "bob"))
    ledger.entry(released("g", 0))
    ledger.entry(held("j", "ann"))
    ledger.now_us += DAY_US
    ledger.entry(held("k", "ann", count=4))
    ledger.entry(released("j"))
    with pytest.raises(InsufficientKudos):
        ledger.entry(held("l", "ann"))


def test_a_refused_group_holds_nothing(ledger: PureLedger) -> None:
    rich(ledger, amount=20 * KUDOS)
    with pytest.raises(InsufficientKudos):
        ledger.entry(held("g", "ann", count=7))
    assert ledger.spend("ann") == 20 * KUDOS
    assert ledger.account("held").posted == 0
    with pytest.raises(HoldNotFound):
        ledger.entry(released("g"))


def test_anonymous_holds_against_a_daily_budget(ledger: PureLedger) -> None:
    ledger.economy = Economy(anonymous_budget_per_day_mkudos=30 * KUDOS)
    ledger.restart()
    ledger.entry(held("g", ANONYMOUS, count=2))
    with pytest.raises(BudgetSpent):
        ledger.entry(held("h", ANONYMOUS))
    ledger.entry(released("g", 0))
    ledger.entry(held("i", ANONYMOUS))
    ledger.now_us += DAY_US
    ledger.entry(held("j", ANONYMOUS, count=2))
    entry = ledger.entry(settled("j", "bob"))
    assert entry.settlement is not None
    assert (entry.settlement.charged, entry.settlement.subsidised, entry.settlement.payer_id) == (0, 13_000, ANONYMOUS)


def mint_by_painting_for_oneself(ledger: PureLedger, payer: str, ending: JobEnding) -> int:
    """What an owner has to spend after a day of painting his own requests of this kind, less what they cost him."""
    before = ledger.spend("bob")
    for number in range(300):
        try:
            ledger.entry(held(f"{payer} {number}", payer, token=f"{number:064x}"))
        except (BudgetSpent, InsufficientKudos):
            break
        ledger.entry(settled(f"{payer} {number}", "bob", ending=ending))
    return ledger.spend("bob") - before


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(
    ("payer", "ending"), [(ANONYMOUS, JobEnding.DONE), ("ann", JobEnding.CENSORED), ("bob", JobEnding.CENSORED)]
)
def test_nobody_mints_by_painting_his_own_requests(
    ledger: PureLedger, payer: str, ending: JobEnding, trusted: bool
) -> None:
    rich(ledger)
    ledger.apply(standing("bob", trusted=trusted))
    censored = ending is JobEnding.CENSORED
    economy = ledger.economy
    bound = (
        economy.censor_budget_per_day_mkudos * economy.censor_owner_share_permille // 1000
        if censored
        else economy.subsidised_earning_per_day_mkudos
    )
    assert 0 < mint_by_painting_for_oneself(ledger, payer, ending) <= bound
    # What is over is parked, or was not paid: it makes nobody trusted, and no rule frees it.
    ledger.now_us += 8 * DAY_US
    ledger.apply(standing("bob", name="touch"), opened("bob"))
    assert censored or ledger.escrow("bob") >= 1_000 * KUDOS
    ledger.apply(uptime("bob", 1))
    assert ledger.spend("bob") <= bound + ledger.economy.uptime_reward(1)
    ledger.apply(standing("bob", trusted=True, name="reviewed"))
    assert ledger.escrow("bob") == 0


def test_why_an_earning_waits_is_said(ledger: PureLedger) -> None:
    ledger.economy = Economy(subsidised_earning_per_day_mkudos=15 * KUDOS)
    ledger.restart()
    rich(ledger, amount=13 * KUDOS)
    ledger.apply(held("own", "ann"), held("a", ANONYMOUS), held("b", ANONYMOUS), held("floor", "ann"))
    reasons = []
    for name in ("own", "a", "b", "floor"):
        settlement = ledger.entry(settled(name, "bob")).settlement
        assert settlement is not None
        reasons.append(settlement.escrow_reason)
    assert reasons == [
        EscrowReason.OWNER_UNTRUSTED, EscrowReason.OWNER_UNTRUSTED, EscrowReason.ANONYMOUS_BOUND,
        EscrowReason.SUBSIDY_BOUND,
    ]  # fmt: skip
    ledger.apply(standing("cat", trusted=True), awarded("ann", 13 * KUDOS), held("last", "ann"))
    settlement = ledger.entry(settled("last", "cat")).settlement
    assert settlement is not None
    assert (settlement.escrow_reason, settlement.to_spend) == (EscrowReason.NONE, 10_000)


@pytest.mark.parametrize(("earned", "tax"), [(10_001, 3_000), (10_000, 3_001), (13_000, 0)])
def test_no_more_is_paid_than_was_held(ledger: PureLedger, earned: int, tax: int) -> None:
    rich(ledger)
    ledger.apply(held("g", "ann"))
    with pytest.raises(AmountExceedsHold) as refused:
        ledger.entry(settled("g", "bob", earned=earned, tax=tax))
    assert refused.value.metadata == {"held_mkudos": "13000", "asked_mkudos": str(earned + tax)}
    ledger.entry(settled("g", "bob"))


def test_a_job_is_paid_or_released_never_both(ledger: PureLedger) -> None:
    rich(ledger)
    ledger.apply(held("g", "ann", count=2))
    ledger.entry(settled("g", "bob"))
    with pytest.raises(EventConflict):
        ledger.entry(released("g"))
    ledger.entry(released("g", 1))
    with pytest.raises(EventConflict):
        ledger.entry(settled("g", "bob", index=1))
    assert ledger.spend("ann") == 87 * KUDOS


def test_uptime_is_paid_once_for_a_bucket_and_into_escrow_while_new(ledger: PureLedger) -> None:
    first, again = ledger.apply(uptime("bob", 7, models=3), uptime("bob", 7, models=3))
    assert not first.repeated
    assert again.repeated
    assert (ledger.spend("bob"), ledger.escrow("bob")) == (0, 56 * KUDOS)
    ledger.apply(standing("bob", trusted=True), uptime("bob", 8))
    assert (ledger.spend("bob"), ledger.escrow("bob")) == (108 * KUDOS, 0)
    assert ledger.account("mint").posted == -108 * KUDOS
    with pytest.raises(InvalidField):
        ledger.entry(uptime("bob", ledger.now_us // 600_000_000 + 1))


def test_promotion_follows_by_itself_and_is_an_entry(ledger: PureLedger) -> None:
    ledger.economy = Economy(promotion_escrow_mkudos=100 * KUDOS)
    ledger = PureLedger(ledger.economy)
    ledger.apply(opened("bob", ledger.now_us - 8 * DAY_US), uptime("bob", 1))
    assert ledger.spend("bob") == 0
    ledger.apply(uptime("bob", 2))
    assert (ledger.spend("bob"), ledger.escrow("bob")) == (104 * KUDOS, 0)
    last = ledger.store._events[-1]
    assert f'"kind":"{EventKind.PROMOTION.name}"' in last.body
    rich(ledger)
    ledger.apply(held("g", "ann"))
    settlement = ledger.entry(settled("g", "bob")).settlement
    assert settlement is not None
    assert settlement.to_spend == 10_000
    ledger.apply(standing("bob", strikes=5), held("h", "ann"))
    settlement = ledger.entry(settled("h", "bob")).settlement
    assert settlement is not None
    assert settlement.to_escrow == 5_000
    assert ledger.audit().finding is None


def test_gifts_have_limits(ledger: PureLedger) -> None:
    rich(ledger, amount=2_000_000 * KUDOS)
    cases = [
        (gift("ann", "bob", KUDOS - 1, "small"), "gift_min_mkudos"),
        (gift("ann", "bob", 1_000_001 * KUDOS, "large"), "gift_per_day_mkudos"),
    ]
    for event, limit in cases:
        with pytest.raises(LimitReached) as refused:
            ledger.entry(event)
        assert refused.value.metadata["limit"] == limit
    for number in range(90):
        ledger.entry(gift("ann", f"friend{number}", KUDOS))
    with pytest.raises(LimitReached) as refused:
        ledger.entry(gift("ann", "bob", KUDOS))
    assert refused.value.metadata["limit"] == "gifts_per_day"
    ledger.now_us += DAY_US
    ledger.entry(gift("ann", "bob", KUDOS, "next day"))


def test_a_gift_is_not_given_back_at_once(ledger: PureLedger) -> None:
    rich(ledger)
    ledger.entry(gift("ann", "bob", 10 * KUDOS))
    with pytest.raises(LimitReached) as refused:
        ledger.entry(gift("bob", "ann", KUDOS, "at once"))
    assert refused.value.metadata["limit"] == "gift_back_after_us"
    ledger.now_us += 60_000_000
    ledger.entry(gift("bob", "ann", KUDOS, "later"))


def test_gifts_come_from_what_one_has(ledger: PureLedger) -> None:
    rich(ledger, amount=5 * KUDOS)
    with pytest.raises(InsufficientKudos) as refused:
        ledger.entry(gift("ann", "newcomer", 6 * KUDOS))
    assert refused.value.metadata == {"available_mkudos": "5000", "needed_mkudos": "6000"}
    assert ledger.store.asking().owners(["newcomer"]) == []


def test_slashing_burns_at_most_what_waits(ledger: PureLedger) -> None:
    ledger.apply(uptime("bob", 1))
    ledger.entry(slashed("bob", 20 * KUDOS))
    assert (ledger.escrow("bob"), ledger.account("slash_burn").posted) == (32 * KUDOS, 20 * KUDOS)
    entry = ledger.entry(slashed("bob", 50 * KUDOS, "more"))
    assert entry.transfers[0].amount == 32 * KUDOS
    assert ledger.entry(slashed("bob", 1, "none left")).transfers == ()


def test_a_closed_account_has_nothing_and_keeps_nothing(ledger: PureLedger) -> None:
    rich(ledger, amount=40 * KUDOS)
    ledger.apply(uptime("ann", 1), held("asked", "ann"), held("painted", "bob"))
    has = ledger.spend("ann") + ledger.escrow("ann")
    assert has > 0 < ledger.escrow("ann")
    entry = ledger.entry(closed("ann"))
    assert sum(line.amount for line in entry.transfers) == has
    assert {line.code for line in entry.transfers} == {TransferCode.FORFEIT}
    # What it still had out comes back, and goes; what it earns goes, too, and nobody else is touched.
    ledger.restart()
    bob = ledger.spend("bob")
    ledger.entry(released("asked"))
    ledger.entry(settled("painted", "ann"))
    ledger.entry(awarded("ann", KUDOS, "late"))
    assert (ledger.spend("ann"), ledger.escrow("ann"), ledger.spend("bob")) == (0, 0, bob)
    assert ledger.account("forfeit_burn").posted == has + 13 * KUDOS + 10 * KUDOS + KUDOS
    assert ledger.apply(closed("ann"))[0].repeated
    refused = ledger.apply(held("more", "ann"))[0].result
    assert isinstance(refused, InsufficientKudos)
    assert refused.metadata["available_mkudos"] == "0"
    assert ledger.audit().finding is None


def test_who_was_never_heard_of_is_closed_as_well(ledger: PureLedger) -> None:
    assert ledger.entry(closed("nobody")).transfers == ()
    ledger.entry(awarded("nobody", KUDOS))
    assert ledger.spend("nobody") == 0


def test_a_correction_takes_everything_back_to_where_it_came_from(ledger: PureLedger) -> None:
    rich(ledger, amount=10 * KUDOS)
    ledger.apply(held("g", "ann"))
    settle = settled("g", "bob")
    ledger.entry(settle)
    entry = ledger.entry(corrected(settle))
    assert {line.code for line in entry.transfers} == {TransferCode.CORRECTION}
    assert ledger.spend("ann") == 10 * KUDOS
    assert ledger.spend("bob") == ledger.escrow("bob") == 0
    for name in ("tax_burn", "floor_subsidy", "held"):
        assert ledger.account(name).posted == 0
    assert ledger.apply(corrected(settle))[0].repeated
    assert ledger.audit().finding is None


def test_what_cannot_be_corrected(ledger: PureLedger) -> None:
    rich(ledger)
    hold, give = held("g", "ann"), gift("ann", "bob", 20 * KUDOS)
    ledger.apply(hold, give)
    ledger.now_us += DAY_US
    ledger.apply(gift("bob", "cat", 15 * KUDOS))
    for event, why in ((hold, "kind"), (give, "balance")):
        with pytest.raises(NotCorrectable) as refused:
            ledger.entry(corrected(event))
        assert refused.value.metadata == {"why": why}
    with pytest.raises(EntryNotFound):
        ledger.entry(corrected(held("never", "ann")))
    refused_hold = held("much", "ann", count=99)
    ledger.apply(refused_hold)
    with pytest.raises(NotCorrectable):
        ledger.entry(corrected(refused_hold))


def test_an_account_that_was_heard_of_before_it_was_opened_gets_its_age() -> None:
    ledger = PureLedger()
    ledger.apply(awarded("ann", KUDOS))
    ledger.apply(opened("ann", 12345))
    assert ledger.store.asking().owners(["ann"])[0].opened_us == 12345


def test_decisions_go_on_upon_what_is_not_committed_yet(ledger: PureLedger) -> None:
    rich(ledger, amount=20 * KUDOS)
    previous = ledger.journal.head
    ledger.decide(held("g", "ann"))
    batch = ledger.journal.seal()
    assert batch is not None
    again, paid, refused = ledger.decide(held("g", "ann"), settled("g", "bob"), gift("ann", "bob", 8 * KUDOS))
    assert again.repeated
    assert not isinstance(paid.result, Exception)
    assert isinstance(refused.result, InsufficientKudos)
    ledger.store.put(previous, batch)
    ledger.seal()
    assert ledger.audit().finding is None
    assert PRICE.total_mkudos == 13_000


def test_an_operator_releases_what_nobody_can_come_for_any_more(ledger: PureLedger) -> None:
    rich(ledger)
    ledger.apply(held("g", "ann", count=2))
    lost, paid = released("g", 0, JobEnding.EXPIRED, note="database lost (op)"), settled("g", "bob", index=1)
    for _ in range(2):
        with pytest.raises(InvalidField):
            ledger.entry(lost)
        ledger.now_us += DAY_US
    assert ledger.entry(lost).note == "database lost (op)"
    assert ledger.spend("ann") == 87 * KUDOS
    # Its scheduler comes back after all: the job is over, and nobody is paid twice.
    with pytest.raises(EventConflict):
        ledger.entry(settled("g", "bob"))
    ledger.entry(paid)
    assert ledger.audit().finding is None
