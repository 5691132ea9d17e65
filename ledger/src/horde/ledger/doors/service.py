"""What the ledger does for its callers: applying, reading, following, auditing, proving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from heapq import nsmallest
from typing import Final, NamedTuple

from horde.ledger.core import audit, validation
from horde.ledger.core.accounts import ANONYMOUS, AccountKind, Owner, name_of
from horde.ledger.core.book import Hold
from horde.ledger.core.chain import Block, Step, leaf_hash, merkle_path
from horde.ledger.core.economy import Economy, day_of
from horde.ledger.core.entries import Entry, entry_of, parse, refusal_of
from horde.ledger.core.errors import EntryNotFound, InvalidField
from horde.ledger.core.identifiers import is_uuid
from horde.ledger.core.journal import Answer
from horde.ledger.core.operations import Event
from horde.ledger.core.permissions import check_caller
from horde.ledger.store.port import AuditRows, BalanceRow, LedgerStore, Recorded
from horde.ledger.store.statistics import Statistics, StatisticsStore
from horde.ledger.writer import Writer
from horde.services.clock import Clock
from horde.services.errors import FieldViolation, ServiceError, Unavailable

MAX_ITEMS: Final = 256
"""Events, balances or entries in one call."""
MAX_PAGE: Final = 500
DEFAULT_PAGE: Final = 50
FEED_PAGE: Final = 500
"""Entries in one message of the feed."""
MAX_FOLLOWERS: Final = 64
MAX_LEADERS: Final = 100
DEFAULT_LEADERS: Final = 10
MAX_MODELS: Final = 100
READ_YOUR_WRITES_WAIT_S: Final = 2.0
"""How long a read waits for a sequence that is not there yet."""


class Balance(NamedTuple):
    """One account's kudos, in milli-kudos."""

    kind: AccountKind
    account_id: str
    posted: int
    held: int
    floor: int | None
    available: int
    owner_trusted: bool = False


class OwnerRead(NamedTuple):
    """How an account stands; `owner` is None for one that is not known."""

    owner: Owner | None
    escrow: int
    economy: Economy


class BalancesRead(NamedTuple):
    """Balances at one moment."""

    sequence: int
    sum_mkudos: int
    balances: list[Balance]


class Proof(NamedTuple):
    """That an entry is part of a block."""

    entry: Entry
    canonical: str
    path: list[Step]
    block: Block


