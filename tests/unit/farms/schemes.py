"""Ten farms, and a cheap GPU that paints: what each earns in an hour of a world where nothing was painted for it.

Farms get what a farmer can have without paying: accounts that are a month old, addresses, names. A farm that pays
itself begins with kudos, which do not count as earned. None of them paints anything, and nothing here looks at
pictures: what is earned by junk is what verification has to take away. The first five were found by trying, the others
follow from the rules: whoever knows them would try these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.unit.farms.world import DAY_S, POPULAR, World

from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import ANONYMOUS, AccountId
from horde.scheduler.core.leases import Lease
from horde.scheduler.core.outcomes import Censored, Refused

TRIES = 100
"""Of one account, token or owner in a day, if nothing refuses it before."""


@dataclass
class Farmer:
    """Somebody with many names in a world."""

    world: World
    accounts: list[AccountId] = field(default_factory=list)
    funded: int = 0

    def name(self, name: str, mkudos: int = 0) -> AccountId:
        account = self.world.account(f"farm {name}", mkudos)
        self.accounts.append(account)
        self.funded += mkudos
        self.world.policies[account] = self.refuse
        return account

    def purse(self, mkudos: int) -> AccountId:
        """Somebody's full account that is to be emptied into the farm's."""
        return self.world.account("purse", mkudos)

    def worker(self, owner: AccountId, *models: str, name: str = "w", slots: int = 1) -> Worker:
        return self.world.attach(name, slots, owner=owner, models=models)

    def won(self) -> int:
        """Milli-kudos, of all names together."""
        return sum(self.world.owns(account) for account in self.accounts) - self.funded

    def each_day(self, what: Callable[[], None]) -> None:
        self.world.every(DAY_S, what)

    # What is done with one's own requests.

    def refuse(self, lease: Lease) -> None:
        """Whoever else asks gets nothing."""
        self._report(lease, Refused("not mine"))

    def junk(self, lease: Lease) -> None:
        """A picture of one colour, at once."""
        self.world.paint(lease)

    def censor(self, lease: Lease) -> None:
        self._report(lease, Censored("nsfw"))

    def _report(self, lease: Lease, result: Censored | Refused) -> None:
        worker = self.world.board.fleet.workers[lease.worker_id]
        self.world.report(worker, lease.lease_id, lease.job.job_id, result)

    def ask_oneself(self, account: AccountId, model: str, **of: object) -> bool:
        """Whether it was accepted. What follows is the policy of whoever is lent it."""
        job = self.world.ask(account, model, **of)  # type: ignore[arg-type]
        self.world.settle_errands()
        return job is not None

    def cancel_when_painted(self, account: AccountId, model: str) -> bool:
        """Say that all steps are done, and cancel after 0.3 s."""
        job = self.world.ask(account, model, steps=500)
        if job is None or (lease := self.world.lent_to(job)) is None:
            return False
        self.world.progress(lease, 500)
        self.world.pass_time(0.3)
        self.world.cancel(job.generation)
        self.world.settle_errands()
        return True


Scheme = Callable[[Farmer], None]


def censoring(farmer: Farmer) -> None:
    """One puppet without kudos, three owners that answer "censored"."""
    puppet = farmer.name("puppet")
    owners = [farmer.name(f"owner {number}") for number in range(3)]
    for number, owner in enumerate(owners):
        farmer.worker(owner, f"mine {number}")
        farmer.world.policies[owner] = farmer.censor

    def day() -> None:
        for number in range(3):
            for _ in range(TRIES):
                if not farmer.ask_oneself(puppet, f"mine {number}"):
                    break

    farmer.each_day(day)


def idling(farmer: Farmer) -> None:
    """256 idle sessions of one account, no slots, thirty invented models and the popular one."""
    owner = farmer.name("owner")
    invented = [f"invented {number}" for number in range(30)]
    for number in range(256):
        farmer.worker(owner, POPULAR, *invented, name=f"w{number}", slots=0)


def cancelling(farmer: Farmer) -> None:
    """A fresh model name each time, all steps at once, cancelled after 0.3 s."""
    puppet, owner = farmer.purse(10**10), farmer.name("owner")
    worker, number = farmer.worker(owner, "fresh"), 0

    def day() -> None:
        nonlocal worker, number
        for _ in range(50):
            number += 1
            farmer.world.vanish(worker)
            worker = farmer.worker(owner, f"fresh {number}")
            farmer.world.policies[owner] = lambda lease: None
            farmer.cancel_when_painted(puppet, f"fresh {number}")

    farmer.each_day(day)


def anonymous(farmer: Farmer) -> None:
    """Anonymous requests of one token for one's own model, answered by pictures of one colour, at once."""
    owner = farmer.name("owner")
    farmer.worker(owner, "mine")
    farmer.world.policies[owner] = farmer.junk

    def day() -> None:
        for _ in range(TRIES):
            if not farmer.ask_oneself(ANONYMOUS, "mine", token=1, address="198.51.100.0/24"):
                break

    farmer.each_day(day)


def floor(farmer: Farmer) -> None:
    """A hundred accounts live on the floor subsidy and ask their three owners, who answer with junk."""
    puppets = [farmer.name(f"puppet {number}") for number in range(100)]
    for number in range(3):
        owner = farmer.name(f"owner {number}")
        farmer.worker(owner, f"mine {number}")
        farmer.world.policies[owner] = farmer.junk

    def day() -> None:
        for number, puppet in enumerate(puppets):
            # 56.88 of the 60 kudos that an account may have.
            farmer.ask_oneself(puppet, f"mine {number % 3}", steps=248)

    farmer.each_day(day)


