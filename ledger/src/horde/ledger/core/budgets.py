"""The budgets of the day: what the subsidies and uptime may pay over everybody, shared so that no few take all. Pure.

What was drawn today is computed from the journal and stored nowhere else, as with the limits on gifts: an epoch reads
the day's entries when it first needs them, and counts on in memory. A share is of what is free
(`horde.services.shares`), so something is left for the next one, however many came before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from horde.ledger.core.accounts import (
    ANONYMOUS,
    ANONYMOUS_SUBSIDY,
    CHECK_SUBSIDY,
    DAY_US,
    FLOOR_SUBSIDY,
    MESH,
    AccountName,
)
from horde.ledger.core.economy import Economy
from horde.ledger.core.entries import Json, TransferCode
from horde.ledger.core.errors import BudgetSpent
from horde.ledger.core.operations import EventKind, JobEnding
from horde.services.errors import ServiceError
from horde.services.shares import Key, Pot, Taker

_SUBSIDIES: Final = (ANONYMOUS_SUBSIDY, FLOOR_SUBSIDY, CHECK_SUBSIDY)
CLOCK_MARGIN_US: Final = 3_600_000_000
"""What is decided may carry a time a little before the one at which the day was looked up, and clocks step."""


def rfc3339(at_us: int) -> str:
    """A time, to the second, for people and programs."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def drawer(payer_id: str, digest: str, address: str) -> Taker:
    """Who draws on a subsidy: a token, if it is anonymous, and an address, if that is told. What the mesh draws counts
    for the owner whose work it looks at."""
    if payer_id == MESH:
        return Taker((("owner", address),))
    return Taker((("token", digest), ("address", address)))