class LedgerService:
    """The use cases. Knows neither gRPC nor SQL."""

    def __init__(
        self, writer: Writer, store: LedgerStore, economy: Economy, clock: Clock, statistics: StatisticsStore
    ) -> None:
        self._statistics = statistics
        self._writer = writer
        self._store = store
        self._economy = economy
        self._clock = clock
        self._followers = 0

    async def apply(self, caller: str, events: Sequence[Event | ServiceError]) -> list[Answer]:
        """Apply events in order; what could not be read or cannot be is answered by itself and keeps nobody else
        back."""
        _within("events", len(events))
        sound = [event for event in events if isinstance(event, Event)]
        check_caller(caller, sound)
        refused: dict[int, ServiceError] = {}
        asked: list[Event] = []
        for place, event in enumerate(events):
            try:
                if isinstance(event, ServiceError):
                    raise event
                validation.check(event)
            except ServiceError as error:
                refused[place] = error
            else:
                asked.append(event)
        answers = iter(await self._writer.apply(asked) if asked else [])
        return [Answer(refused[place]) if place in refused else next(answers) for place in range(len(events))]

    async def balances(self, wanted: Sequence[tuple[AccountKind, str]], min_sequence: int) -> BalancesRead:
        """Read balances, not before `min_sequence`."""
        _within("accounts", len(wanted))
        await self._until(min_sequence)
        names = [(name_of(kind, account_id), _owner_id(kind, account_id)) for kind, account_id in wanted]
        read = await self._store.balances(names)
        now_us = self._now_us()
        balances = [self._balance(kind, who, row, now_us) for (kind, who), row in zip(wanted, read.rows, strict=True)]
        return BalancesRead(read.sequence, read.sum_mkudos, balances)

    def _balance(self, kind: AccountKind, account_id: str, row: BalanceRow, now_us: int) -> Balance:
        economy, owner = self._economy, row.owner
        posted, held = (row.account.posted, row.account.held) if row.account is not None else (0, 0)
        match kind:
            case AccountKind.SPEND:
                available = max(0, posted - economy.floor_mkudos)
                if owner is not None:
                    available += economy.floor_left(owner, now_us)
                trusted = owner is not None and economy.trusted(owner)
                return Balance(kind, account_id, posted, held, economy.floor_mkudos, available, trusted)
            case AccountKind.ESCROW | AccountKind.HELD:
                return Balance(kind, account_id, posted, held, 0, 0)
            case AccountKind.ANONYMOUS_SUBSIDY:
                used = owner.subsidy_used if owner is not None and owner.day == day_of(now_us) else 0
                left = max(0, economy.anonymous_budget_per_day_mkudos - used)
                return Balance(kind, account_id, posted, held, None, left)
            case _:
                return Balance(kind, account_id, posted, held, None, 0)

    async def owner(self, account_id: str) -> OwnerRead:
        """How an account stands, and what trust needs."""
        read = await self._store.balances([(name_of(AccountKind.ESCROW, account_id), account_id)])
        (row,) = read.rows
        return OwnerRead(row.owner, row.account.posted if row.account is not None else 0, self._economy)

    async def statement(
        self, account_id: str, page_size: int, page_token: str, min_sequence: int
    ) -> tuple[list[Entry], str]:
        """A page of an owner's statement, newest first, and the token of the next page."""
        if not 0 <= page_size <= MAX_PAGE:
            raise InvalidField(violations=[FieldViolation("page_size", f"must be 0 to {MAX_PAGE}")])
        if page_token and not (page_token.isascii() and page_token.isdigit() and len(page_token) < 19):
            raise InvalidField(violations=[FieldViolation("page_token", "was not given by this method")])
        await self._until(min_sequence)
        size = page_size or DEFAULT_PAGE
        rows = await self._store.statement(account_id, int(page_token or 0), size + 1)
        entries = [entry_of(parse(row.body), row.block) for row in rows[:size]]
        return entries, str(entries[-1].sequence) if len(rows) > size else ""

    async def holds(self, before_us: int, page_size: int, page_token: str) -> tuple[list[Hold], str]:
        """A page of the open holds of days before a time, and the token of the next page."""
        if not 0 <= page_size <= MAX_PAGE:
            raise InvalidField(violations=[FieldViolation("page_size", f"must be 0 to {MAX_PAGE}")])
        if page_token and not is_uuid(page_token):
            raise InvalidField(violations=[FieldViolation("page_token", "was not given by this method")])
        size, day = page_size or DEFAULT_PAGE, day_of(before_us)

        def first(rows: AuditRows) -> list[Hold]:
            # All are looked at: rarely and by an operator, and the ledger goes on meanwhile.
            wanted = (hold for hold in rows.holds() if hold.day < day and hold.job_id > page_token)
            return nsmallest(size + 1, wanted, key=lambda hold: hold.job_id)

        found = await self._store.audit(first)
        return found[:size], found[size - 1].job_id if len(found) > size else ""

    async def entries(self, event_ids: Sequence[str]) -> list[Answer]:
        """Entries, or remembered refusals, by event id."""
        _within("event_ids", len(event_ids))
        found = await self._store.recorded([event_id for event_id in event_ids if is_uuid(event_id)])
        return [_answer(event_id, found.get(event_id)) for event_id in event_ids]

    async def follow(self, after: int) -> AsyncIterator[list[Entry]]:
        """Every entry after a sequence, in order, without gaps, for ever: until this writer stops."""
        if self._followers >= MAX_FOLLOWERS:
            raise Unavailable("Too many follow already.", metadata={"bound": "ledger.max_followers"})
        self._followers += 1
        try:
            while self._writer.following:
                rows = await self._store.entries_after(after, FEED_PAGE)
                if rows:
                    entries = [entry_of(parse(row.body), row.block) for row in rows]
                    after = entries[-1].sequence
                    yield entries
                else:
                    await self._writer.wait_past(after)
        finally:
            self._followers -= 1

    async def audit(self, from_block: int) -> audit.Report:
        """Recompute everything that is stored."""
        return await self._store.audit(lambda rows: audit.audit(rows, from_block))

    async def statistics(self, leaders: int) -> Statistics:
        """Totals, leaders and sums by model, as far as the statistics are."""
        if not 0 <= leaders <= MAX_LEADERS:
            raise InvalidField(violations=[FieldViolation("leaders", f"must be 0 to {MAX_LEADERS}")])
        return await self._statistics.read(leaders or DEFAULT_LEADERS, MAX_MODELS, self._now_us())

    async def prove(self, event_id: str) -> Proof:
        """The path from an entry to its block."""
        found = (await self._store.recorded([event_id])) if is_uuid(event_id) else {}
        recorded = found.get(event_id)
        if recorded is None or "refused" in (body := parse(recorded.body)):
            raise EntryNotFound(metadata={"event_id": event_id})
        block, leaves = await self._store.block_with_leaves(recorded.block)
        place = next(i for i, leaf in enumerate(leaves) if leaf.event_id == event_id)
        path = merkle_path([leaf_hash(leaf.body) for leaf in leaves], place)
        return Proof(entry_of(body, recorded.block), recorded.body, path, block)

    async def _until(self, sequence: int) -> None:
        if sequence <= self._writer.sequence:
            return
        try:
            async with asyncio.timeout(READ_YOUR_WRITES_WAIT_S):
                await self._writer.wait_past(sequence - 1)
        except TimeoutError:
            raise Unavailable("That sequence is not there yet.") from None

    def _now_us(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)


def _owner_id(kind: AccountKind, account_id: str) -> str:
    return ANONYMOUS if kind is AccountKind.ANONYMOUS_SUBSIDY else account_id


def _within(field: str, count: int) -> None:
    if not 1 <= count <= MAX_ITEMS:
        raise InvalidField(violations=[FieldViolation(field, f"must be 1 to {MAX_ITEMS}")])


def _answer(event_id: str, recorded: Recorded | None) -> Answer:
    if recorded is None:
        return Answer(EntryNotFound(metadata={"event_id": event_id}))
    body = parse(recorded.body)
    return Answer(refusal_of(body) if "refused" in body else entry_of(body, recorded.block), repeated=True)
