"""The journal: works a batch of events into entries, refusals and one block, inside the writer's transaction.

Everything here is decided from the book and the rows that the transaction gives; there is no clock and no I/O of its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from horde.ledger import holds, rewards
from horde.ledger.accounts import ANONYMOUS, SYSTEM, escrow_of, spend_of
from horde.ledger.book import Book, Draft, Hold, Unbalanced
from horde.ledger.chain import leaf_hash, sealed
from horde.ledger.economy import Economy
from horde.ledger.entries import (
    Entry,
    Json,
    conflicting_field,
    entry_of,
    entry_text,
    parse,
    refusal_of,
    refusal_text,
)
from horde.ledger.errors import REMEMBERED, EventConflict
from horde.ledger.identifiers import promotion_event_id
from horde.ledger.operations import (
    Award,
    Correct,
    Event,
    EventKind,
    Gift,
    OpenAccount,
    Operation,
    PlaceHolds,
    Release,
    RewardUptime,
    SetStanding,
    Settle,
    Slash,
    fingerprint,
)
from horde.ledger.store import Batch, EntryRow, Head, LedgerTransaction, Recorded, RefusalRow
from horde.services.errors import ServiceError

MAX_CACHED: Final = 200_000
"""How many accounts, owners or holds the book keeps between batches."""


class Answer(NamedTuple):
    """What is said about one event."""

    result: Entry | ServiceError
    repeated: bool = False


@dataclass(slots=True)
class _Work:
    """One batch in the making."""

    now_us: int
    found: dict[str, Recorded]
    entries: list[EntryRow]
    refusals: list[RefusalRow]
    statement: list[tuple[int, int]]
    sequence: int
    block: int


class Journal:
    """The writer's memory for one epoch. After anything but a commit it must be thrown away and made anew from the
    head."""

    def __init__(self, economy: Economy, head: Head) -> None:
        self.head = head
        """After the last batch that was worked."""
        self._book = Book(economy, next_number=head.accounts + 1)

    def work(self, tx: LedgerTransaction, events: Sequence[Event], now_us: int) -> list[Answer]:
        """Apply events in order, and append one block with what came of them to the transaction."""
        book, head = self._book, self.head
        book.trim(MAX_CACHED)
        book.forget_changes()
        ids = [event.event_id for event in events]
        corrected = [event.operation.corrected_id for event in events if isinstance(event.operation, Correct)]
        work = _Work(now_us, tx.find(ids + corrected), [], [], [], head.sequence, head.block + 1)
        self._load(
            tx, [event.operation for event in events], [work.found[each] for each in corrected if each in work.found]
        )
        answers = [self._apply(event, work) for event in events]
        if work.entries or work.refusals:
            self._append(tx, work)
        return answers

    def _load(self, tx: LedgerTransaction, operations: Sequence[Operation], corrected: Sequence[Recorded]) -> None:
        """Bring into the book all that these operations may touch: holds first, for they say who paid."""
        book = self._book
        # Not by set difference: against a view of a dict that walks through the whole dict.
        hold_ids = [each for each in _hold_ids(operations) if each not in book.holds]
        if hold_ids:
            book.holds.update(dict.fromkeys(hold_ids))
            book.holds.update({hold.hold_id: hold for hold in tx.holds(hold_ids)})
        owner_ids, names = _touched(operations, book.holds, [parse(each.body) for each in corrected])
        missing_owners = [each for each in owner_ids if each not in book.owners]
        if missing_owners:
            book.owners.update(dict.fromkeys(missing_owners))
            book.owners.update({owner.account_id: owner for owner in tx.owners(missing_owners)})
        missing = [each for each in names if each not in book.accounts]
        if missing:
            book.accounts.update(dict.fromkeys(missing))
            book.accounts.update({account.name: account for account in tx.accounts(missing)})

    def _apply(self, event: Event, work: _Work) -> Answer:
        operation = event.operation
        text = operation.canonical()
        mark = fingerprint(operation.kind, text)
        recorded = work.found.get(event.event_id)
        if recorded is not None:
            return self._repeat(event, text, mark, recorded)
        try:
            draft = _RULES[operation.kind](self._book, operation, work)
        except ServiceError as refusal:
            if refusal.reason in REMEMBERED:
                self._remember(event, text, mark, refusal, work)
            return Answer(refusal)
        entry = self._enter(event.event_id, operation.kind, draft, text, mark, getattr(operation, "note", ""), work)
        for account_id in draft.parties:
            self._promote(account_id, work)
        return Answer(entry)

    def _repeat(self, event: Event, text: str, mark: bytes, recorded: Recorded) -> Answer:
        body = parse(recorded.body)
        if recorded.fingerprint != mark:
            field = conflicting_field(event.operation.kind, parse(text), body)
            return Answer(EventConflict(metadata={"field": field}))
        return Answer(refusal_of(body) if "refused" in body else entry_of(body, recorded.block), repeated=True)

    def _remember(self, event: Event, text: str, mark: bytes, refusal: ServiceError, work: _Work) -> None:
        body = refusal_text(event.event_id, event.operation.kind, work.now_us, text, refusal)
        work.refusals.append(RefusalRow(len(work.refusals), event.event_id, mark, body))
        work.found[event.event_id] = Recorded(event.event_id, mark, body, work.block)

    def _enter(
        self, event_id: str, kind: EventKind, draft: Draft, text: str, mark: bytes, note: str, work: _Work
    ) -> Entry:
        work.sequence = sequence = work.sequence + 1
        book = self._book
        book.post(draft.transfers, sequence)
        entry = Entry(
            event_id, sequence, kind, work.now_us, tuple(draft.transfers), draft.job_id, draft.generation_id,
            draft.settlement, note, work.block,
        )  # fmt: skip
        body = entry_text(entry, text, draft.decided)
        work.entries.append(EntryRow(sequence, event_id, mark, body))
        work.found[event_id] = Recorded(event_id, mark, body, work.block)
        for account_id in draft.parties:
            work.statement.append((book.account(spend_of(account_id)).number, sequence))
        return entry

    def _promote(self, account_id: str, work: _Work) -> None:
        """Follow an entry with the owner's promotion, if it has made that due."""
        draft = rewards.promotion(self._book, account_id, work.now_us)
        if draft is None:
            return
        owner = self._book.owner(account_id, work.now_us)
        text = f'{{"account":"{account_id}"}}'
        event_id = promotion_event_id(account_id, owner.promotions)
        self._enter(event_id, EventKind.PROMOTION, draft, text, fingerprint(EventKind.PROMOTION, text), "", work)

    def _append(self, tx: LedgerTransaction, work: _Work) -> None:
        book, head = self._book, self.head
        total = head.sum_mkudos + book.imbalance()
        if total:
            raise Unbalanced(f"the sum over all accounts would be {total}")
        leaves = [leaf_hash(row.body) for row in work.entries] + [leaf_hash(row.body) for row in work.refusals]
        first = head.sequence + 1
        block = sealed(work.block, first, work.sequence, head.epoch, work.now_us, head.hash, leaves)
        created = {account.name for account in book.created}
        changed = [account for name, account in book.changed.items() if name not in created]
        for account in book.changed.values():
            account.stored = account.posted
        self.head = Head(head.epoch, work.sequence, work.block, block.hash, book.next_number - 1, total)
        tx.append(
            Batch(
                block=block, head=self.head, entries=work.entries, refusals=work.refusals, statement=work.statement,
                new_accounts=book.created, changed_accounts=changed, owners=list(book.changed_owners.values()),
                opened=list(book.opened.values()), closed=book.closed,
            )
        )  # fmt: skip


