"""The store in memory: for tests, and as the plainest statement of what a store is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from copy import copy
from itertools import groupby
from typing import TypeVar

from horde.ledger import failpoints
from horde.ledger.core.accounts import Account, AccountName, Owner
from horde.ledger.core.book import Hold
from horde.ledger.core.chain import Block
from horde.ledger.core.errors import WriterReplaced
from horde.ledger.store.port import (
    AuditRows,
    BalanceRow,
    Balances,
    Batch,
    EntryRow,
    Head,
    LookUp,
    Recorded,
    RefusalRow,
)
from horde.services.errors import Aborted
from horde.services.failpoints import failpoint_sync

T = TypeVar("T")


class MemoryStore:
    """`LedgerStore` in dicts. Nothing outlives the process."""

    def __init__(self) -> None:
        self._head = Head()
        self._events: list[Recorded] = []
        self._by_id: dict[str, Recorded] = {}
        self._refusals: list[tuple[RefusalRow, int]] = []
        self._accounts: dict[str, Account] = {}
        self._numbered: dict[int, AccountName] = {}
        self._owners: dict[str, Owner] = {}
        self._holds: dict[str, Hold] = {}
        self._statement: dict[int, list[int]] = {}
        self._blocks: list[Block] = []

    async def take_over(self) -> Head:
        h = self._head
        self._head = Head(h.epoch + 1, h.sequence, h.block, h.hash, h.accounts, h.sum_mkudos)
        return self._head

    async def head(self) -> Head:
        return self._head

    async def look_up(self, work: Callable[[LookUp], T]) -> T:
        return work(self.asking())

    def asking(self) -> LookUp:
        """What the writer asks, for callers that do not wait."""
        return _LookUp(self)

    def encode(self, batch: Batch) -> None:
        """There is nothing to do."""

    async def write(self, previous: Head, batch: Batch) -> None:
        self.put(previous, batch)

    def put(self, previous: Head, batch: Batch) -> None:
        """`write`, for callers that do not wait."""
        failpoint_sync(failpoints.AFTER_BEGIN)
        if self._head.epoch != previous.epoch:
            raise WriterReplaced
        if self._head != previous:
            raise Aborted("The journal has moved.")
        failpoint_sync(failpoints.AFTER_INSERTS)
        failpoint_sync(failpoints.BEFORE_COMMIT)
        self._commit(batch)

    def _commit(self, batch: Batch) -> None:
        block = batch.block.number
        for entry in batch.entries:
            self._events.append(Recorded(entry.event_id, entry.fingerprint, entry.body, block))
            self._by_id[entry.event_id] = self._events[-1]
        for refusal in batch.refusals:
            self._refusals.append((refusal, block))
            self._by_id[refusal.event_id] = Recorded(refusal.event_id, refusal.fingerprint, refusal.body, block)
        for owner_number, sequence in batch.statement:
            self._statement.setdefault(owner_number, []).append(sequence)
        for account in batch.new_accounts:
            self._accounts[account.name], self._numbered[account.number] = account, account.name
        for number, posted, held, last in batch.balances:
            name = self._numbered[number]
            self._accounts[name] = Account(number, name, posted, held, last, posted)
        self._owners.update({owner.account_id: owner for owner in batch.owners})
        self._holds.update({hold.hold_id: hold for hold in batch.opened})
        for hold_id in batch.closed:
            del self._holds[hold_id]
        self._blocks.append(batch.block)
        self._head = batch.head

    async def balances(self, wanted: Sequence[tuple[str, str]]) -> Balances:
        rows = [BalanceRow(self._accounts.get(name), self._owners.get(owner)) for name, owner in wanted]
        return Balances(self._head.sequence, self._head.sum_mkudos, rows)

    async def statement(self, account_id: str, before: int, limit: int) -> list[Recorded]:
        account = self._accounts.get("spend/" + account_id)
        lines = self._statement.get(account.number, []) if account is not None else []
        chosen = [sequence for sequence in reversed(lines) if not before or sequence < before][:limit]
        return [self._events[sequence - 1] for sequence in chosen]

    async def recorded(self, event_ids: Collection[str]) -> dict[str, Recorded]:
        return {event_id: self._by_id[event_id] for event_id in event_ids if event_id in self._by_id}

    async def entries_after(self, sequence: int, limit: int) -> list[Recorded]:
        return self._events[sequence : sequence + limit]

    async def block_with_leaves(self, number: int) -> tuple[Block, list[Recorded]]:
        if not 1 <= number <= len(self._blocks):
            raise KeyError(number)
        block = self._blocks[number - 1]
        refusals = [self._by_id[row.event_id] for row, at in self._refusals if at == number]
        return block, [*self._events[block.first_sequence - 1 : block.last_sequence], *refusals]

    async def audit(self, work: Callable[[AuditRows], T]) -> T:
        return work(self.auditing())

    def auditing(self) -> AuditRows:
        """Everything, for callers that do not wait."""
        return _MemoryAuditRows(self)


class _LookUp:
    """Copies, so that what the writer does with them is not seen before it writes."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def find(self, event_ids: Collection[str]) -> dict[str, Recorded]:
        return {event_id: self._store._by_id[event_id] for event_id in event_ids if event_id in self._store._by_id}

    def holds(self, hold_ids: Collection[str]) -> list[Hold]:
        return [self._store._holds[hold_id] for hold_id in hold_ids if hold_id in self._store._holds]

    def accounts(self, names: Collection[str]) -> list[Account]:
        return [copy(self._store._accounts[name]) for name in names if name in self._store._accounts]

    def owners(self, account_ids: Collection[str]) -> list[Owner]:
        return [
            copy(self._store._owners[account_id]) for account_id in account_ids if account_id in self._store._owners
        ]

    def given(self, account_ids: Collection[str], since_us: int) -> list[str]:
        accounts = self.accounts([f"spend/{account_id}" for account_id in account_ids])
        lines = sorted({line for account in accounts for line in self._store._statement.get(account.number, ())})
        return [self._store._events[line - 1].body for line in lines]

    def budgeted(self, since_us: int) -> list[str]:
        first = next((block.first_sequence for block in self._store._blocks if block.at_us >= since_us), 0)
        return [event.body for event in self._store._events[first - 1 :]] if first else []


class _MemoryAuditRows:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def head(self) -> tuple[Head, bool]:
        return self._store._head, True

    def blocks(self, from_block: int) -> Iterator[Block]:
        return iter(self._store._blocks[max(0, from_block - 1) :])

    def entries(self, from_block: int) -> Iterator[tuple[int, list[EntryRow]]]:
        stored = enumerate(self._store._events, start=1)
        for number, run in groupby(stored, key=lambda entry: entry[1].block):
            if number >= from_block:
                yield number, [EntryRow(at, row.event_id, row.fingerprint, row.body) for at, row in run]

    def refusals(self, from_block: int) -> Iterator[tuple[RefusalRow, int]]:
        return iter([refusal for refusal in self._store._refusals if refusal[1] >= from_block])

    def accounts(self) -> Iterator[Account]:
        return iter(sorted(self._store._accounts.values(), key=lambda account: account.number))

    def owners(self) -> Iterator[tuple[Owner, bool]]:
        return iter([(owner, True) for owner in self._store._owners.values()])

    def holds(self) -> Iterator[Hold]:
        return iter(self._store._holds.values())

    def statements(self) -> Iterator[tuple[int, int, int]]:
        return iter([(number, len(lines), sum(lines)) for number, lines in self._store._statement.items()])
