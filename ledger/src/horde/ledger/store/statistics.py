"""Statistics: what the entries add up to, for leaderboards and dashboards.

A consumer of the feed with a cursor of its own, in a database (SQLite) or at least tables and transactions (PostgreSQL)
of its own: it can be slow, broken or thrown away, and no transfer notices. What it has is rebuilt from the entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from horde.ledger.core.entries import Json, TransferCode, parse
from horde.ledger.store.port import LedgerStore
from horde.ledger.writer import Writer
from horde.services.clock import Clock
from horde.services.errors import Aborted, Unavailable
from horde.services.telemetry import get_logger

log = get_logger(__name__)

PAGE: Final = 2_000
"""Entries in one step."""
REST_S: Final = 0.5
"""Pause between steps, so that under load few large steps are made. Statistics are this much late."""
AWAY_S: Final = 2.0
"""Pause when a database is away."""

TOTALS: Final = ("jobs_settled", "jobs_released", "shared", "work", "minted", "burned", "subsidised")
_BURNS: Final = frozenset({"tax_burn", "surcharge_burn", "slash_burn", "forfeit_burn"})
_SUBSIDIES: Final = frozenset(
    {"anonymous_subsidy", "floor_subsidy", "censor_subsidy", "rating_subsidy", "check_subsidy"}
)
_EARNINGS: Final = frozenset({TransferCode.EARNING, TransferCode.EARNING_ESCROW, TransferCode.UPTIME})


class Total(NamedTuple):
    """What somebody, or something, has come to."""

    name: str
    jobs: int
    earned: int


@dataclass(frozen=True, slots=True)
class Period:
    """A time that ends now, and how finely it is counted: it is too long by at most such a part."""

    seconds: int
    slot_seconds: int


MINUTE_S, HOUR_S = 60, 3_600
PERIODS: Final = {
    "minute": Period(60, MINUTE_S),
    "hour": Period(3_600, MINUTE_S),
    "day": Period(86_400, HOUR_S),
    "month": Period(30 * 86_400, HOUR_S),
}
KEPT: Final = {MINUTE_S: 2 * 3_600, HOUR_S: 31 * 86_400}
"""How long slots of a length are kept, in seconds; no longer than a period needs, or they grow for ever."""


def slot(length: int, at_us: int) -> str:
    """The name of the slot of a length, in seconds, that a moment is in; later ones come after it."""
    return f"{length:04d}/{at_us // (length * 1_000_000):010d}"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the entries up to `sequence` add up to."""

    sequence: int
    totals: Counter[str]
    leaders: list[Total]
    models: list[Total]
    periods: dict[str, Counter[str]] = field(default_factory=dict)
    """The totals of the last time, by its name in PERIODS."""
    model_periods: dict[str, Counter[str]] = field(default_factory=dict)
    """Jobs by model, of the periods that are counted by the hour."""


@dataclass(slots=True)
class Step:
    """What a run of entries adds."""

    sequence: int = 0
    totals: Counter[str] = field(default_factory=Counter)
    owner_jobs: Counter[str] = field(default_factory=Counter)
    owner_earned: Counter[str] = field(default_factory=Counter)
    model_jobs: Counter[str] = field(default_factory=Counter)
    model_earned: Counter[str] = field(default_factory=Counter)
    times: dict[str, Counter[str]] = field(default_factory=dict)
    """By `slot` of each: totals, and jobs by model."""


def add_up(bodies: Iterable[Json]) -> Step:
    """Sum a run of entries, given by their parsed texts."""
    step = Step()
    for body in bodies:
        step.sequence = body["seq"]
        op: Any = body["op"]
        kind = body["kind"]
        added: Counter[str] = Counter()
        if kind == "SETTLE":
            added["jobs_settled"] += 1
            # Of what is done alone; entries of before do not say these.
            if op.get("shared"):
                added["shared"] += 1
            if work := op.get("work"):
                added["work"] += work
            step.owner_jobs[op["owner"]] += 1
            step.model_jobs[op["model"]] += 1
            step.model_earned[op["model"]] += body["decided"]["spend"] + body["decided"]["escrow"]
        elif kind == "RELEASE":
            added["jobs_released"] += 1
        for debit, credit, amount, code in body["transfers"]:
            _transfer(step, added, debit, credit, amount, code)
        step.totals.update(added)
        _place(step, body, added)
    return step


def _place(step: Step, body: Json, added: Counter[str]) -> None:
    """Count what an entry added in the slots of its time."""
    for length in KEPT:
        here = step.times.setdefault(slot(length, body["at"]), Counter())
        for name, amount in added.items():
            here[name] += amount
    if body["kind"] == "SETTLE":
        step.times[slot(HOUR_S, body["at"])]["model/" + body["op"]["model"]] += 1


def _transfer(step: Step, added: Counter[str], debit: str, credit: str, amount: int, code: int) -> None:
    for name, sign in ((debit, 1), (credit, -1)):
        if name == "mint":
            added["minted"] += sign * amount
        elif name in _BURNS:
            added["burned"] -= sign * amount
        elif name in _SUBSIDIES:
            added["subsidised"] += sign * amount
    if code in _EARNINGS:
        step.owner_earned[credit.partition("/")[2]] += amount


class StatisticsStore(Protocol):
    """Where statistics are kept."""

    async def cursor(self) -> int:
        """The sequence up to which all is added."""

    async def add(self, after: int, step: Step) -> None:
        """Add a step and move the cursor from `after`, both or neither; nothing if it is not there."""

    async def read(self, leaders: int, models: int, now_us: int) -> Statistics:
        """Read what there is, and what of it is of the last time."""


async def follow(ledger: LedgerStore, writer: Writer, statistics: StatisticsStore, clock: Clock) -> None:
    """Add up entries as they come, until nothing is followed any more."""
    while writer.following:
        try:
            after = await statistics.cursor()
            rows = await ledger.entries_after(after, PAGE)
            if rows:
                await statistics.add(after, add_up(parse(row.body) for row in rows))
            if len(rows) < PAGE:
                await writer.wait_past(after if not rows else parse(rows[-1].body)["seq"])
                await clock.sleep(REST_S)
        except (Unavailable, Aborted) as error:
            log.warning("ledger.statistics_wait", error=str(error))
            await clock.sleep(AWAY_S)
