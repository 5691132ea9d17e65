"""Accounts and owners, as the writer keeps them in memory while a batch is worked on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final, NewType

AccountName = NewType("AccountName", str)
"""An account as text: `spend/<account id>`, `escrow/<account id>`, or the kind alone for accounts that exist once.
This is how accounts stand in the journal, in logs and in hashes."""

DAY_US: Final = 86_400_000_000
"""Microseconds in a UTC day."""

ANONYMOUS: Final = "anonymous"
"""The account id that all anonymous requesters share. It has no balance: the subsidy pays."""
MESH: Final = "mesh"
"""The account id under which the mesh has pictures painted a second time, to compare them."""


class AccountKind(IntEnum):
    """What an account is for; the numbers are the contract's."""

    SPEND = 1
    ESCROW = 2
    MINT = 3
    TAX_BURN = 4
    SURCHARGE_BURN = 5
    SLASH_BURN = 6
    ANONYMOUS_SUBSIDY = 7
    FLOOR_SUBSIDY = 8
    CENSOR_SUBSIDY = 9
    HELD = 10
    RATING_SUBSIDY = 11
    FORFEIT_BURN = 12
    CHECK_SUBSIDY = 13


class Once(StrEnum):
    """The names of the accounts that exist once."""

    MINT = "mint"
    TAX_BURN = "tax_burn"
    SURCHARGE_BURN = "surcharge_burn"
    SLASH_BURN = "slash_burn"
    FORFEIT_BURN = "forfeit_burn"
    ANONYMOUS_SUBSIDY = "anonymous_subsidy"
    FLOOR_SUBSIDY = "floor_subsidy"
    CENSOR_SUBSIDY = "censor_subsidy"
    HELD = "held"
    RATING_SUBSIDY = "rating_subsidy"
    CHECK_SUBSIDY = "check_subsidy"


MINT: Final = AccountName("mint")
TAX_BURN: Final = AccountName("tax_burn")
SURCHARGE_BURN: Final = AccountName("surcharge_burn")
SLASH_BURN: Final = AccountName("slash_burn")
FORFEIT_BURN: Final = AccountName("forfeit_burn")
ANONYMOUS_SUBSIDY: Final = AccountName("anonymous_subsidy")
FLOOR_SUBSIDY: Final = AccountName("floor_subsidy")
CENSOR_SUBSIDY: Final = AccountName("censor_subsidy")
HELD: Final = AccountName("held")
RATING_SUBSIDY: Final = AccountName("rating_subsidy")
CHECK_SUBSIDY: Final = AccountName("check_subsidy")

SYSTEM: Final = (
    MINT, TAX_BURN, SURCHARGE_BURN, SLASH_BURN, FORFEIT_BURN, ANONYMOUS_SUBSIDY, FLOOR_SUBSIDY, CENSOR_SUBSIDY, HELD,
    RATING_SUBSIDY, CHECK_SUBSIDY,
)  # fmt: skip
NAMELESS: Final = MappingProxyType({ANONYMOUS: ANONYMOUS_SUBSIDY, MESH: CHECK_SUBSIDY})
"""Payers without a balance and without a statement, each with the subsidy that pays for it."""
_KINDS: Final = {AccountName(kind.name.lower()): kind for kind in AccountKind if kind > AccountKind.ESCROW}


def spend_of(account_id: str) -> AccountName:
    """What somebody can spend."""
    return AccountName("spend/" + account_id)


def escrow_of(account_id: str) -> AccountName:
    """What somebody earned and cannot spend yet."""
    return AccountName("escrow/" + account_id)


def name_of(kind: AccountKind, account_id: str) -> AccountName:
    """The name of an account given by its parts."""
    return AccountName(f"{kind.name.lower()}/{account_id}" if kind <= AccountKind.ESCROW else kind.name.lower())


def parts_of(name: str) -> tuple[AccountKind, str]:
    """An account's kind, and its owner's id or an empty text. Raises KeyError for what is no name."""
    kind, slash, account_id = name.partition("/")
    if slash:
        return (AccountKind.SPEND if kind == "spend" else _ESCROW[kind]), account_id
    return _KINDS[AccountName(kind)], ""


_ESCROW: Final = {"escrow": AccountKind.ESCROW}


@dataclass(slots=True)
class Account:
    """One account. `posted` may not go below zero where `checked`; the others are where kudos come from and go to."""

    number: int
    """Its row; given out densely, from 1."""
    name: AccountName
    posted: int = 0
    held: int = 0
    """Set aside by the open holds that drew on this account, and already out of `posted`."""
    sequence: int = 0
    """Of the last entry that touched it."""
    stored: int = 0
    """`posted` as it was last read or written: what a commit changes is the difference."""

    def snapshot(self) -> Account:
        """As it is now, to be stored."""
        return Account(self.number, self.name, self.posted, self.held, self.sequence, self.posted)

    @property
    def checked(self) -> bool:
        """Whether it has a floor of zero."""
        return "/" in self.name or self.name == HELD


@dataclass(slots=True)
class Owner:
    """What decides an owner's trust and limits. The counters are those of the UTC day `day` and start again with the
    next."""

    account_id: str
    opened_us: int
    """When the account was made; the first time it was heard of, if nobody said."""
    strikes: int = 0
    decree: bool | None = None
    """Trusted or not by an operator's word, which goes over the rule."""
    promotions: int = 0
    parked: int = 0
    """The part of the escrow that subsidies paid over the daily bound: no rule frees it, only an operator's decree."""
    day: int = 0
    subsidy_used: int = 0
    """Today: drawn from the floor subsidy (or by all anonymous, from theirs)."""
    subsidised_earned: int = 0
    """Today: earned from subsidies."""
    closed: bool = False
    """The account was deleted: it asks for nothing, and what still comes to it is burned."""

    def snapshot(self) -> Owner:
        """As it is now, to be stored."""
        return Owner(
            self.account_id, self.opened_us, self.strikes, self.decree, self.promotions, self.parked, self.day,
            self.subsidy_used, self.subsidised_earned, self.closed,
        )  # fmt: skip

    def turn_to(self, day: int) -> None:
        """Start a day's counters, if it is another day."""
        if self.day != day:
            self.day = day
            self.subsidy_used = self.subsidised_earned = 0


@dataclass(slots=True)
class Giving:
    """What somebody gave lately, which decides the limits on gifts. It is computed from the journal and stored nowhere
    else. The counters are those of the UTC day `day`."""

    day: int = 0
    gifted: int = 0
    """That day: given to others, in milli-kudos."""
    gifts: int = 0
    """That day: how many gifts."""
    recent: tuple[tuple[str, int], ...] = ()
    """To whom and when (microseconds), as long as a gift back is refused."""

    def add(self, to_id: str, amount: int, at_us: int, back_after_us: int) -> None:
        """Count a gift. They come in the order of the journal."""
        day = at_us // DAY_US
        if self.day != day:
            self.day, self.gifted, self.gifts = day, 0, 0
        self.gifted += amount
        self.gifts += 1
        since = at_us - back_after_us
        kept = [(to, at) for to, at in self.recent if at > since and to != to_id] if self.recent else []
        self.recent = (*kept, (to_id, at_us))

    def today(self, day: int) -> tuple[int, int]:
        """What was given on a day, and in how many gifts, if it is the last on which anything was."""
        return (self.gifted, self.gifts) if self.day == day else (0, 0)

    def gave(self, to_id: str, since_us: int) -> bool:
        """Whether that one was given to after a time, by the gifts that are recent."""
        return bool(self.recent) and any(to == to_id and at > since_us for to, at in self.recent)
