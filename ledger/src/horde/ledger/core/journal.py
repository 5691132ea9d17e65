"""The journal: works events into entries and refusals, and those into batches, each with its block.

Everything here is decided from the book and from what was looked up; there is no clock and no I/O of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from horde.ledger.core import budgets, holds, rewards
from horde.ledger.core.accounts import NAMELESS, SYSTEM, Account, Giving, Owner, escrow_of, spend_of
from horde.ledger.core.book import Book, Draft, Hold, Unbalanced
from horde.ledger.core.budgets import Day
from horde.ledger.core.chain import leaf_hash, sealed
from horde.ledger.core.economy import Economy
from horde.ledger.core.entries import (
    Entry,
    Json,
    conflicting_field,
    entry_of,
    entry_text,
    parse,
    refusal_of,
    refusal_text,
)
from horde.ledger.core.errors import REMEMBERED, EventConflict
from horde.ledger.core.identifiers import forfeit_event_id, promotion_event_id, settle_event_id
from horde.ledger.core.operations import (
    Correct,
    Event,
    EventKind,
    Gift,
    Operation,
    Release,
    Settle,
    Slash,
    Verify,
    fingerprint,
)
from horde.ledger.store.port import Batch, EntryRow, Head, LookUp, Recorded, RefusalRow
from horde.services.errors import ServiceError

MAX_CACHED: Final = 200_000
"""How many accounts, owners or holds the book keeps between batches."""
SEALED_KEPT: Final = 3
"""How many batches can be sealed and yet unseen by a look-up that is answered now: when it began, the store had two
that were not durable, and the open one may have been sealed since."""


class Answer(NamedTuple):
    """What is said about one event."""

    result: Entry | ServiceError
    repeated: bool = False


class Known(NamedTuple):
    """What was looked up for some events."""

    recorded: dict[str, Recorded]
    holds: dict[str, Hold | None]
    owners: dict[str, Owner | None]
    accounts: dict[str, Account | None]
    giving: dict[str, Giving]
    day: Day | None = None


@dataclass(slots=True)
class _Open:
    """The batch in the making."""

    block: int
    now_us: int = 0
    entries: list[EntryRow] = field(default_factory=list)
    refusals: list[RefusalRow] = field(default_factory=list)
    statement: list[tuple[int, int]] = field(default_factory=list)
    rows: dict[str, EntryRow | RefusalRow] = field(default_factory=dict)
    """Both, by event id."""


class Journal:
    """The writer's memory for one epoch: it decides on events, and seals what was decided into a batch.

    It goes on deciding upon batches that are sealed and not yet committed. So when a batch is not committed, or it is
    not known whether it was, the whole journal must be thrown away and made anew from the head.
    """

    def __init__(self, economy: Economy, head: Head) -> None:
        self.head = head
        """After the last sealed batch."""
        self._book = Book(economy, next_number=head.accounts + 1)
        self._sequence = head.sequence
        self._work = _Open(head.block + 1)
        self._unseen: deque[_Open] = deque([self._work], 1 + SEALED_KEPT)
        """What is newer than what can be looked up: the open batch, and the last sealed ones. Newest first."""

    @property
    def crowded(self) -> bool:
        """Whether more is remembered than should be. `forget` helps, once all is committed."""
        return self._book.crowded(MAX_CACHED)

    def forget(self) -> None:
        """Forget what can be looked up again. Only when nothing is open and everything sealed is committed."""
        self._book.forget()

    def look_up(self, ask: LookUp, events: Sequence[Event], now_us: int) -> Known:
        """Ask for all that these events may need and is not known yet. Changes nothing, so it may run in a thread."""
        book, operations = self._book, [event.operation for event in events]
        kinds = {operation.kind for operation in operations}
        corrected = [operation.corrected_id for operation in operations if isinstance(operation, Correct)]
        judged = [
            settle_event_id(operation.job_id)
            for operation in operations
            if isinstance(operation, Slash | Verify) and operation.job_id
        ]
        recorded = ask.find([*[event.event_id for event in events], *corrected, *judged])
        # Not by set difference: against a view of a dict that walks through the whole dict.
        named = _hold_ids(operations) if kinds & _ENDING else ()
        hold_ids = [hold_id for hold_id in named if hold_id not in book.holds]
        holds_found: dict[str, Hold | None] = dict.fromkeys(hold_ids)
        if hold_ids:
            holds_found.update({hold.hold_id: hold for hold in ask.holds(hold_ids)})
        owner_ids = {account_id for operation in operations for account_id in operation.account_ids}
        owner_ids.update(
            [hold.payer_id for hold_id in named if (hold := holds_found.get(hold_id) or book.holds.get(hold_id))]
        )
        bodies = [self._newer(hold_id) or recorded.get(hold_id) for hold_id in [*corrected, *judged]]
        owner_ids.update([name for body in bodies if body for name in _corrected(parse(body.body))])
        missing_owners = [owner_id for owner_id in owner_ids if owner_id not in book.owners]
        owners: dict[str, Owner | None] = dict.fromkeys(missing_owners)
        if missing_owners:
            owners.update({owner.account_id: owner for owner in ask.owners(missing_owners)})
        # Whoever is known is known with his accounts.
        own = [
            name(missing_owner)
            for missing_owner in missing_owners
            if missing_owner not in NAMELESS
            for name in (spend_of, escrow_of)
        ]
        missing = [*own, *[name for name in SYSTEM if name not in book.accounts]]
        accounts: dict[str, Account | None] = dict.fromkeys(missing)
        if missing:
            accounts.update({account.name: account for account in ask.accounts(missing)})
        giving = self._giving(ask, operations, now_us) if EventKind.GIFT in kinds else {}
        day = self._day(ask, now_us) if book.day is None and kinds & _BUDGETED else None
        return Known(recorded, holds_found, owners, accounts, giving, day)

    def _day(self, ask: LookUp, now_us: int) -> Day:
        """All of it is durable: the first event that counts is decided after this."""
        return budgets.day_of_entries(self._book.economy, map(parse, ask.budgeted(budgets.days_from(now_us))), now_us)

    def _giving(self, ask: LookUp, operations: Sequence[Operation], now_us: int) -> dict[str, Giving]:
        known = self._book.giving
        missing = {
            who
            for operation in operations
            if isinstance(operation, Gift)
            for who in operation.account_ids
            if who not in known
        }
        if not missing:
            return {}
        economy = self._book.economy
        return rewards.giving_of(
            missing, map(parse, ask.given(missing, rewards.giving_since(economy, now_us))), economy
        )

    def learn(self, known: Known) -> None:
        """Keep what was looked up; what has come to be known meanwhile is newer."""
        book = self._book
        if book.day is None:
            book.day = known.day
        for name, account in known.accounts.items():
            book.accounts.setdefault(name, account)
        for account_id, owner in known.owners.items():
            book.owners.setdefault(account_id, owner)
        for hold_id, hold in known.holds.items():
            book.holds.setdefault(hold_id, hold)
        for account_id, giving in known.giving.items():
            book.giving.setdefault(account_id, giving)

    def decide(self, event: Event, known: Known, now_us: int) -> Answer:
        """Decide on one event, into the open batch. Its answer may be given once that batch is committed.

        Raises anything only for a defect, and then the journal is not to be used any more.
        """
        work = self._work
        if not work.rows:
            work.now_us = now_us
        recorded = self._newer(event.event_id) or known.recorded.get(event.event_id)
        return self._apply(event, recorded, known, work)

    def _newer(self, event_id: str) -> Recorded | None:
        """Of what is newer than what can be looked up."""
        for work in self._unseen:
            if event_id in work.rows:
                row = work.rows[event_id]
                return Recorded(event_id, row.fingerprint, row.body, work.block)
        return None

    def seal(self) -> Batch | None:
        """Close the open batch; None if there is nothing to write. Raises Unbalanced for a defect."""
        work, book, head = self._work, self._book, self.head
        if not work.rows:
            return None
        balances, added = book.balances()
        total = head.sum_mkudos + added
        if total:
            raise Unbalanced(f"the sum over all accounts would be {total}")
        leaves = [leaf_hash(row.body) for row in work.entries] + [leaf_hash(row.body) for row in work.refusals]
        first = head.sequence + 1
        block = sealed(work.block, first, self._sequence, head.epoch, work.now_us, head.hash, leaves)
        self.head = Head(head.epoch, self._sequence, work.block, block.hash, book.next_number - 1, total)
        batch = Batch(
            block=block, head=self.head, entries=work.entries, refusals=work.refusals, statement=work.statement,
            new_accounts=[account.snapshot() for account in book.created], balances=balances,
            owners=[owner.snapshot() for owner in book.changed_owners.values()], opened=list(book.opened.values()),
            closed=book.closed,
        )  # fmt: skip
        self._work = _Open(work.block + 1)
        self._unseen.appendleft(self._work)
        book.forget_changes()
        return batch

    def _apply(self, event: Event, recorded: Recorded | None, known: Known, work: _Open) -> Answer:
        operation = event.operation
        text = operation.canonical()
        mark = fingerprint(operation.kind, text)
        if recorded is not None:
            return self._repeat(event, text, mark, recorded)
        try:
            if isinstance(operation, Correct):
                before = self._recorded(operation.corrected_id, known)
                draft = rewards.correct(self._book, operation, before, work.now_us)
            elif isinstance(operation, Slash):
                before = self._recorded(settle_event_id(operation.job_id), known) if operation.job_id else None
                draft = rewards.slash(self._book, operation, before, work.now_us)
            elif isinstance(operation, Verify):
                before = self._recorded(settle_event_id(operation.job_id), known)
                draft = rewards.verify(self._book, operation, before, work.now_us)
            else:
                draft = _RULES[operation.kind](self._book, operation, work.now_us)
        except ServiceError as refusal:
            if refusal.reason in REMEMBERED:
                self._remember(event, text, mark, refusal, work)
            return Answer(refusal)
        entry = self._enter(event.event_id, operation.kind, draft, text, mark, operation.note, work)
        accounts = self._book.accounts
        owners = self._book.owners
        for account_id in draft.parties:
            if (owner := owners[account_id]) is not None and owner.closed:
                self._burn(account_id, work)
                continue
            # Who has no escrow has nothing to be promoted to.
            if (escrow := accounts[escrow_of(account_id)]) is not None and escrow.posted:
                self._promote(account_id, work)
        return Answer(entry)

    def _recorded(self, event_id: str, known: Known) -> Json | None:
        recorded = self._newer(event_id) or known.recorded.get(event_id)
        return None if recorded is None else parse(recorded.body)

    def _repeat(self, event: Event, text: str, mark: bytes, recorded: Recorded) -> Answer:
        body = parse(recorded.body)
        if recorded.fingerprint != mark:
            field = conflicting_field(event.operation.kind, parse(text), body)
            return Answer(EventConflict(metadata={"field": field}))
        return Answer(refusal_of(body) if "refused" in body else entry_of(body, recorded.block), repeated=True)

    def _remember(self, event: Event, text: str, mark: bytes, refusal: ServiceError, work: _Open) -> None:
        body = refusal_text(event.event_id, event.operation.kind, work.now_us, text, refusal)
        work.rows[event.event_id] = row = RefusalRow(len(work.refusals), event.event_id, mark, body)
        work.refusals.append(row)

    def _enter(
        self, event_id: str, kind: EventKind, draft: Draft, text: str, mark: bytes, note: str, work: _Open
    ) -> Entry:
        self._sequence = sequence = self._sequence + 1
        book = self._book
        book.post(draft.transfers, sequence)
        entry = Entry(
            event_id, sequence, kind, work.now_us, tuple(draft.transfers), draft.job_id, draft.generation_id,
            draft.settlement, note, work.block, draft.released_for,
        )  # fmt: skip
        body = entry_text(entry, text, draft.decided)
        work.rows[event_id] = row = EntryRow(sequence, event_id, mark, body)
        work.entries.append(row)
        accounts, statement = book.accounts, work.statement
        for account_id in draft.parties:
            spend = accounts[spend_of(account_id)] or book.account(spend_of(account_id))
            statement.append((spend.number, sequence))
        return entry

    def _promote(self, account_id: str, work: _Open) -> None:
        """Follow an entry with the owner's promotion, if it has made that due."""
        draft = rewards.promotion(self._book, account_id, work.now_us)
        if draft is None:
            return
        owner = self._book.owner(account_id, work.now_us)
        text = f'{{"account":"{account_id}"}}'
        event_id = promotion_event_id(account_id, owner.promotions)
        self._enter(event_id, EventKind.PROMOTION, draft, text, fingerprint(EventKind.PROMOTION, text), "", work)

    def _burn(self, account_id: str, work: _Open) -> None:
        """Follow an entry that has brought something to a closed account with its burning."""
        draft = rewards.forfeit(self._book, account_id)
        if draft is None:
            return
        text = f'{{"account":"{account_id}"}}'
        event_id = forfeit_event_id(account_id, self._sequence)
        kind = EventKind.CLOSE_ACCOUNT
        self._enter(event_id, kind, draft, text, fingerprint(kind, text), "", work)


