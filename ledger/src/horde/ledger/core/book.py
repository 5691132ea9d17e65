"""The book: accounts, owners and open holds in memory while a writer's epoch lasts, and posting to them.

Rules look, refuse or not, and then post: nothing may be refused after the first posting, so a refused event leaves no
trace. What the book does not know must be loaded first; asking for it before is a KeyError, never a silent zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from horde.ledger.core.accounts import Account, AccountName, Giving, Owner
from horde.ledger.core.budgets import Day
from horde.ledger.core.economy import Economy
from horde.ledger.core.entries import Settlement, Transfer
from horde.ledger.core.prices import PriceParts

Balance = tuple[int, int, int, int]
"""Of an account: number, posted, held, and sequence of the last entry that touched it."""


class Unbalanced(Exception):
    """A rule broke an invariant. The batch must not be committed."""


@dataclass(slots=True)
class Hold:
    """The kudos set aside for one open job, from up to two sources."""

    hold_id: str
    job_id: str
    generation_id: str
    payer_id: str
    own: int
    """From the payer's spend account."""
    subsidised: int
    """From the subsidy."""
    subsidy: str
    """Its account; empty: none."""
    day: int
    """Of the hold: what returns on the same day may be drawn again."""
    parts: str
    """The price as quoted, canonical."""
    quoted: PriceParts
    """The same, read."""

    @property
    def total(self) -> int:
        return self.own + self.subsidised


@dataclass(slots=True)
class Draft:
    """What a rule decided: an entry without its place in the journal."""

    transfers: list[Transfer] = field(default_factory=list)
    parties: tuple[str, ...] = ()
    """Whose statements show it."""
    job_id: str = ""
    generation_id: str = ""
    settlement: Settlement | None = None
    decided: str = "{}"
    """Canonical text of what the ledger decided, beyond the transfers."""
    released_for: int = 0
    """Of a release: how the job ended."""
    released_to: str = ""
    """Of a release: whose hold it was."""


class Book:
    """Balances, owners and holds that are known in this epoch, and which of them changed since the last
    `forget_changes`."""

    __slots__ = ("accounts", "changed", "changed_owners", "closed", "created", "day", "economy", "giving", "holds",
                 "next_number", "opened", "owners")  # fmt: skip

    def __init__(self, economy: Economy, next_number: int = 1) -> None:
        self.economy = economy
        self.next_number = next_number
        self.accounts: dict[str, Account | None] = {}
        self.owners: dict[str, Owner | None] = {}
        self.holds: dict[str, Hold | None] = {}
        self.giving: dict[str, Giving] = {}
        self.day: Day | None = None
        """None until it is loaded; kept for the whole epoch: it is bounded by the day's budgets."""
        self.created: list[Account] = []
        self.changed: dict[str, Account] = {}
        self.changed_owners: dict[str, Owner] = {}
        self.opened: dict[str, Hold] = {}
        self.closed: list[str] = []

    def account(self, name: AccountName) -> Account:
        """The account of this name; it comes into being with the first look."""
        account = self.accounts[name]
        if account is None:
            account = self.accounts[name] = Account(self.next_number, name)
            self.next_number += 1
            self.created.append(account)
        return account

    def posted(self, name: AccountName) -> int:
        """The balance, without bringing the account into being."""
        account = self.accounts[name]
        return 0 if account is None else account.posted

    def owner(self, account_id: str, now_us: int) -> Owner:
        """The owner of this id, made known now if need be."""
        owner = self.owners[account_id]
        if owner is None:
            owner = self.owners[account_id] = Owner(account_id, opened_us=now_us)
            self.changed_owners[account_id] = owner
            # Who was never heard of has given nothing.
            self.giving.setdefault(account_id, Giving())
        return owner

    def today(self, now_us: int) -> Day:
        """The day's budgets; to be loaded first."""
        if self.day is None:
            raise KeyError("the day")
        return self.day.turn_to(now_us)

    def post(self, transfers: Iterable[Transfer], sequence: int) -> None:
        """Move the kudos. Raises Unbalanced where an account would go below its floor: the rule should have refused."""
        accounts, changed = self.accounts, self.changed
        for debit_name, credit_name, amount, _ in transfers:
            debit = accounts[debit_name] or self.account(debit_name)
            credit = accounts[credit_name] or self.account(credit_name)
            debit.posted -= amount
            credit.posted += amount
            debit.sequence = credit.sequence = sequence
            changed[debit_name] = debit
            changed[credit_name] = credit
            if amount <= 0 or debit is credit or (debit.posted < 0 and debit.checked):
                raise Unbalanced(f"{amount} from {debit_name} to {credit_name} leaves {debit.posted}")

    def open_hold(self, hold: Hold) -> None:
        """Remember a hold whose kudos were moved."""
        self.holds[hold.hold_id] = self.opened[hold.hold_id] = hold
        self._set_aside(hold, 1)

    def close_hold(self, hold: Hold) -> None:
        """Forget a hold that is settled or released."""
        self.holds[hold.hold_id] = None
        if self.opened.pop(hold.hold_id, None) is None:
            self.closed.append(hold.hold_id)
        self._set_aside(hold, -1)

    def _set_aside(self, hold: Hold, sign: int) -> None:
        if hold.own:
            account = self.account(AccountName("spend/" + hold.payer_id))
            account.held += sign * hold.own
            self.changed[account.name] = account
        if hold.subsidised:
            account = self.account(AccountName(hold.subsidy))
            account.held += sign * hold.subsidised
            self.changed[account.name] = account

    def balances(self) -> tuple[list[Balance], int]:
        """What is to be stored of the accounts that this batch changed and did not make, and what it adds to the sum
        over all accounts: anything but 0 is a defect. They count as stored from now on."""
        first_made = self.next_number - len(self.created)
        balances, added = [], 0
        for account in self.changed.values():
            posted = account.posted
            added += posted - account.stored
            account.stored = posted
            if account.number < first_made:
                balances.append((account.number, posted, account.held, account.sequence))
        return balances, added

    def forget_changes(self) -> None:
        """Begin the next batch."""
        self.created = []
        self.changed = {}
        self.changed_owners = {}
        self.opened = {}
        self.closed = []

    def crowded(self, bound: int) -> bool:
        """Whether more than `bound` accounts, owners, holds or givers are known."""
        return max(len(self.accounts), len(self.owners), len(self.holds), len(self.giving)) > bound

    def forget(self) -> None:
        """Forget all that is known; it is loaded again when it is needed. Only when nothing is changed and not
        stored."""
        self.accounts, self.owners, self.holds, self.giving = {}, {}, {}, {}
