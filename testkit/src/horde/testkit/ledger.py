"""The kit for tests and benches of the ledger: events as the scheduler and the gateway make them."""

from __future__ import annotations

from uuid import UUID, uuid5

from horde.ledger.core import identifiers
from horde.ledger.core.accounts import ANONYMOUS, Account, AccountName
from horde.ledger.core.audit import Report, audit
from horde.ledger.core.budgets import Day, day_of_entries, days_from
from horde.ledger.core.economy import KUDOS, Economy
from horde.ledger.core.entries import Entry, parse
from horde.ledger.core.journal import Answer, Journal
from horde.ledger.core.operations import (
    Award,
    CloseAccount,
    Correct,
    Event,
    Gift,
    HoldAsked,
    JobEnding,
    OpenAccount,
    PlaceHolds,
    Release,
    RewardRating,
    RewardUptime,
    SetStanding,
    Settle,
    Slash,
    Verify,
)
from horde.ledger.core.prices import PriceParts
from horde.ledger.store.memory import MemoryStore
from horde.ledger.store.port import Head
from horde.services.shares import Pot

_SPACE = UUID(identifiers.NAMESPACE)
PRICE = PriceParts("test", 10 * KUDOS, (), 3 * KUDOS, 13 * KUDOS)
"""Ten kudos for the painting and three of tax."""
WORKER = str(uuid5(_SPACE, "worker"))
DIGEST = "ab" * 32


class PureLedger:
    """The journal upon a memory, without a loop: what it decides is committed at once, or when `seal` is called."""

    def __init__(self, economy: Economy | None = None, now_us: int = 1_800_000_000_000_000) -> None:
        self.economy = economy or Economy()
        self.store = MemoryStore()
        self.journal = Journal(self.economy, Head(epoch=0))
        self.now_us = now_us

    def decide(self, *events: Event) -> list[Answer]:
        """Decide, without committing."""
        known = self.journal.look_up(self.store.asking(), events, self.now_us)
        self.journal.learn(known)
        return [self.journal.decide(event, known, self.now_us) for event in events]

    def seal(self) -> None:
        """Commit what was decided."""
        previous = self.journal.head
        batch = self.journal.seal()
        if batch is not None:
            self.store.put(previous, batch)

    def apply(self, *events: Event) -> list[Answer]:
        """Decide and commit, as one batch."""
        answers = self.decide(*events)
        self.seal()
        return answers

    def entry(self, event: Event) -> Entry:
        """Apply what must not be refused."""
        (answer,) = self.apply(event)
        if not isinstance(answer.result, Entry):
            raise answer.result
        return answer.result

    def restart(self) -> None:
        """Forget everything but what is committed."""
        self.journal = Journal(self.economy, self.journal.head)

    def drawn_today(self) -> tuple[object, object]:
        """All that counts in the day's budgets, as it is remembered and as the journal says; it must be the same."""
        if self.journal._book.day is None:
            return None, None
        entries = map(parse, self.store.asking().budgeted(days_from(self.now_us)))
        return drawn(self.journal._book.today(self.now_us)), drawn(day_of_entries(self.economy, entries, self.now_us))

    def account(self, name: str) -> Account:
        """What is stored of an account, or an empty one."""
        found = self.store.asking().accounts([name])
        return found[0] if found else Account(0, AccountName(name))

    def spend(self, account_id: str) -> int:
        return self.account("spend/" + account_id).posted

    def escrow(self, account_id: str) -> int:
        return self.account("escrow/" + account_id).posted

    def audit(self) -> Report:
        """Recompute everything."""
        return audit(self.store.auditing())


def drawn(day: Day) -> object:
    """What a day has, so that two can be compared."""
    pots = {name: (pot.used, pot._held) for name, pot in vars_of(day) if isinstance(pot, Pot)}
    return day.day, pots, dict(day.cancelled), day.drawers


def vars_of(thing: object) -> list[tuple[str, object]]:
    """Of an object with slots."""
    return [(name, getattr(thing, name)) for name in type(thing).__slots__]  # type: ignore[attr-defined]


def some_id(name: str) -> str:
    """The id that this name always gives."""
    return str(uuid5(_SPACE, name))


def price(price_mkudos: int, tax: int = 3 * KUDOS, surcharge: int = 0) -> PriceParts:
    """A price of these parts."""
    surcharges = ((1, surcharge),) if surcharge else ()
    return PriceParts("test", price_mkudos, surcharges, tax, price_mkudos + tax + surcharge)


