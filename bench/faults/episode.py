"""One episode: a mesh is built, people ask, everything goes wrong for a while, then nothing does, and all must end.

Everything in it follows from its seed: who asks for what, who paints how, and what goes wrong at which step.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

from faults.ending import compare
from faults.injecting import Faults, arm, disarm
from faults.people import ANNA, BERT, POOR, Person
from faults.services import GATEWAYS, ROUTERS, Mesh
from faults.truth import Truth
from faults.virtual import Process, VirtualLoop, current_process, make_task
from faults.workers import KINDS, Disk, Worker
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_pb
from horde.ledger.core.errors import WriterReplaced
from horde.ledger.core.identifiers import derived
from horde.scheduler.core.board import Limits
from horde.scheduler.core.errors import NotLeader
from horde.scheduler.core.job import Ending, JobState
from horde.services.errors import ServiceError

OWNERS = tuple(f"00000000-0000-4000-8000-0000000000{number:02x}" for number in range(0xE0, 0xE5))
TROUBLE = (30.0, 90.0, 150.0)
"""Seconds in which things go wrong."""
DRAIN_SECONDS, CHECKED_SECONDS = 900.0, 2_700.0
"""Within which everything must have ended afterwards; the second where pictures are painted again to be compared, which
may wait for another owner until their own time is over."""
LEARNS_SECONDS = 30.0
"""Within which a leader that lost its lock knows that: longer than in truth, for what it does until then."""
OVERDUE_SECONDS = 10.0
"""For how long a living leader may not have come to what is due: a store may dawdle, or a failpoint."""
WATCH_EVERY = 64
"""Steps between two looks at the leader's memory."""


@dataclass
class Result:
    """What came of an episode."""

    seed: int
    lives: int = 0
    steps: int = 0
    seconds: float = 0.0
    messages: int = 0
    wrong: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    digest: int = 0
    """Of what happened: the same for the same seed."""


