"""Rules for kudos that do not come from a job: uptime, ratings, awards, gifts, promotion, slashing,
corrections, standing. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from horde.ledger.core.accounts import (
    DAY_US,
    FORFEIT_BURN,
    HELD,
    MINT,
    NAMELESS,
    RATING_SUBSIDY,
    SLASH_BURN,
    AccountName,
    Giving,
    escrow_of,
    parts_of,
    spend_of,
)
from horde.ledger.core.book import Book, Draft
from horde.ledger.core.budgets import rater
from horde.ledger.core.economy import Economy, day_of
from horde.ledger.core.entries import Json, Transfer, TransferCode, canonical
from horde.ledger.core.errors import EntryNotFound, InsufficientKudos, InvalidField, LimitReached, NotCorrectable
from horde.ledger.core.identifiers import settle_event_id
from horde.ledger.core.operations import (
    Award,
    CloseAccount,
    Correct,
    EventKind,
    Gift,
    OpenAccount,
    RewardRating,
    RewardUptime,
    SetStanding,
    Slash,
    Verify,
)
from horde.services.errors import FieldViolation
from horde.services.shares import Taker

CORRECTABLE = frozenset({
    EventKind.SETTLE, EventKind.UPTIME_REWARD, EventKind.RATING, EventKind.AWARD, EventKind.GIFT, EventKind.SLASH,
})  # fmt: skip
"""Holds are released, promotions follow from the rule, and a correction is corrected by doing the thing anew."""
_GIFT: Final = int(TransferCode.GIFT)
GIVING_MARGIN_US: Final = 3_600_000_000


def open_account(book: Book, asked: OpenAccount, now_us: int) -> Draft:
    """Make an owner known. An account that was heard of before it was opened gets its true age."""
    owner = book.owner(asked.account_id, now_us)
    owner.opened_us = min(asked.opened_us, now_us)
    book.changed_owners[asked.account_id] = owner
    return Draft(parties=(asked.account_id,))


def reward_uptime(book: Book, asked: RewardUptime, now_us: int) -> Draft:
    """Mint for ten minutes of readiness, or refuse with BudgetSpent; all of it waits in escrow while the owner is new
    (AI Horde)."""
    economy = book.economy
    if asked.bucket * economy.uptime_bucket_s * 1_000_000 > now_us:
        raise InvalidField(violations=[FieldViolation("reward_uptime.bucket", "has not begun yet")])
    reward = economy.uptime_reward(asked.models, asked.offered_permille, asked.sharers)
    if not reward:
        raise InvalidField(violations=[FieldViolation("reward_uptime.models", "are worth nothing")])
    book.today(now_us).uptime.take(Taker((("owner", asked.owner_id),)), reward)
    owner = book.owner(asked.owner_id, now_us)
    to = spend_of(asked.owner_id) if economy.trusted(owner) else escrow_of(asked.owner_id)
    return Draft([Transfer(MINT, to, reward, int(TransferCode.UPTIME))], (asked.owner_id,))


def reward_rating(book: Book, asked: RewardRating, now_us: int) -> Draft:
    """Pay for a rating, or refuse with BudgetSpent. At once spendable: whoever asks for it has checked the rater."""
    book.today(now_us).rating.take(rater(asked.account_id), asked.amount_mkudos)
    book.owner(asked.account_id, now_us)
    paid = Transfer(RATING_SUBSIDY, spend_of(asked.account_id), asked.amount_mkudos, int(TransferCode.RATING))
    return Draft([paid], (asked.account_id,))


def award(book: Book, asked: Award, now_us: int) -> Draft:
    """Mint for an account, by an operator's word."""
    book.owner(asked.account_id, now_us)
    minted = Transfer(MINT, spend_of(asked.account_id), asked.amount_mkudos, int(TransferCode.AWARD))
    return Draft([minted], (asked.account_id,))


def gift(book: Book, asked: Gift, now_us: int) -> Draft:
    """Move kudos from one account to another. Only what is above the floor; never what a subsidy would add."""
    economy, from_id, to_id, amount = book.economy, asked.from_id, asked.to_id, asked.amount_mkudos
    giver, taker = book.giving[from_id], book.giving[to_id]
    limit = _gift_limit(economy, giver, taker, from_id, amount, now_us)
    if limit:
        raise LimitReached(metadata={"limit": limit, "limit_mkudos": str(getattr(economy, limit))})
    source = spend_of(from_id)
    free = max(0, book.posted(source) - economy.floor_mkudos)
    if amount > free:
        raise InsufficientKudos(metadata={"available_mkudos": str(free), "needed_mkudos": str(amount)})
    book.owner(from_id, now_us)
    book.owner(to_id, now_us)
    giver.add(to_id, amount, now_us, economy.gift_back_after_us)
    return Draft([Transfer(source, spend_of(to_id), amount, _GIFT)], (from_id, to_id))


