"""Rules for the kudos of a job: set aside, then paid out or given back. Pure.

Draw order of a hold: the payer's own kudos down to the floor, then the floor subsidy within the day's allowance. What
is spent of it comes from the payer's own part first, so the subsidies are the last to pay and the first to get back.
"""

from __future__ import annotations

from typing import Final

from horde.ledger.core.accounts import (
    ANONYMOUS,
    CENSOR_SUBSIDY,
    CHECK_SUBSIDY,
    FLOOR_SUBSIDY,
    HELD,
    NAMELESS,
    SURCHARGE_BURN,
    TAX_BURN,
    AccountName,
    escrow_of,
    spend_of,
)
from horde.ledger.core.book import Book, Draft, Hold
from horde.ledger.core.budgets import censoring, drawer, rfc3339
from horde.ledger.core.economy import Split, day_of
from horde.ledger.core.entries import EscrowReason, Settlement, Transfer, TransferCode, settlement_text
from horde.ledger.core.errors import AmountExceedsHold, BudgetSpent, HoldNotFound, InsufficientKudos, InvalidField
from horde.ledger.core.operations import JobEnding, PlaceHolds, Release, Settle
from horde.services.errors import FieldViolation
from horde.services.shares import Taker

ORPHANED_DAYS: Final = 2
"""Days after which nobody can come for a hold any more: a job lives one at most, and the day of a hold is all that is
kept of its time."""
_HOLD = int(TransferCode.HOLD)
_RELEASE = int(TransferCode.RELEASE)


def place(book: Book, asked: PlaceHolds, now_us: int) -> Draft:
    """Hold for every job of a generation, or refuse with InsufficientKudos or BudgetSpent."""
    needed = sum(hold.parts.total_mkudos for hold in asked.holds)
    taker = drawer(asked.account_id, asked.anonymous_digest, asked.address_digest)
    if subsidy := NAMELESS.get(asked.account_id):
        book.today(now_us).pot_of(subsidy).take(taker, needed)
        return _place(book, asked, now_us, 0, subsidy, taker)
    if (owner := book.owners[asked.account_id]) is not None and owner.closed:
        raise InsufficientKudos(metadata={"available_mkudos": "0", "needed_mkudos": str(needed)})
    own = max(0, book.posted(spend_of(asked.account_id)) - book.economy.floor_mkudos)
    if needed > own:
        _draw_on_floor(book, asked.account_id, taker, own, needed, now_us)
    return _place(book, asked, now_us, own, FLOOR_SUBSIDY, taker)


def _draw_on_floor(book: Book, account_id: str, taker: Taker, own: int, needed: int, now_us: int) -> None:
    """Take what the account lacks from the floor subsidy's budget, or refuse with InsufficientKudos: nobody who has
    kudos is told to wait for a subsidy."""
    economy, owner, day = book.economy, book.owners[account_id], book.today(now_us)
    left = economy.floor_left(owner, now_us)
    metadata = {"available_mkudos": str(own + left), "needed_mkudos": str(needed)}
    if needed > own + left:
        if not left and needed <= own + economy.floor_allowance_per_day_mkudos and owner is not None:
            back_us = owner.opened_us + economy.floor_age_s * 1_000_000
            if back_us > now_us:
                metadata |= {"floor": "ACCOUNT_TOO_YOUNG", "back_at": rfc3339(back_us)}
        raise InsufficientKudos(metadata=metadata)
    try:
        day.floor.take(taker, needed - own)
    except BudgetSpent:
        metadata |= {"available_mkudos": str(own), "floor": "BUDGET_SPENT", "back_at": day.back_at}
        raise InsufficientKudos(metadata=metadata) from None