class Day:
    """What was drawn from each budget in the UTC day `day`. It never goes back to an earlier one: there a clock that
    steps would find everything unspent."""

    __slots__ = ("_now_us", "anonymous", "cancelled", "censor", "checks", "day", "drawers", "floor", "rating",
                 "uptime")  # fmt: skip

    def __init__(self, economy: Economy) -> None:
        e = economy
        self.day = 0
        self._now_us = 0
        self.anonymous = self._pot("anonymous", e.anonymous_budget_per_day_mkudos, e.small_share_mkudos, {
            "token": e.anonymous_token_share_permille, "address": e.anonymous_address_share_permille,
        })  # fmt: skip
        self.floor = self._pot("floor", e.floor_budget_per_day_mkudos, e.small_share_mkudos, {
            "address": e.floor_address_share_permille,
        })  # fmt: skip
        self.censor = self._pot("censor", e.censor_budget_per_day_mkudos, 0, {
            "owner": e.censor_owner_share_permille, "payer": e.censor_payer_share_permille,
        })  # fmt: skip
        self.checks = self._pot("checks", e.check_budget_per_day_mkudos, e.small_share_mkudos, {
            "owner": e.check_owner_share_permille,
        })  # fmt: skip
        self.uptime = self._pot("uptime", e.uptime_budget_per_day_mkudos, 0, {
            "owner": e.uptime_owner_share_permille,
        })  # fmt: skip
        self.rating = self._pot("rating", e.rating_budget_per_day_mkudos, 0, {
            "account": e.rating_account_share_permille,
        })  # fmt: skip
        self.cancelled: Counter[str] = Counter()
        """By owner: paid for cancelled jobs."""
        self.drawers: dict[str, Taker] = {}
        """Of the day's holds that drew on a subsidy and are open: what returns today may be drawn again today."""

    def _pot(self, name: str, capacity: int, least: int, permille: dict[str, int]) -> Pot:
        shares = {kind: share / 1000 for kind, share in permille.items()}
        return Pot(capacity, shares, self._refusal(name, capacity), least=least)

    def _refusal(self, name: str, capacity: int) -> Callable[[str], ServiceError]:
        def refuse(kind: str) -> ServiceError:
            metadata = {"budget": name, "budget_mkudos": str(capacity), "share": kind, "back_at": self.back_at}
            return BudgetSpent(metadata=metadata, retry_after=self.back_in)

        return refuse

    @property
    def back_at(self) -> str:
        """When the budgets are whole again, RFC 3339."""
        return rfc3339((self.day + 1) * DAY_US)

    @property
    def back_in(self) -> timedelta:
        """How long until then."""
        return timedelta(microseconds=(self.day + 1) * DAY_US - self._now_us)

    def turn_to(self, now_us: int) -> Day:
        """Start a new day, if it is one."""
        if now_us // DAY_US > self.day:
            self.day = now_us // DAY_US
            for pot in (self.anonymous, self.floor, self.censor, self.checks, self.uptime, self.rating):
                pot.clear()
            self.cancelled.clear()
            self.drawers.clear()
        self._now_us = max(now_us, self.day * DAY_US)
        return self

    def pot_of(self, subsidy: AccountName) -> Pot:
        """What a subsidy that holds draw on has for the day."""
        match subsidy:
            case "anonymous_subsidy":
                return self.anonymous
            case "check_subsidy":
                return self.checks
            case _:
                return self.floor

    def resolved(self, hold_id: str, subsidy: str, returned: int) -> None:
        """A hold is settled or released, and so much of what it drew is back."""
        taker = self.drawers.pop(hold_id, None)
        if taker is not None and returned:
            self.pot_of(AccountName(subsidy)).give_back(taker, returned)

    def follow(self, body: Json) -> None:
        """Count an entry of the journal, given by its parsed text. They come in order."""
        self.turn_to(body["at"])
        kind, op, lines = body["kind"], body["op"], body["transfers"]
        if kind == EventKind.PLACE_HOLDS.name:
            taker = drawer(op["payer"], op["anonymous"], body["decided"].get("address", ""))
            self._follow_holds(op["holds"], taker, lines)
        elif kind in (EventKind.SETTLE.name, EventKind.RELEASE.name):
            back = [(credit, amount) for _, credit, amount, code in lines if code == TransferCode.RELEASE]
            subsidy, returned = next(((name, amount) for name, amount in back if name in _SUBSIDIES), ("", 0))
            self.resolved(op["hold"], subsidy, returned)
            if kind == EventKind.SETTLE.name:
                self._follow_earning(op, body["decided"])
        elif kind == EventKind.UPTIME_REWARD.name:
            self.uptime.count(Taker((("owner", op["owner"]),)), sum(amount for _, _, amount, _ in lines))
        elif kind == EventKind.RATING.name:
            self.rating.count(rater(op["account"]), op["amount"])

    def _follow_holds(self, holds: Iterable[Json], taker: Taker, transfers: Iterable[Any]) -> None:
        lines = iter(transfers)
        for hold in holds:
            left = hold["parts"]["total"]
            while left:
                debit, _, amount, _ = next(lines)
                left -= amount
                if debit in _SUBSIDIES:
                    self.pot_of(debit).count(taker, amount)
                    self.drawers[hold["hold"]] = taker

    def _follow_earning(self, op: Json, decided: Json) -> None:
        if decided["censor"]:
            self.censor.count(censoring(op["owner"], decided["payer"]), decided["censor"])
        if op["ending"] == JobEnding.CANCELLED and (paid := decided["spend"] + decided["escrow"]):
            self.cancelled[op["owner"]] += paid


def censoring(owner_id: str, payer_id: str) -> Taker:
    """Who has a share of what is paid for censored pictures: who says so, and who asked. Anonymous is everybody."""
    payer: tuple[Key, ...] = () if payer_id == ANONYMOUS else (("payer", payer_id),)
    return Taker((("owner", owner_id), *payer))


def rater(account_id: str) -> Taker:
    """Who has a share of what ratings earn."""
    return Taker((("account", account_id),))


def days_from(now_us: int) -> int:
    """From when on entries must be known to decide on one now, in microseconds since 1970."""
    return (now_us - CLOCK_MARGIN_US) // DAY_US * DAY_US


def day_of_entries(economy: Economy, entries: Iterable[Json], now_us: int) -> Day:
    """The day as the journal's entries make it."""
    day = Day(economy)
    for entry in entries:
        day.follow(entry)
    return day.turn_to(now_us)
