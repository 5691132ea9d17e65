"""A model to hold the ledger against: it sees every entry and every answer, keeps its own books, and complains.

It shares no code with the rules. The invariants are L1 to L9 of the notes on reliability; L8 (chain) and L9 (replay)
are the audit's, which is asked beside it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from horde.ledger.core.accounts import ANONYMOUS, MESH
from horde.ledger.core.economy import KUDOS
from horde.ledger.core.entries import Entry
from horde.ledger.core.errors import EventConflict, HoldNotFound, InsufficientKudos
from horde.ledger.core.journal import Answer
from horde.ledger.core.operations import Event, EventKind, JobEnding, PlaceHolds, Release, Settle
from horde.testkit.ledger import (
    awarded,
    closed,
    corrected,
    gift,
    held,
    opened,
    price,
    rated,
    released,
    settled,
    slashed,
    slashed_for,
    standing,
    uptime,
    verified,
)

SOURCES: Final = frozenset(
    {"mint", "anonymous_subsidy", "floor_subsidy", "censor_subsidy", "rating_subsidy", "check_subsidy"}
)
SINKS: Final = frozenset({"tax_burn", "surcharge_burn", "slash_burn", "forfeit_burn"})


class Broken(AssertionError):
    """The ledger did what it must not."""


def _must(what: bool, why: str) -> None:
    if not what:
        raise Broken(why)


@dataclass
class _Hold:
    amount: int
    payer: str
    resolved: str = ""


@dataclass
class Model:
    """What has happened, by the entries, and what callers were told."""

    posted: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    holds: dict[str, _Hold] = field(default_factory=dict)
    open: dict[str, int] = field(default_factory=dict)
    """Amounts of the holds that are open, by job."""
    entries: dict[str, Entry] = field(default_factory=dict)
    refused: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)
    """What was sent first under an id, of what was applied or refused."""
    open_before: frozenset[str] = frozenset()
    """Jobs whose holds were open before what was last seen: within one batch, order decides."""
    sequence: int = 0
    minted: int = 0
    burned: int = 0

    def entry(self, entry: Entry) -> None:
        """One more entry of the feed."""
        self.sequence += 1
        _must(entry.sequence == self.sequence, f"L8: {entry.sequence} in place of {self.sequence}")
        _must(entry.event_id not in self.entries, f"{entry.event_id} was applied twice")
        self.entries[entry.event_id] = entry
        for debit, credit, amount, _ in entry.transfers:
            _must(amount > 0 and debit != credit, "a transfer that moves nothing")
            self.posted[debit] -= amount
            self.posted[credit] += amount
            self.minted += amount * ((debit in SOURCES) - (credit in SOURCES))
            self.burned += amount * ((credit in SINKS) - (debit in SINKS))
            _must(self.posted[debit] >= 0 or ("/" not in debit and debit != "held"), f"L3: {debit} below its floor")
        self._resolve(entry)

    def _resolve(self, entry: Entry) -> None:
        into = sum(line.amount for line in entry.transfers if line.credit == "held")
        out = sum(line.amount for line in entry.transfers if line.debit == "held")
        if entry.kind in (EventKind.SETTLE, EventKind.RELEASE):
            hold = self.holds.get(entry.job_id)
            _must(hold is not None and not hold.resolved, f"L5: job {entry.job_id} had no open hold")
            assert hold is not None
            _must(out == hold.amount and not into, f"L4: {out} left a hold of {hold.amount}")
            hold.resolved = entry.event_id
            del self.open[entry.job_id]
        elif entry.kind is not EventKind.PLACE_HOLDS:
            _must(not into and not out, "something else touched what is held")
        s = entry.settlement
        if s is not None:
            _must(s.to_spend + s.to_escrow == s.earned, "the owner's parts are not what he earned")
            paid = s.earned - s.from_censor_subsidy + s.tax + s.surcharge
            _must(paid + s.returned == out, "L6: paid, burned and returned are not what was held")
            _must(s.charged + s.subsidised == paid, "L6: what was charged is not what was paid")

    def check(self) -> None:
        """The sums, at any moment when nothing is on its way."""
        _must(sum(self.posted.values()) == 0, "L1: the sum is not zero")
        open_holds = sum(self.open.values())
        _must(self.posted["held"] == open_holds, f"L2: {self.posted['held']} held, {open_holds} in open holds")
        supply = sum(amount for name, amount in self.posted.items() if name not in SOURCES | SINKS)
        _must(supply == self.minted - self.burned, "L7: the supply is not what was minted less what was burned")

    def sending(self, event: Event) -> None:
        """An event goes out; whether it arrives is not known yet. Holds are told by what was asked."""
        operation = event.operation
        if isinstance(operation, PlaceHolds) and event.event_id not in self.sent:
            for hold in operation.holds:
                self.holds.setdefault(hold.job_id, _Hold(hold.parts.total_mkudos, operation.account_id, "not placed"))

    def placed(self, event: Event, entry: Entry) -> None:
        """A group of holds was applied as it was asked for."""
        assert isinstance(event.operation, PlaceHolds)
        total = 0
        for hold in event.operation.holds:
            self.holds[hold.job_id] = _Hold(hold.parts.total_mkudos, event.operation.account_id)
            self.open[hold.job_id] = hold.parts.total_mkudos
            total += hold.parts.total_mkudos
        _must(sum(line.amount for line in entry.transfers) == total, "what was held is not what was asked for")

    def answer(self, event: Event, answer: Answer) -> None:
        """What a caller was told, after all entries up to it were seen."""
        text = f"{event.operation.kind} {event.operation.canonical()}"
        result = answer.result
        first = self.sent.get(event.event_id)
        if isinstance(result, EventConflict):
            _must(first is not None and first != text, f"a conflict with nothing: {event}")
            return
        if isinstance(result, Entry):
            known = self.entries.get(event.event_id)
            _must(known is not None, f"{event.event_id} was told, and is not in the feed")
            assert known is not None
            _must(known.transfers == result.transfers and known.sequence == result.sequence, "another answer")
            _must(first in (None, text), f"other content had the answer of the first: {event}")
            self.sent[event.event_id] = text
        elif result.reason in ("INSUFFICIENT_KUDOS", "BUDGET_SPENT", "LIMIT_REACHED"):
            refusal = (result.reason, result.metadata)
            _must(self.refused.setdefault(event.event_id, refusal) == refusal, "another refusal than the first")
            _must(event.event_id not in self.entries, "refused, and applied")
            _must(first in (None, text), "other content had the refusal of the first")
            self.sent[event.event_id] = text
            if isinstance(result, InsufficientKudos):
                lacking = int(result.metadata["available_mkudos"]) < int(result.metadata["needed_mkudos"])
                _must(lacking, "refused for lack of what was there")
        elif isinstance(result, HoldNotFound):
            assert isinstance(event.operation, Settle | Release)
            hold = self.holds.get(event.operation.job_id)
            open_all_along = hold is not None and not hold.resolved and event.operation.job_id in self.open_before
            _must(not open_all_along, "a hold was not found, and is open")


def some_event(chance: random.Random, accounts: int = 5, generations: int = 40) -> Event:
    """An event out of a small world, so that ids meet again: repeats, conflicts and refusals are as usual as
    success."""
    who, other = (f"account{chance.randrange(accounts)}" for _ in range(2))
    generation = f"generation{chance.randrange(generations)}"
    parts = price(chance.choice([1, 999, 10 * KUDOS, 25_001]), chance.choice([1, 3]) * KUDOS, chance.choice([0, 7]))
    name = str(chance.randrange(generations))
    match chance.randrange(17):
        case 0:
            return opened(who, chance.choice([1, 1_900_000_000_000_000]))
        case 1:
            return awarded(who, chance.choice([1, 50 * KUDOS]), name)
        case 2 | 3:
            return gift(who, other + "x" * (who == other), chance.choice([1, KUDOS, 30 * KUDOS]), name)
        case 4:
            return uptime(who, chance.randrange(20), chance.randrange(40), permille=chance.choice([1000, 300]))
        case 16:
            return rated(who, name, chance.choice([1, KUDOS, 90 * KUDOS]))
        case 5:
            if not chance.randrange(8):
                return closed(who)
            return standing(who, chance.choice([-1, 0, 1, 5]), chance.choice([None, None, True, False]), name)
        case 6:
            return chance.choice(
                [
                    slashed(who, chance.choice([1, 60 * KUDOS]), name),
                    slashed_for(generation, who),
                    verified(generation, who),
                ]
            )
        case 7:
            again = random.Random(chance.getrandbits(16))
            return corrected(some_event(again, accounts, generations))
        case 8 | 9 | 10:
            payer = chance.choice([who, who, ANONYMOUS, MESH])
            token, address = chance.choice(["ab" * 32, "cd" * 32]), chance.choice(["", "aa", "bb"])
            return held(generation, payer, parts, chance.randrange(1, 4), token, address)
        case 11:
            return released(generation, chance.randrange(3), chance.choice([JobEnding.FAULTED, JobEnding.EXPIRED]))
        case _:
            ending = chance.choice([JobEnding.DONE, JobEnding.DONE, JobEnding.CANCELLED, JobEnding.CENSORED])
            return settled(generation, who, parts, chance.randrange(3), ending)


@dataclass
class Observer:
    """Feeds a model from a journal: entries first, then the answers that came with them."""

    model: Model = field(default_factory=Model)
    placing: defaultdict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    """Groups of holds that were sent and not seen in the feed, by event id."""

    def told(self, events: list[Event], answers: list[Answer], entries: list[Entry]) -> None:
        """What was sent in one go, what was answered, and the entries that are new since."""
        for event in events:
            self.model.sending(event)
            if isinstance(event.operation, PlaceHolds):
                self.placing[event.event_id].append(event)
        self.model.open_before = frozenset(self.model.open)
        for entry in entries:
            if entry.kind is EventKind.PLACE_HOLDS:
                self._placed(entry)
            self.model.entry(entry)
        for event, answer in zip(events, answers, strict=True):
            self.model.answer(event, answer)
        self.model.check()

    def _placed(self, entry: Entry) -> None:
        """Which of the groups that were sent under this id it was, the amount must say."""
        total = sum(line.amount for line in entry.transfers)
        for event in self.placing.pop(entry.event_id, []):
            assert isinstance(event.operation, PlaceHolds)
            if sum(hold.parts.total_mkudos for hold in event.operation.holds) == total:
                self.model.placed(event, entry)
                return
        raise Broken(f"nobody asked for {entry}")