def _gift_limit(economy: Economy, giver: Giving, taker: Giving, from_id: str, amount: int, now_us: int) -> str:
    """The limit that a gift would break, by its name in the economy; empty: none."""
    if amount < economy.gift_min_mkudos:
        return "gift_min_mkudos"
    gifted, gifts = giver.today(day_of(now_us))
    if gifts >= economy.gifts_per_day:
        return "gifts_per_day"
    if gifted + amount > economy.gift_per_day_mkudos:
        return "gift_per_day_mkudos"
    if taker.gave(from_id, now_us - economy.gift_back_after_us):
        return "gift_back_after_us"
    return ""


def giving_since(economy: Economy, now_us: int) -> int:
    """From when on gifts must be known to decide on one now: from the day's begin, and as long as a gift back is
    refused. An hour earlier, because what is decided may carry a time a little before `now_us`, and clocks step."""
    earliest = now_us - GIVING_MARGIN_US
    return min(day_of(earliest) * DAY_US, earliest - economy.gift_back_after_us)


def giving_of(account_ids: Iterable[str], entries: Iterable[Json], economy: Economy) -> dict[str, Giving]:
    """What these owners gave, out of entries in the order of the journal."""
    found = {account_id: Giving() for account_id in account_ids}
    for entry in entries:
        if entry["kind"] == EventKind.GIFT.name and (giving := found.get(entry["op"]["from"])) is not None:
            giving.add(entry["op"]["to"], entry["op"]["amount"], entry["at"], economy.gift_back_after_us)
    return found


def promotion(book: Book, account_id: str, now_us: int) -> Draft | None:
    """What follows when an owner has become trusted: the escrow, but for what is parked, becomes spendable."""
    escrow = book.posted(escrow_of(account_id))
    owner = book.owners[account_id] if escrow else None
    if owner is None or not (free := book.economy.promotion_due(owner, escrow, now_us)):
        return None
    owner.promotions += 1
    book.changed_owners[account_id] = owner
    freed = Transfer(escrow_of(account_id), spend_of(account_id), free, int(TransferCode.PROMOTION))
    draft = Draft([freed], (account_id,))
    draft.decided = canonical({"number": owner.promotions})
    return draft


def close_account(book: Book, asked: CloseAccount, now_us: int) -> Draft:
    """End an account. What it has is burned, and from now on what comes to it is, too (`forfeit`)."""
    owner = book.owner(asked.account_id, now_us)
    owner.closed, owner.parked = True, 0
    book.changed_owners[asked.account_id] = owner
    return Draft(_all_of(book, asked.account_id), (asked.account_id,))


def forfeit(book: Book, account_id: str) -> Draft | None:
    """What follows an entry that has brought something to a closed account."""
    owner = book.owners.get(account_id)
    transfers = _all_of(book, account_id) if owner is not None and owner.closed else []
    if owner is None or not transfers:
        return None
    owner.parked = 0
    book.changed_owners[account_id] = owner
    return Draft(transfers, (account_id,))


def _all_of(book: Book, account_id: str) -> list[Transfer]:
    names = (spend_of(account_id), escrow_of(account_id))
    code = int(TransferCode.FORFEIT)
    return [Transfer(name, FORFEIT_BURN, amount, code) for name in names if (amount := book.posted(name)) > 0]


def slash(book: Book, asked: Slash, paid: Json | None, now_us: int) -> Draft:
    """Take escrow: at most what is there, what is parked first. For a job (`paid` is its settlement): at most what it
    earned, of which half was spendable at once, so it is taken from all that waits. What it had cost its requester's
    own account goes back first, the rest is burned."""
    amount, back, payer_id = asked.amount_mkudos, 0, ""
    owner = book.owner(asked.account_id, now_us)
    if asked.job_id:
        decided = _settled(paid, asked.account_id, asked.job_id)
        earned = int(decided["spend"]) + int(decided["escrow"])
        amount = min(amount or earned, earned)
        owner.strikes += 1
        payer_id = decided["payer"]
        if payer_id not in NAMELESS and payer_id != asked.account_id:
            back = min(earned - int(decided["censor"]), int(decided["charged"]))
    source = escrow_of(asked.account_id)
    taken = min(amount, book.posted(source))
    back = min(back, taken)
    owner.parked = max(0, owner.parked - taken)
    book.changed_owners[asked.account_id] = owner
    parties = (asked.account_id, payer_id) if back else (asked.account_id,)
    draft, code = Draft(parties=parties, job_id=asked.job_id), int(TransferCode.SLASH)
    if back:
        draft.transfers.append(Transfer(source, spend_of(payer_id), back, code))
    if taken > back:
        draft.transfers.append(Transfer(source, SLASH_BURN, taken - back, code))
    return draft