class Episode:
    """One seed's mesh."""

    def __init__(self, seed: int, until: int | None = None, tell: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.loop = VirtualLoop(until)
        self.loop.set_task_factory(make_task)  # type: ignore[arg-type]
        self.loop.set_exception_handler(self._unhandled)
        self.truth = Truth()
        self.faults = Faults(str(seed))
        self._chance = Random(f"{seed}/episode")
        looked_at = self._chance.random() < 0.3
        self._drains = CHECKED_SECONDS if looked_at else DRAIN_SECONDS
        limits = Limits() if looked_at else Limits(proven_images=0, checks_part=0.0)
        self.mesh = Mesh(self.loop, str(seed), self.faults, self.truth, limits)
        self._tell = tell or (lambda line: None)
        self._leads: dict[str, list[Process]] = {"scheduler": [], "ledger": []}
        self._people: list[Person] = []
        self._workers: dict[int, Process] = {}
        self._ended = False
        self.loop.after_step = self._look

    def run(self) -> Result:
        """Live it to its end, or to the first thing that is wrong."""
        drawn = random.getstate()
        random.seed(self.seed)
        arm(self.faults)
        main = self.loop.create_task(self._main())
        main.add_done_callback(lambda _: self.loop.stop())
        try:
            self.loop.run_forever()
            if main.done() and not main.cancelled() and (error := main.exception()) is not None:
                raise error
            if self.loop.stuck:
                self.truth.fail("nothing is left to happen, and the episode is not over")
            return self._result()
        finally:
            self._bury(main)
            disarm()
            random.setstate(drawn)

    def _result(self) -> Result:
        truth, memory = self.truth, self.mesh.durable.scheduler
        result = Result(self.seed, len(truth.of_job), self.loop.steps, self.loop.time(), self.mesh.network.messages)
        result.wrong, result.faults, result.passed = truth.wrong, self.faults.counts, self.faults.passed
        result.endings = Counter(Ending(row["ending"]).name for row in memory.jobs.values())
        result.endings["REFUSED"] = sum(asked.count for asked in truth.asked.values() if asked.refused)
        result.digest = hash((self.loop.steps, self.mesh.network.messages, self.mesh.durable.ledger._head.hash))
        return result

    # What happens.

    async def _main(self) -> None:
        chance = self._chance
        for name in GATEWAYS:
            self._keep(name, self.mesh.gateway)
        for name in ROUTERS:
            self._keep(name, self.mesh.router)
        for kind, lead in (("ledger", self.mesh.ledger), ("scheduler", self.mesh.scheduler)):
            for number in (1, 2):
                self._stand_by(kind, f"{kind} {number}", lead)
        await self._fund()
        for number in range(chance.randrange(3, 9)):
            self._work(number)
        crowd = Process(self.loop, "people")
        for number in range(chance.choice((10, 30, 100))):
            person = Person(crowd, self.mesh.network, self.truth, str(self.seed), number)
            self._people.append(person)
            crowd.spawn(person.live())
        trouble = chance.choice(TROUBLE)
        disaster = self.loop.create_task(self._disasters())
        await asyncio.sleep(trouble)
        disaster.cancel()
        await self._drain()

    async def _fund(self) -> None:
        """Give people kudos, before anything goes wrong."""
        self.faults.healed = True
        teller = Process(self.loop, "operator")
        for account, amount in ((ANNA, 10**8), (BERT, 10**6), (POOR, 4_000)):
            award = ledger_pb.Award(account_id=account, amount_mkudos=amount, awarded_by="op", reason="start")
            event = ledger_pb.Event(event_id=derived(account, "start"), award=award)
            request = ledger_pb.ApplyRequest(events=[event]).SerializeToString()
            while True:
                try:
                    await self.mesh.network.call(
                        teller, "ledger", "/horde.internal.ledger.v1.LedgerService/Apply", request
                    )
                    break
                except ServiceError:
                    await asyncio.sleep(0.5)
        self.faults.healed = False

    def _process(self, name: str) -> Process:
        chance = self._chance
        return Process(self.loop, name, chance.uniform(-20, 20), chance.uniform(0.999, 1.001))

    def _keep(self, name: str, serve: Callable[[Process], Coroutine[Any, Any, None]]) -> None:
        """A service of which there are several: it is started again whenever it ends."""
        process = self._process(name)
        process.at_death.append(lambda: self._later(lambda: self._keep(name, serve)))
        process.spawn(self._guarded(process, serve(process)))

    def _stand_by(self, kind: str, name: str, lead: Callable[[Process], Coroutine[Any, Any, None]]) -> None:
        """A service of which one leads: this one waits until the lock is free, or is taken for free."""
        process = self._process(name)
        process.at_death.append(lambda: self._later(lambda: self._stand_by(kind, name, lead)))
        process.spawn(self._guarded(process, self._when_leading(kind, process, lead)))

    async def _when_leading(
        self, kind: str, process: Process, lead: Callable[[Process], Coroutine[Any, Any, None]]
    ) -> None:
        leaders = self._leads[kind]
        # A lock is lost with its connection: while a leader hangs, or is cut off, another may have it.
        while any(leader.alive for leader in leaders) and not self.faults.happens("lock lost"):
            await asyncio.sleep(1.0)
        before = [leader for leader in leaders if leader.alive]
        leaders[:] = [*before, process]
        for leader in before:
            # It asks for its lock again and again, learns that another leads, and ends (`services.leadership`).
            self.loop.call_later(LEARNS_SECONDS * self._chance.random(), leader.kill)
        await lead(process)

    def _later(self, start: Callable[[], None]) -> None:
        if not self._ended:
            self.loop.call_later(0.1 + 5.0 * self._chance.random() ** 2, start)

    async def _guarded(self, process: Process, serve: Coroutine[Any, Any, None]) -> None:
        """A process ends by itself where another has taken over, or where its database or a neighbour made it."""
        try:
            await serve
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            defects = [
                leaf for leaf in _leaves(error) if not isinstance(leaf, (NotLeader, WriterReplaced, ServiceError))
            ]
            if process.alive and defects:
                self.truth.fail(f"{process.name} has died: {defects[0]!r}")
            self._tell(f"{process.name} ends: {error!r}")
            process.kill()

    def _work(self, number: int) -> None:
        chance = self._chance
        owner, name = chance.choice(OWNERS), f"w{number}"
        kind = "honest" if number == 0 else chance.choice(KINDS)
        slots, pace, disk = chance.choice((1, 1, 2, 4)), chance.choice((0.05, 0.3, 2.0)), Disk()

        if kind == "liar":
            self.truth.liars.add(name)

        def start() -> None:
            process = self._process(f"worker {number}")
            process.at_death.append(lambda: self._later(start))
            turn = Random(f"{self.seed}/worker/{number}/{self.loop.steps}")
            worker = Worker(process, self.mesh.network, self.truth, turn, owner, name, kind, slots, disk, pace)
            process.spawn(self._guarded(process, worker.run()))
            self._workers[number] = process

        start()

    async def _disasters(self) -> None:
        """What befalls whole processes and the network, now and then."""
        chance, network = self._chance, self.mesh.network
        often = chance.choice((3.0, 10.0, 30.0))
        while True:
            await asyncio.sleep(often * (0.2 + chance.random()))
            what = chance.choice(("kill", "kill", "kill worker", "cut", "wait"))
            self.faults.counts[f"disaster: {what}"] += 1
            if what == "kill":
                name = chance.choice(("scheduler", "ledger", *GATEWAYS, *ROUTERS))
                there = network.newest(name)
                if there is not None:
                    self._tell(f"kill {there[0].name}")
                    there[0].kill()
            elif what == "kill worker":
                chance.choice(list(self._workers.values())).kill()
            elif what == "cut":
                pair = frozenset(chance.sample(("scheduler", "ledger", *GATEWAYS, *ROUTERS, "people"), 2))
                self._tell(f"cut {sorted(pair)}")
                network.cut.add(pair)
                self.loop.call_later(chance.random() ** 2 * 60, network.cut.discard, pair)

    async def _drain(self) -> None:
        """Nothing goes wrong any more: everything must end, and leave what it must and nothing else."""
        began = self.loop.time()
        self.faults.healed = True
        self.mesh.network.cut.clear()
        while not self._quiet():
            if self.loop.time() > began + self._drains:
                self._say_what_is_left()
                return
            await asyncio.sleep(5.0)
        compare(self.mesh, began)

    def _quiet(self) -> bool:
        memory, engine = self.mesh.durable.scheduler, self.mesh.engine
        return (
            all(person.done for person in self._people)
            and all(row["closed"] for row in memory.generations.values())
            and engine is not None
            and not any(len(courier) for courier in engine.errands.couriers())
        )

    def _say_what_is_left(self) -> None:
        memory = self.mesh.durable.scheduler
        for row in memory.generations.values():
            if not row["closed"]:
                jobs = [job for job in memory.jobs.values() if job["generation_id"] == row["generation_id"]]
                states = [(JobState(job["state"]).name, Ending(job["ending"]).name, job["leavings"]) for job in jobs]
                self.truth.fail(f"{row['generation_id']}: not over {self._drains:g} s after all was well: {states}")
        for person in self._people:
            if not person.done:
                self.truth.fail(f"{person.asked.generation_id}: its requester has no answer")
        if not self.truth.wrong:
            self.truth.fail("neighbours are still asked for something")

    # Watching.

    def _look(self) -> None:
        if self.loop.steps % WATCH_EVERY == 0:
            self._look_at_leader()
        network = self.mesh.network
        if network.defects:
            self.truth.fail(f"a service failed: {network.defects[0]!r}")
        if self.truth.wrong and not self._ended:
            self._ended = True
            self.loop.stop()

    def _look_at_leader(self) -> None:
        engine, leader = self.mesh.engine, self.mesh.leader
        if engine is None or leader is None or not leader.alive:
            return
        board, truth = engine.board, self.truth
        if board.missed:
            truth.fail(f"{board.missed} jobs waited beside an idle worker that could paint them")
        now = engine.term.now()
        for worker in board.fleet.workers.values():
            session = worker.session
            for lease in worker.leases.values():
                late = now - lease.lapses_at
                truth.must(late < OVERDUE_SECONDS, f"{worker.name}: a lease should have lapsed {late:.0f} s ago")
            if session is not None and session.ready and len(worker.leases) > max(session.slots, 0):
                fresh = sum(lease.granted_at >= session.opened_at for lease in worker.leases.values())
                truth.must(
                    fresh <= session.slots, f"{worker.name} holds {len(worker.leases)} for {session.slots} slots"
                )

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        process, error = current_process(), context.get("exception")
        if (
            (process is not None and not process.alive)
            or self._ended
            or isinstance(error, (ServiceError, asyncio.CancelledError))
        ):
            return
        if error is not None:
            self.truth.fail(f"{process.name if process else 'the episode'}: {context['message']}: {error!r}")

    def _bury(self, main: asyncio.Task[None]) -> None:
        """End everything, so that nothing of this episode is left."""
        self._ended = True
        self.loop.after_step = lambda: None
        self.loop._until = None
        for _ in range(20):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
        self.loop.close()


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    if error.__cause__ is not None and type(error).__name__ == "LoopDied":
        return _leaves(error.__cause__)
    return [error]
