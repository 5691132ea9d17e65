"""A mesh in virtual time, for what is earned in it: the scheduler's core as the tests play it, and the ledger's core
behind it, event by event through the same words that go over the wire. Pictures are not painted, only the time for them
passes.

Somebody honest is always there: customers that pay, and two owners who paint for them, so that a popular model is in
demand and has a measured pace.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from tests.unit.scheduler.table import START_MS, Table

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_api
from horde.ledger.core.economy import Economy
from horde.ledger.core.entries import Entry
from horde.ledger.core.operations import Event
from horde.ledger.core.validation import check
from horde.ledger.doors.wire import event_of
from horde.scheduler.core import effects as fx
from horde.scheduler.core import settling, uptime
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import ANONYMOUS, NOTHING, AccountId, Generation, Job, JobState, Mkudos, Phase, Price
from horde.scheduler.core.leases import Lease
from horde.scheduler.neighbours.ledger import LedgerEvent, fill_event
from horde.services.errors import ServiceError
from horde.testkit.ledger import PureLedger, awarded, opened, some_id

DAY_S = 86_400.0
POPULAR = "popular"
SECONDS_PER_STEP = 0.5
"""Of a cheap GPU, at 512x512: two steps a second."""
PRICE_OF_50_STEPS = 10_830
"""Milli-kudos at 512x512, by the published formula."""


class LedgerBooks:
    """The ledger's core in place of the table's books."""

    def __init__(self, world: World, economy: Economy) -> None:
        self._world = world
        self.ledger = PureLedger(economy, START_MS * 1000)
        self.ledger.apply(Event(some_id("nothing"), opened("nobody").operation))

    def apply(self, event: LedgerEvent) -> Entry | ServiceError:
        message = ledger_api.Event()
        fill_event(message, event)
        asked = event_of(ledger_api.Event.FromString(message.SerializeToString()))
        assert isinstance(asked, Event)
        check(asked)
        self.ledger.now_us = self._world.now_ms * 1000
        return self.ledger.apply(asked)[0].result

    def place(self, generation: Generation, refuse: bool) -> bytes | None:
        return None if isinstance(self.apply(fx.PlaceHolds(generation)), Entry) else b"no"

    def end(self, job: Job) -> None:
        result = self.apply(fx.Release(job) if job.amounts == NOTHING else fx.Settle(job))
        assert isinstance(result, Entry), result


Policy = Callable[[Lease], None]
"""What an owner's workers do with a lease."""