def botnet(farmer: Farmer, addresses: int = 200, owners: int = 12) -> None:
    """Anonymous requests from two hundred addresses, for twelve owners."""
    for number in range(owners):
        owner = farmer.name(f"bot owner {number}")
        farmer.worker(owner, f"bots {number}")
        farmer.world.policies[owner] = farmer.junk

    def day() -> None:
        for number in range(addresses):
            for _ in range(TRIES):
                address = f"203.0.{number}.0/24"
                model = f"bots {number % owners}"
                if not farmer.ask_oneself(ANONYMOUS, model, steps=100, token=number + 2, address=address):
                    break

    farmer.each_day(day)


def cancelled_subsidies(farmer: Farmer) -> None:
    """A hundred accounts on the floor subsidy, whose pictures are cancelled when all but finished, and a second owner
    who gives the model a pace."""
    puppets = [farmer.name(f"puppet {number}") for number in range(100)]
    owner, accomplice = farmer.name("owner"), farmer.name("accomplice")
    rich = farmer.name("rich", 10**9)
    pacemaker = farmer.worker(accomplice, "ours")
    farmer.world.policies[accomplice] = farmer.junk
    farmer.ask_oneself(rich, "ours")
    farmer.world.vanish(pacemaker)
    farmer.worker(owner, "ours")
    farmer.world.policies[owner] = lambda lease: None

    def day() -> None:
        for puppet in puppets:
            if not farmer.cancel_when_painted(puppet, "ours"):
                job = farmer.world.ask(puppet, "ours", steps=100)
                if job is not None:
                    farmer.world.cancel(job.generation)
                    farmer.world.settle_errands()

    farmer.each_day(day)


def proven_owners(farmer: Farmer, owners: int = 20) -> None:
    """Twenty owners that are there. Each is proven, and its own model in demand, by a tiny picture an hour that another
    account of theirs pays for."""
    rich = farmer.name("prover", 10**9)
    for number in range(owners):
        owner = farmer.name(f"idle owner {number}")
        farmer.worker(owner, f"proof {number}")
        farmer.world.policies[owner] = farmer.junk

    def hour() -> None:
        for number in range(owners):
            farmer.ask_oneself(rich, f"proof {number}", steps=1, tax=1_000)

    farmer.world.every(3_540.0, hour)


def proven_sessions(farmer: Farmer) -> None:
    """One owner, 64 sessions that are proven once a day, thirty invented models that are kept in demand."""
    rich, owner = farmer.name("rich", 10**9), farmer.name("owner")
    invented = [f"invented {number}" for number in range(30)]
    workers = [farmer.worker(owner, *invented, f"own {place}", name=f"w{place}") for place in range(64)]
    farmer.world.policies[owner] = farmer.junk

    def hour() -> None:
        for model in invented:
            farmer.ask_oneself(rich, model, steps=1, tax=1_000)

    def day() -> None:
        for place in range(len(workers)):
            farmer.ask_oneself(rich, f"own {place}", steps=1, tax=1_000)

    farmer.world.every(3_540.0, hour)
    farmer.each_day(day)


def everything(farmer: Farmer) -> None:
    """All budgets at once: the botnet, puppets at the floor, proven owners, and fifty who censor for fifty."""
    botnet(farmer)
    proven_owners(farmer)
    floor(farmer)
    pairs = []
    for number in range(50):
        puppet, owner = farmer.name(f"censored {number}", 10**6), farmer.name(f"censor {number}")
        farmer.worker(owner, f"censors {number}")
        farmer.world.policies[owner] = farmer.censor
        pairs.append((puppet, f"censors {number}"))

    def day() -> None:
        for puppet, model in pairs:
            for _ in range(4):
                farmer.ask_oneself(puppet, model, steps=100)

    farmer.each_day(day)


FARMS: dict[str, Scheme] = {
    "censoring": censoring,
    "idling": idling,
    "cancelling": cancelling,
    "anonymous": anonymous,
    "floor": floor,
    "botnet": botnet,
    "cancelled subsidies": cancelled_subsidies,
    "proven owners": proven_owners,
    "proven sessions": proven_sessions,
    "everything": everything,
}


def painter(farmer: Farmer) -> None:
    """A cheap GPU that paints what customers want, all the time."""
    world, owner = farmer.world, farmer.name("painter")
    farmer.worker(owner, POPULAR)
    world.policies[owner] = world.paint_in_time

    def keep_busy() -> None:
        # Two others paint, too: four are enough for all.
        while world.board.live_jobs < 4:
            world.customer_asks(steps=500)
            world.settle_errands()

    world.every(30.0, keep_busy)


def earned_per_hour(scheme: Scheme, days: float) -> list[float]:
    """Kudos an hour, over the time since the beginning, at the end of each day (or of the last part of one)."""
    world = World()
    farmer = Farmer(world)
    world.live(3_600.0)  # The honest have painted something: there is demand, and a pace.
    began = world.now
    scheme(farmer)
    told = []
    while (left := days * DAY_S - (world.now - began)) > 0:
        world.live(min(DAY_S, left))
        told.append(farmer.won() / 1000 / ((world.now - began) / 3_600.0))
    assert world.ledger.audit().finding is None
    return told