_ENDING: Final = frozenset({EventKind.SETTLE, EventKind.RELEASE})
_BUDGETED: Final = frozenset({EventKind.PLACE_HOLDS, EventKind.UPTIME_REWARD, EventKind.RATING, *_ENDING})


def _hold_ids(operations: Sequence[Operation]) -> set[str]:
    return {operation.hold_id for operation in operations if isinstance(operation, Settle | Release)}


def _corrected(body: Json) -> set[str]:
    """Whom an entry concerns that is to be corrected."""
    named = {str(name) for line in body.get("transfers", ()) for name in line[:2]}
    concerned = {name.partition("/")[2] for name in named if "/" in name}
    return concerned | {*filter(None, [body.get("decided", {}).get("payer", "")])}


_RULES: Final[Mapping[EventKind, Callable[[Book, Any, int], Draft]]] = {
    EventKind.OPEN_ACCOUNT: rewards.open_account,
    EventKind.PLACE_HOLDS: holds.place,
    EventKind.SETTLE: holds.settle,
    EventKind.RELEASE: holds.release,
    EventKind.UPTIME_REWARD: rewards.reward_uptime,
    EventKind.RATING: rewards.reward_rating,
    EventKind.AWARD: rewards.award,
    EventKind.GIFT: rewards.gift,
    EventKind.STANDING: rewards.set_standing,
    EventKind.CLOSE_ACCOUNT: rewards.close_account,
}