def _hold_ids(operations: Sequence[Operation]) -> set[str]:
    return {each.hold_id for each in operations if isinstance(each, Settle | Release)}


def _touched(
    operations: Sequence[Operation], holds_known: Mapping[str, Hold | None], corrected: Sequence[Json]
) -> tuple[set[str], set[str]]:
    """Whom the operations concern, and the accounts that may be needed for it."""
    owners: set[str] = set()
    for each in operations:
        match each:
            case Settle():
                owners.add(each.owner_id)
                if hold := holds_known[each.hold_id]:
                    owners.add(hold.payer_id)
            case Release():
                if hold := holds_known[each.hold_id]:
                    owners.add(hold.payer_id)
            case RewardUptime():
                owners.add(each.owner_id)
            case Gift():
                owners.update((each.from_id, each.to_id))
            case PlaceHolds() | OpenAccount() | Award() | Slash() | SetStanding():
                owners.add(each.account_id)
            case Correct():
                pass
    for body in corrected:
        named = {str(name) for line in body.get("transfers", ()) for name in line[:2]}
        owners.update(name.partition("/")[2] for name in named if "/" in name)
        owners.update(filter(None, [body.get("decided", {}).get("payer", "")]))
    names = {name(owner) for owner in owners if owner != ANONYMOUS for name in (spend_of, escrow_of)}
    return owners, {*names, *SYSTEM}


def _correct(book: Book, asked: Correct, work: _Work) -> Draft:
    recorded = work.found.get(asked.corrected_id)
    return rewards.correct(book, asked, None if recorded is None else parse(recorded.body), work.now_us)


_RULES: Final[Mapping[EventKind, Callable[[Book, Any, _Work], Draft]]] = {
    EventKind.OPEN_ACCOUNT: lambda book, asked, work: rewards.open_account(book, asked, work.now_us),
    EventKind.PLACE_HOLDS: lambda book, asked, work: holds.place(book, asked, work.now_us),
    EventKind.SETTLE: lambda book, asked, work: holds.settle(book, asked, work.now_us),
    EventKind.RELEASE: lambda book, asked, work: holds.release(book, asked, work.now_us),
    EventKind.UPTIME_REWARD: lambda book, asked, work: rewards.reward_uptime(book, asked, work.now_us),
    EventKind.AWARD: lambda book, asked, work: rewards.award(book, asked, work.now_us),
    EventKind.GIFT: lambda book, asked, work: rewards.gift(book, asked, work.now_us),
    EventKind.SLASH: lambda book, asked, work: rewards.slash(book, asked, work.now_us),
    EventKind.CORRECTION: _correct,
    EventKind.STANDING: lambda book, asked, work: rewards.set_standing(book, asked, work.now_us),
}
