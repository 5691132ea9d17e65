"""The port to where the ledger is kept, and what it must promise.

- `write` is one transaction: all of it or nothing, durable when it returns. It checks that the head is still the one
  that the batch was made upon: WriterReplaced if the epoch is another's, Aborted if the journal has moved. No other
  writer can take over between that check and the commit.
- `write` may be called again before it has returned: batches are written one after the other, in the order of the
  calls. One that stands behind a batch which was not committed finds another head.
- Where `write` raises Unavailable or Aborted, it may have happened or not; the head tells, sooner or later.
- `look_up` sees at least what was committed before it began, and never waits for `write`.
- Other reads see what is committed, at one moment for each call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from horde.ledger.core.accounts import Account, Owner
from horde.ledger.core.book import Balance, Hold
from horde.ledger.core.chain import GENESIS, Block

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Head:
    """How far the journal goes, and whose turn it is to write."""

    epoch: int = 0
    sequence: int = 0
    block: int = 0
    hash: bytes = GENESIS
    accounts: int = 0
    """How many accounts there are: the highest number given out."""
    sum_mkudos: int = 0
    """Over all accounts. Always 0; kept so that every commit can check it."""


class Recorded(NamedTuple):
    """An entry or a remembered refusal as it is stored."""

    event_id: str
    fingerprint: bytes
    body: str
    block: int


class EntryRow(NamedTuple):
    """An entry to be stored."""

    sequence: int
    event_id: str
    fingerprint: bytes
    body: str


class RefusalRow(NamedTuple):
    """A refusal to be remembered; `line` is its place in the block."""

    line: int
    event_id: str
    fingerprint: bytes
    body: str


@dataclass(slots=True)
class Batch:
    """What one transaction writes."""

    block: Block
    head: Head
    """After it."""
    entries: list[EntryRow] = field(default_factory=list)
    refusals: list[RefusalRow] = field(default_factory=list)
    statement: list[tuple[int, int]] = field(default_factory=list)
    """Number of the owner's spend account, and sequence of an entry that concerns him."""
    new_accounts: list[Account] = field(default_factory=list)
    balances: list[Balance] = field(default_factory=list)
    """Of the other accounts that changed."""
    owners: list[Owner] = field(default_factory=list)
    opened: list[Hold] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    encoded: object = None
    """Whatever the store made of it ahead, for itself."""


class LookUp(Protocol):
    """What the writer asks before it decides. Synchronous: it runs where the database is."""

    def find(self, event_ids: Collection[str]) -> dict[str, Recorded]:
        """Entries and refusals that are there already, by event id."""

    def holds(self, hold_ids: Collection[str]) -> list[Hold]:
        """Open holds."""

    def accounts(self, names: Collection[str]) -> list[Account]:
        """Accounts that exist."""

    def owners(self, account_ids: Collection[str]) -> list[Owner]:
        """Owners that are known."""

    def given(self, account_ids: Collection[str], since_us: int) -> Iterable[str]:
        """Texts of the entries of all gifts that these owners gave at or after a time, in their order. There may be
        others among them."""

    def budgeted(self, since_us: int) -> Iterable[str]:
        """Texts of all entries at or after a time that move a subsidy's kudos, pay for a cancelled job or reward
        uptime, in their order. There may be others among them."""


class BalanceRow(NamedTuple):
    """One account and its owner, as a reader sees them."""

    account: Account | None
    owner: Owner | None


class Balances(NamedTuple):
    """Balances at one moment."""

    sequence: int
    sum_mkudos: int
    rows: list[BalanceRow]


class AuditRows(Protocol):
    """Everything that is stored, at one moment, for the auditor. Synchronous and streaming: an audit reads
    gigabytes."""

    def head(self) -> tuple[Head, bool]:
        """The head, and whether its own seal is right."""

    def blocks(self, from_block: int) -> Iterator[Block]:
        """In order."""

    def entries(self, from_block: int) -> Iterator[tuple[int, list[EntryRow]]]:
        """In order of sequence: runs of entries of one block, each with the block's number."""

    def refusals(self, from_block: int) -> Iterator[tuple[RefusalRow, int]]:
        """In order of block and line, each with its block's number."""

    def accounts(self) -> Iterator[Account]:
        """All."""

    def owners(self) -> Iterator[tuple[Owner, bool]]:
        """All, each with whether its seal is right."""

    def holds(self) -> Iterator[Hold]:
        """All that are open."""

    def statements(self) -> Iterator[tuple[int, int, int]]:
        """For each owner's number: how many lines, and the sum of their sequences."""


class LedgerStore(Protocol):
    """Where the ledger is kept."""

    async def take_over(self) -> Head:
        """Begin a new epoch: from now on every older writer is refused."""

    async def head(self) -> Head:
        """How far it is."""

    async def look_up(self, work: Callable[[LookUp], T]) -> T:
        """Run `work` where it can ask."""

    def encode(self, batch: Batch) -> None:
        """Do ahead what `write` has to do anyway and needs no database for: it may then be called while another
        batch is being written."""

    async def write(self, previous: Head, batch: Batch) -> None:
        """Write a batch that was made upon `previous`, and commit."""

    async def balances(self, wanted: Sequence[tuple[str, str]]) -> Balances:
        """Read accounts by name, each with the owner of this id (empty: none)."""

    async def statement(self, account_id: str, before: int, limit: int) -> list[Recorded]:
        """Entries of an owner below a sequence (0: from the newest), newest first."""

    async def recorded(self, event_ids: Collection[str]) -> dict[str, Recorded]:
        """Entries and refusals by event id."""

    async def entries_after(self, sequence: int, limit: int) -> list[Recorded]:
        """Entries after a sequence, in order."""

    async def block_with_leaves(self, number: int) -> tuple[Block, list[Recorded]]:
        """A block and what it holds, in the order of its leaves. Raises KeyError."""

    async def audit(self, work: Callable[[AuditRows], T]) -> T:
        """Run `work` over a snapshot of everything, stopping nobody."""