class World(Table):
    """Time, somebody honest, and whoever else comes."""

    books: LedgerBooks  # type: ignore[assignment]

    def __init__(self, economy: Economy | None = None) -> None:
        super().__init__()
        self.books = LedgerBooks(self, economy or Economy())
        self.ledger = self.books.ledger
        self.policies: dict[AccountId, Policy] = {}
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._turn = count()
        self._asked = count(1)
        self._lent: list[Lease] = []
        self._customers = [self.account(f"customer {number}", 10**11) for number in range(5)]
        for number in range(2):
            owner = self.account(f"honest {number}")
            self.attach("honest", owner=owner, models=(POPULAR,))
            self.policies[owner] = self.paint_in_time
        self.every(1_800.0, self.customer_comes)

    # Accounts and workers.

    def account(self, name: str, mkudos: int = 0, age_days: int = 30) -> AccountId:
        """An account of this age, with some kudos."""
        account_id = some_id(name)
        self.ledger.apply(opened(account_id, self.now_ms * 1000 - int(age_days * DAY_S) * 1_000_000))
        if mkudos:
            self.ledger.apply(awarded(account_id, mkudos))
        return AccountId(account_id)

    def owns(self, account_id: AccountId) -> int:
        """What is somebody's, in milli-kudos: to spend, or in escrow, but for what no rule would ever free."""
        (owner,) = self.ledger.store.asking().owners([account_id])
        return self.ledger.spend(account_id) + self.ledger.escrow(account_id) - owner.parked

    # Time.

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Have something happen in so many seconds."""
        heappush(self._agenda, (self.now + seconds, next(self._turn), what))

    def every(self, seconds: float, what: Callable[[], None]) -> None:
        """Have something happen again and again, for the first time soon."""

        def again() -> None:
            self.at(seconds, again)
            what()

        self.at(1.0, again)

    def live(self, seconds: float) -> None:
        """Time passes; what is to happen happens, and every minute the scheduler looks who is there."""
        end = self.now + seconds
        while True:
            look = self.now + uptime.until_next(self.now_ms)
            due = self._agenda[0][0] if self._agenda else look
            moment = min(look, due)
            if moment > end:
                break
            self.pass_time(max(0.0, moment - self.now))
            if moment == look:
                uptime.look(self.board, self.now_ms)
                self.work()
            else:
                heappop(self._agenda)[2]()
            self.settle_errands()
        self.pass_time(end - self.now)

    def settle_errands(self) -> None:
        """Neighbours answer at once, and owners do what they do with what they were lent."""
        self.run_errands()
        while self._lent:
            lease = self._lent.pop()
            if settling.current(lease.job) is lease and lease.owner in self.policies:
                self.policies[lease.owner](lease)
                self.run_errands()
        for grown in (self.said, self.lent):
            grown.clear()

    def _do(self, effect: fx.Effect) -> None:
        if isinstance(effect, fx.RewardUptime):
            self.books.apply(effect)
            return
        super()._do(effect)
        if isinstance(effect, fx.Assign):
            self._lent.append(effect.lease)

    # What people do.

    def ask(
        self,
        account: AccountId,
        model: str = POPULAR,
        steps: int = 50,
        token: int = 0,
        address: str = "",
        tax: int = 3_000,
    ) -> Job | None:
        """Ask for a picture of 512x512; None where the ledger refuses."""
        anonymous = account == ANONYMOUS
        price, tax = PRICE_OF_50_STEPS * steps // 50, 1_000 if anonymous else tax
        parts = job_pb2.PriceParts(price_mkudos=price, tax_mkudos=tax, total_mkudos=price + tax)
        generation = self.submit(
            f"r{next(self._asked)}", account=account, digest=token.to_bytes(32) if anonymous else b"", model=model,
            flow=f"anonymous/{address}" if anonymous else account, steps=steps,
            price=Price(Mkudos(price), Mkudos(0), Mkudos(tax)), ttl=7_200.0,
        )  # fmt: skip
        generation.quote = generation_pb2.Quote(per_image=parts).SerializeToString()
        self.run_errands()
        self.terms.pop(generation.generation_id)
        return None if generation.phase is Phase.REFUSED else generation.jobs[0]

    def customer_comes(self) -> None:
        self.customer_asks()

    def customer_asks(self, steps: int = 50) -> Job:
        """Somebody who pays wants a picture."""
        job = self.ask(self._customers[next(self._asked) % len(self._customers)], steps=steps)
        assert job is not None
        return job

    def lent_to(self, job: Job, worker: Worker | None = None) -> Lease | None:
        """The lease that a job has now, of this worker if one is named."""
        lease = settling.current(job) if job.state is JobState.LEASED else None
        return lease if lease is not None and (worker is None or lease.worker_id == worker.worker_id) else None

    def paint_in_time(self, lease: Lease) -> None:
        """Paint as fast as a cheap GPU, and say how far it is."""
        steps = lease.job.generation.terms.steps

        def step_on(step: int) -> None:
            if settling.current(lease.job) is not lease:
                return
            if step < steps:
                self.progress(lease, step)
                self.at(SECONDS_PER_STEP * min(50, steps - step), lambda: step_on(min(step + 50, steps)))
            else:
                self.paint(lease)

        self.at(SECONDS_PER_STEP * min(50, steps), lambda: step_on(min(50, steps)))