def _place(book: Book, asked: PlaceHolds, now_us: int, own: int, subsidy: AccountName, taker: Taker) -> Draft:
    day, spend = day_of(now_us), spend_of(asked.account_id)
    draft = Draft(
        generation_id=asked.generation_id, parties=() if asked.account_id in NAMELESS else (asked.account_id,)
    )
    if asked.address_digest:
        draft.decided = f'{{"address":"{asked.address_digest}"}}'
    subsidised = 0
    for hold in asked.holds:
        parts = hold.parts
        from_own = min(own, parts.total_mkudos)
        from_subsidy = parts.total_mkudos - from_own
        own -= from_own
        subsidised += from_subsidy
        if from_own:
            draft.transfers.append(Transfer(spend, HELD, from_own, _HOLD))
        if from_subsidy:
            draft.transfers.append(Transfer(subsidy, HELD, from_subsidy, _HOLD))
            book.today(now_us).drawers[hold.hold_id] = taker
        book.open_hold(
            Hold(
                hold_id=hold.hold_id, job_id=hold.job_id, generation_id=asked.generation_id, payer_id=asked.account_id,
                own=from_own, subsidised=from_subsidy, subsidy=subsidy if from_subsidy else "", day=day,
                parts=parts.canonical(), quoted=parts,
            )
        )  # fmt: skip
    if subsidised:
        _draw(book, asked.account_id, subsidised, day, now_us)
    return draft


def _draw(book: Book, account_id: str, amount: int, day: int, now_us: int) -> None:
    """Count what was drawn from a subsidy today; a negative amount gives it back."""
    owner = book.owner(account_id, now_us)
    owner.turn_to(day)
    owner.subsidy_used += amount
    book.changed_owners[account_id] = owner


def settle(book: Book, asked: Settle, now_us: int) -> Draft:
    """Pay for a job: the owner, tax and surcharges; the rest goes back to where it came from."""
    hold = _open_hold(book, asked.hold_id)
    censored = asked.ending == JobEnding.CENSORED
    quoted = hold.quoted
    if (
        asked.earned_mkudos > quoted.price_mkudos
        or asked.tax_mkudos > quoted.tax_mkudos
        or asked.surcharge_mkudos > quoted.surcharge_mkudos
    ):
        spent = asked.earned_mkudos + asked.tax_mkudos + asked.surcharge_mkudos
        raise AmountExceedsHold(metadata={"held_mkudos": str(hold.total), "asked_mkudos": str(spent)})
    earned, surcharge = _payable(book, asked, hold, now_us)
    spent = 0 if censored else earned + asked.tax_mkudos + surcharge
    charged = min(spent, hold.own)
    subsidised = spent - charged
    # What the mesh has painted to look at somebody else's work is work like any other: no gift that needs a bound.
    given = 0 if hold.subsidy == CHECK_SUBSIDY else subsidised
    by_subsidy = earned if censored else min(earned, given)
    split, reason = _earn(book, asked.owner_id, earned, by_subsidy, hold.payer_id, now_us)
    if earned < asked.earned_mkudos:
        reason = EscrowReason.UNPAID
    source = CENSOR_SUBSIDY if censored else HELD
    transfers = []
    if split.to_spend:
        transfers.append(Transfer(source, spend_of(asked.owner_id), split.to_spend, int(TransferCode.EARNING)))
    if split.to_escrow:
        transfers.append(Transfer(source, escrow_of(asked.owner_id), split.to_escrow, int(TransferCode.EARNING_ESCROW)))
    if asked.tax_mkudos:
        transfers.append(Transfer(HELD, TAX_BURN, asked.tax_mkudos, int(TransferCode.TAX)))
    if surcharge:
        transfers.append(Transfer(HELD, SURCHARGE_BURN, surcharge, int(TransferCode.SURCHARGE)))
    _give_back(book, hold, hold.own - charged, hold.subsidised - subsidised, transfers, now_us)
    settlement = Settlement(
        owner_id=asked.owner_id, payer_id=hold.payer_id, worker_id=asked.worker_id, model=asked.model,
        ending=asked.ending, earned=earned, to_spend=split.to_spend, to_escrow=split.to_escrow, escrow_reason=reason,
        tax=asked.tax_mkudos, surcharge=surcharge, charged=charged, subsidised=subsidised, subsidy=hold.subsidy,
        returned=hold.total - spent, from_censor_subsidy=earned if censored else 0, parts=quoted,
    )  # fmt: skip
    return Draft(
        transfers=transfers,
        parties=_parties(hold.payer_id, asked.owner_id),
        job_id=hold.job_id,
        generation_id=hold.generation_id,
        settlement=settlement,
        decided=settlement_text(settlement, hold.generation_id, hold.parts),
    )