def opened(account: str, opened_us: int = 1) -> Event:
    """An account is made."""
    return Event(some_id(f"open {account}"), OpenAccount(account, opened_us))


def awarded(account: str, amount: int, name: str = "") -> Event:
    """An operator awards."""
    return Event(some_id(f"award {account} {name}"), Award(account, amount, "operator", "because"))


def closed(account: str) -> Event:
    """An account is deleted."""
    return Event(identifiers.close_event_id(some_id(account)), CloseAccount(account))


def gift(giver: str, taker: str, amount: int, name: str = "", note: str = "") -> Event:
    """Somebody gives."""
    return Event(some_id(f"gift {giver} {taker} {name}"), Gift(giver, taker, amount, note))


def job_of(generation: str, index: int = 0) -> str:
    """The id of a generation's job."""
    return identifiers.derived(some_id(generation), str(index))


def held(
    generation: str, payer: str, parts: PriceParts = PRICE, count: int = 1, token: str = DIGEST, address: str = ""
) -> Event:
    """A generation's kudos are held; anonymous has a token."""
    jobs = [job_of(generation, index) for index in range(count)]
    digest = token if payer == ANONYMOUS else ""
    holds = [HoldAsked(identifiers.hold_id(job), job, parts) for job in jobs]
    generation_id = some_id(generation)
    return Event(identifiers.holds_event_id(generation_id), PlaceHolds(generation_id, payer, digest, holds, address))


def settled(
    generation: str,
    owner: str,
    parts: PriceParts = PRICE,
    index: int = 0,
    ending: JobEnding = JobEnding.DONE,
    earned: int | None = None,
    tax: int | None = None,
    surcharge: int | None = None,
    shared: bool = False,
) -> Event:
    """A job is paid for: in full, but for what is said."""
    job = job_of(generation, index)
    censored = ending is JobEnding.CENSORED
    operation = Settle(
        hold_id=identifiers.hold_id(job),
        job_id=job,
        ending=ending,
        owner_id=owner,
        earned_mkudos=parts.price_mkudos if earned is None else earned,
        tax_mkudos=(0 if censored else parts.tax_mkudos) if tax is None else tax,
        surcharge_mkudos=(0 if censored else parts.surcharge_mkudos) if surcharge is None else surcharge,
        worker_id=WORKER,
        model="paintbox",
        milli_megapixel_steps=10_000 if ending is JobEnding.DONE else 0,
        shared=shared,
    )
    return Event(identifiers.settle_event_id(job), operation)


def released(generation: str, index: int = 0, ending: JobEnding = JobEnding.FAULTED, note: str = "") -> Event:
    """A job's kudos are given back; with a note by an operator."""
    job = job_of(generation, index)
    return Event(identifiers.settle_event_id(job), Release(identifiers.hold_id(job), job, ending, note))


def uptime(
    owner: str, bucket: int, models: int = 1, worker: str = WORKER, permille: int = 1000, sharers: int = 1
) -> Event:
    """Ten minutes of readiness."""
    operation = RewardUptime(worker, owner, bucket, models, permille, sharers)
    return Event(identifiers.uptime_event_id(worker, bucket), operation)


def rated(account: str, image: str, amount: int = KUDOS) -> Event:
    """A rating of an image is paid for."""
    rating_id = identifiers.derived(some_id(image), account)
    return Event(identifiers.rating_event_id(rating_id), RewardRating(account, rating_id, amount))


def slashed_for(generation: str, owner: str, amount: int = 0, index: int = 0) -> Event:
    """A verdict on a job burns escrow of who was paid for it."""
    job = job_of(generation, index)
    return Event(identifiers.slash_event_id(job), Slash(owner, amount, "junk", job))


def verified(generation: str, owner: str, index: int = 0) -> Event:
    """A picture is what it should be: what its job put into escrow is free."""
    job = job_of(generation, index)
    return Event(identifiers.verification_event_id(job), Verify(owner, job))


def slashed(account: str, amount: int, name: str = "") -> Event:
    """A verdict burns escrow."""
    return Event(some_id(f"slash {account} {name}"), Slash(account, amount, "junk"))


def corrected(event: Event, reason: str = "mistake") -> Event:
    """An entry is reversed."""
    return Event(identifiers.correction_event_id(event.event_id), Correct(event.event_id, reason))


def standing(account: str, strikes: int = 0, trusted: bool | None = None, name: str = "") -> Event:
    """An operator or a verdict changes somebody's standing."""
    return Event(some_id(f"standing {account} {name}"), SetStanding(account, strikes, trusted, "reviewed"))