def verify(book: Book, asked: Verify, paid: Json | None, now_us: int) -> Draft:
    """Free what a job put into escrow (`paid` is its settlement), as far as that is still there and not parked."""
    decided = _settled(paid, asked.account_id, asked.job_id)
    owner = book.owner(asked.account_id, now_us)
    source = escrow_of(asked.account_id)
    freed = max(0, min(int(decided["escrow"]), book.posted(source) - owner.parked))
    draft = Draft(parties=(asked.account_id,), job_id=asked.job_id)
    if freed:
        draft.transfers = [Transfer(source, spend_of(asked.account_id), freed, int(TransferCode.PROMOTION))]
    return draft


def _settled(paid: Json | None, account_id: str, job_id: str) -> Json:
    """How a job's hold was divided, if it was paid to this account."""
    if paid is None or paid["kind"] != EventKind.SETTLE.name or paid["op"]["owner"] != account_id:
        raise EntryNotFound(metadata={"event_id": settle_event_id(job_id)})
    decided: Json = paid["decided"]
    return decided


def set_standing(book: Book, asked: SetStanding, now_us: int) -> Draft:
    """Record strikes and decrees. Trust by decree frees the whole escrow: an operator has looked at it."""
    owner = book.owner(asked.account_id, now_us)
    owner.strikes = max(0, owner.strikes + asked.strikes_delta)
    owner.decree = asked.trusted
    book.changed_owners[asked.account_id] = owner
    escrow = book.posted(escrow_of(asked.account_id))
    draft = Draft(parties=(asked.account_id,))
    if asked.trusted and escrow:
        owner.parked = 0
        freed = Transfer(escrow_of(asked.account_id), spend_of(asked.account_id), escrow, int(TransferCode.PROMOTION))
        draft.transfers = [freed]
    return draft


def correct(book: Book, asked: Correct, corrected: Json | None, now_us: int) -> Draft:
    """Reverse an entry. What a settlement took from a hold goes back to where the hold had it from.

    Refused where somebody has already spent what would have to come back: the rest is for people to sort out.
    """
    if corrected is None:
        raise EntryNotFound(metadata={"event_id": asked.corrected_id})
    kind = EventKind[corrected["kind"]]
    if "refused" in corrected or kind not in CORRECTABLE:
        raise NotCorrectable(metadata={"why": "kind"})
    code = int(TransferCode.CORRECTION)
    back: list[Transfer] = []
    sources = settlement_sources(corrected) if kind is EventKind.SETTLE else []
    for line in corrected["transfers"]:
        debit, credit, amount = AccountName(line[0]), AccountName(line[1]), int(line[2])
        if debit != HELD:
            back.append(Transfer(credit, debit, amount, code))
        elif line[3] != TransferCode.RELEASE:
            while amount:
                source, left = sources[0]
                part = min(amount, left)
                if source != credit:
                    back.append(Transfer(credit, source, part, code))
                sources[0] = (source, left - part)
                if part == left:
                    del sources[0]
                amount -= part
    _check_covered(book, back)
    _forget_parked(book, back, now_us)
    touched = {parts_of(name)[1] for line in back for name in (line.debit, line.credit)}
    return Draft(back, tuple(sorted(touched - {""})))


def settlement_sources(settled: Json) -> list[tuple[AccountName, int]]:
    """Where the kudos that a settlement spent had come from, and how many."""
    decided = settled["decided"]
    sources = [
        (spend_of(decided["payer"]), int(decided["charged"])),
        (AccountName(decided["subsidy"]), int(decided["subsidised"])),
    ]
    return [(source, amount) for source, amount in sources if amount]


def _check_covered(book: Book, transfers: list[Transfer]) -> None:
    """Refuse what would take an account below its floor at any point."""
    posted = {name: book.posted(name) for line in transfers for name in (line.debit, line.credit)}
    for debit, credit, amount, _ in transfers:
        posted[debit] -= amount
        posted[credit] += amount
        if posted[debit] < 0 and "/" in debit:
            raise NotCorrectable(metadata={"why": "balance"})


def _forget_parked(book: Book, transfers: list[Transfer], now_us: int) -> None:
    """No more can be parked than there is in escrow."""
    for debit, _, amount, _ in transfers:
        kind, account_id = parts_of(debit)
        if kind.name == "ESCROW":
            owner = book.owner(account_id, now_us)
            owner.parked = min(owner.parked, book.posted(debit) - amount)
            book.changed_owners[account_id] = owner