def _payable(book: Book, asked: Settle, hold: Hold, now_us: int) -> tuple[int, int]:
    """What is paid of an earning and of the surcharges. It cannot be refused: the job has ended."""
    earned, surcharge = asked.earned_mkudos, asked.surcharge_mkudos
    if asked.ending == JobEnding.CENSORED and earned:
        try:
            book.today(now_us).censor.take(censoring(asked.owner_id, hold.payer_id), earned)
        except BudgetSpent:
            return 0, 0
    elif asked.ending == JobEnding.CANCELLED and earned:
        # Nothing was painted that anybody has: a subsidy pays for none of it, and the payer not without a bound.
        day = book.today(now_us)
        left = max(0, book.economy.cancelled_earning_per_day_mkudos - day.cancelled[asked.owner_id])
        earned = min(earned, left, hold.own)
        if earned:
            day.cancelled[asked.owner_id] += earned
    if asked.ending == JobEnding.CANCELLED:
        surcharge = min(surcharge, hold.own - earned)
    return earned, surcharge


def _earn(book: Book, owner_id: str, earned: int, by_subsidy: int, payer_id: str, now_us: int) -> tuple[Split, int]:
    economy, owner = book.economy, book.owner(owner_id, now_us)
    trusted = economy.trusted(owner)
    if not by_subsidy:
        split = economy.split_earning(earned, 0, 0, trusted)
    else:
        owner.turn_to(day_of(now_us))
        split = economy.split_earning(earned, by_subsidy, owner.subsidised_earned, trusted)
        owner.subsidised_earned += by_subsidy
        owner.parked += split.parked
        book.changed_owners[owner_id] = owner
    if split.parked:
        return split, EscrowReason.ANONYMOUS_BOUND if payer_id == ANONYMOUS else EscrowReason.SUBSIDY_BOUND
    return split, EscrowReason.OWNER_UNTRUSTED if split.to_escrow else EscrowReason.NONE


def release(book: Book, asked: Release, now_us: int) -> Draft:
    """Give all of a job's hold back, each part to its own source."""
    hold = _open_hold(book, asked.hold_id)
    if asked.note and hold.day > day_of(now_us) - ORPHANED_DAYS:
        raise InvalidField(violations=[FieldViolation("release.hold_id", "is of a job that may live still")])
    transfers: list[Transfer] = []
    _give_back(book, hold, hold.own, hold.subsidised, transfers, now_us)
    decided = (
        f'{{"generation":"{hold.generation_id}","own":{hold.own},"payer":"{hold.payer_id}",'
        f'"subsidised":{hold.subsidised},"subsidy":"{hold.subsidy}"}}'
    )
    parties = _parties(hold.payer_id, hold.payer_id)
    return Draft(transfers, parties, hold.job_id, hold.generation_id, None, decided, asked.ending)


def _parties(payer_id: str, owner_id: str) -> tuple[str, ...]:
    """Whose statements show it: who has no name has none, and who paints for himself sees it once."""
    return tuple(dict.fromkeys(account_id for account_id in (payer_id, owner_id) if account_id not in NAMELESS))


def _open_hold(book: Book, hold_id: str) -> Hold:
    hold = book.holds[hold_id]
    if hold is None:
        raise HoldNotFound(metadata={"hold_id": hold_id})
    return hold


def _give_back(book: Book, hold: Hold, own: int, subsidised: int, transfers: list[Transfer], now_us: int) -> None:
    """Close the hold; return what is left of each part."""
    if own:
        transfers.append(Transfer(HELD, spend_of(hold.payer_id), own, _RELEASE))
    if subsidised:
        transfers.append(Transfer(HELD, AccountName(hold.subsidy), subsidised, _RELEASE))
        if hold.day == day_of(now_us):
            _draw(book, hold.payer_id, -subsidised, hold.day, now_us)
    book.today(now_us).resolved(hold.hold_id, hold.subsidy, subsidised)
    book.close_hold(hold)
