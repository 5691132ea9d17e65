"""The faults that `make alerts` does to a mesh, one for each alert of deploy/helm/horde-mesh/alerts.yaml."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from horde.api.generation.v1.generation_pb2 import Generation
from horde.cli.local.mesh import LocalMesh, WorkerPlan
from horde.cli.local.processes import Process, environment
from horde.cli.local.roles import Role, local_environment
from horde.clients.client import HordeClient
from horde.clients.errors import ServiceError
from horde.clients.retrying import IMPATIENT
from horde.clients.specs import generation_spec

DEFECTIVE: Final = str(Path(__file__).with_name("defective.py"))
WORKER: Final = "painter"
QUICK: Final = {"DRAIN_SECONDS": "1", "RECONNECT_FIRST_SECONDS": "0.1", "RECONNECT_LIMIT_SECONDS": "1"}
STOP_SECONDS: Final = 30.0
DATABASES: Final = {Role.GATEWAY: "identity.sqlite", Role.LEDGER: "ledger.db"}
HELD_SECONDS: Final = 1.6
"""How long a disk holds a commit up: less than who waits for the lock gives it."""


@dataclass
class House:
    """The mesh that faults are done to, with a worker, and an auditor that looks each second. Use `open`."""

    mesh: LocalMesh
    account: HordeClient
    auditor: Process
    asking: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while requesters ask all the time."""

    @classmethod
    @asynccontextmanager
    async def open(cls, mesh: LocalMesh, account: HordeClient, metrics: str) -> AsyncIterator[House]:
        """With the auditor's metrics where Prometheus will read them."""
        told = {
            "SCHEDULER": mesh.layout.address(Role.SCHEDULER),
            "KEY_FILE": str(mesh.layout.key_file),
            "STATE_DIR": str(mesh.layout.state / "auditor"),
            "SHARED_DIR": str(mesh.layout.shared_bucket),
            "PRIVATE_DIR": str(mesh.layout.private_bucket),
            "METRICS_LISTEN": metrics,
            "EVERY_SECONDS": "1",
            "SETTLE_SECONDS": "15",
        }
        settings = local_environment(environment(), {f"HORDE_AUDITOR_{name}": value for name, value in told.items()})
        auditor = await Process.start("auditor", ("-m", "horde.auditor", "--watch"), settings, lambda name, line: None)
        try:
            yield cls(mesh, account, auditor)
        finally:
            await auditor.stop(STOP_SECONDS)

    async def calm(self) -> None:
        """Everybody runs, a worker paints, a picture comes through, and requesters ask."""
        for role in (Role.LEDGER, Role.STORAGE_ROUTER, Role.SCHEDULER, Role.GATEWAY):
            if self.mesh.processes[role.value].status is not None:
                await self.mesh.start(role)
        await self.mesh.serving()
        if WORKER not in self.mesh.processes or self.mesh.processes[WORKER].status is not None:
            await self.mesh.start_worker(WorkerPlan(WORKER, "scripted", QUICK))
        await self.paint()
        self.asking.set()

    async def paint(self, prompt: str = "a picture", **options: object) -> Generation:
        """Ask for a picture and wait for it."""
        accepted = await self.ask(prompt, **options)
        return await self.account.generations.finish(accepted.generation_id)

    async def ask(self, prompt: str = "a picture", **options: object) -> Generation:
        """Ask for pictures."""
        spec = generation_spec(prompt, **{"width": 64, "height": 64, "steps": 4, **options})  # type: ignore[arg-type]
        return await self.account.generations.create(spec, request_id=str(uuid.uuid4()))

    def process(self, role: Role) -> Process:
        """The process of a service."""
        return self.mesh.processes[role.value]

    def database(self, role: Role) -> Path:
        """The SQLite file of a service."""
        return self.mesh.layout.folder(role) / DATABASES[role]


Doing = Callable[[House], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and for as long as the block of `begun`."""

    alert: str
    what: str
    begun: Doing


FAULTS: Final[dict[str, Fault]] = {}
"""By alert."""


def fault(alert: str, what: str) -> Callable[[Callable[[House], AsyncIterator[None]]], Doing]:
    """Have a function be the fault of an alert."""

    def kept(does: Callable[[House], AsyncIterator[None]]) -> Doing:
        begun = asynccontextmanager(does)
        FAULTS[alert] = Fault(alert, what, begun)
        return begun

    return kept


@fault("HordeServiceDown", "the storage router is killed")
async def service_down(house: House) -> AsyncIterator[None]:
    await house.process(Role.STORAGE_ROUTER).kill()
    yield
    await house.mesh.start(Role.STORAGE_ROUTER)


@fault("HordeNoScheduler", "the scheduler is killed, and no other is there")
async def no_scheduler(house: House) -> AsyncIterator[None]:
    await house.process(Role.SCHEDULER).kill()
    yield
    await house.mesh.start(Role.SCHEDULER)


@fault("HordeErrors", "a table of the gateway's database has another name, as after a migration that half happened")
async def errors(house: House) -> AsyncIterator[None]:
    database = house.database(Role.GATEWAY)
    with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
        connection.execute("ALTER TABLE accounts RENAME TO accounts_new")
        connection.commit()
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(_open_accounts(house))
            try:
                yield
            finally:
                opening.cancel()
        connection.execute("ALTER TABLE accounts_new RENAME TO accounts")
        connection.commit()


async def _open_accounts(house: House) -> None:
    async with house.mesh.client(patience=IMPATIENT) as nobody:
        while True:
            with contextlib.suppress(ServiceError):
                await nobody.accounts.create(f"somebody-{uuid.uuid4().hex[:8]}")
            await asyncio.sleep(0.1)


@fault("HordeNeighbourAway", "the ledger is killed")
async def neighbour_away(house: House) -> AsyncIterator[None]:
    await house.process(Role.LEDGER).kill()
    yield
    await house.mesh.start(Role.LEDGER)


@fault("HordeSlow", f"the disk of the ledger's database holds each commit up for {HELD_SECONDS} s")
async def slow(house: House) -> AsyncIterator[None]:
    holding = asyncio.create_task(_hold(house.database(Role.LEDGER)))
    try:
        yield
    finally:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)


async def _hold(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as connection:
        while True:
            connection.execute("BEGIN IMMEDIATE")
            try:
                await asyncio.sleep(HELD_SECONDS)
            finally:
                connection.execute("ROLLBACK")
            await asyncio.sleep(0.02)


@fault("HordeQueueLong", "people ask for more than the slow worker that is there can paint")
async def queue_long(house: House) -> AsyncIterator[None]:
    await house.mesh.processes[WORKER].stop(STOP_SECONDS)
    slow_painter = {**QUICK, "SCRIPT": "[slow:0.3]"}
    await house.mesh.start_worker(WorkerPlan(WORKER, "scripted", slow_painter))
    asked = [await house.ask("a large picture", width=1024, height=1024, steps=50, count=8) for _ in range(12)]
    yield
    for generation in asked:
        await house.account.generations.cancel(generation.generation_id)
    await house.mesh.processes[WORKER].stop(STOP_SECONDS)
    await house.calm()


@fault("HordeModelWithoutWorkers", "the only worker of a model leaves while jobs wait for it")
async def model_without_workers(house: House) -> AsyncIterator[None]:
    await house.mesh.processes[WORKER].stop(STOP_SECONDS)
    await house.ask()
    yield
    await house.calm()


@fault("HordeNoWorkers", "the only worker is killed")
async def no_workers(house: House) -> AsyncIterator[None]:
    await house.mesh.processes[WORKER].kill()
    yield
    await house.calm()


@fault("HordeLedgerStill", "the ledger stands still (SIGSTOP) while jobs are painted")
async def ledger_still(house: House) -> AsyncIterator[None]:
    ledger = house.process(Role.LEDGER)
    for _ in range(5):
        await house.ask("[slow:0.2] a picture")
    ledger.tell(signal.SIGSTOP)
    try:
        yield
    finally:
        ledger.tell(signal.SIGCONT)


@fault("HordeMissed", "a scheduler that looks for no worker for a fresh job (a seeded defect)")
async def missed(house: House) -> AsyncIterator[None]:
    async with _defective(house, Role.SCHEDULER, "looks for no worker"):
        # Somebody waits who is looked at last: the job comes when nobody hungers.
        yield


@fault("HordeStuck", "the ledger's database is put back alone, older than the scheduler's")
async def stuck(house: House) -> AsyncIterator[None]:
    database = house.database(Role.LEDGER)
    # What others ask for meanwhile would be known to neither database.
    house.asking.clear()
    await house.paint("a last picture")
    await house.process(Role.LEDGER).stop(STOP_SECONDS)
    with _set_aside(database) as backup:
        _copy(database, backup)
        await house.mesh.start(Role.LEDGER)
        await house.mesh.serving(Role.LEDGER)
        asked = [await house.ask("[slow:0.5] a picture", steps=20) for _ in range(3)]
        await house.process(Role.LEDGER).stop(STOP_SECONDS)
        right = backup.with_name("right.db")
        _copy(database, right)
        _copy(backup, database)
        await house.mesh.start(Role.LEDGER)
        yield
        await house.process(Role.LEDGER).stop(STOP_SECONDS)
        _copy(right, database)
        await house.mesh.start(Role.LEDGER)
        for generation in asked:
            await house.account.generations.finish(generation.generation_id)


@contextlib.contextmanager
def _set_aside(database: Path) -> Iterator[Path]:
    folder = database.parent / f"aside-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    try:
        yield folder / "backup.db"
    finally:
        shutil.rmtree(folder)


def _copy(source: Path, target: Path) -> None:
    """A database that nobody uses, with what stands beside it."""
    for end in ("", "-wal", "-shm"):
        of, to = Path(f"{source}{end}"), Path(f"{target}{end}")
        to.unlink(missing_ok=True)
        if of.exists():
            shutil.copy2(of, to)


@fault("HordeClocksApart", "the clock of the storage router's machine is 20 s behind")
async def clocks_apart(house: House) -> AsyncIterator[None]:
    async with _defective(house, Role.STORAGE_ROUTER, "clock behind"):
        yield


@asynccontextmanager
async def _defective(house: House, role: Role, defect: str) -> AsyncIterator[None]:
    """A service runs with a defect of `defective.py` for as long as the block."""
    await house.process(role).stop(STOP_SECONDS)
    os.environ["BENCH_DEFECT"] = defect
    await house.mesh.start(role, program=(DEFECTIVE, role.module))
    await house.mesh.serving(role)
    yield
    await house.process(role).stop(STOP_SECONDS)
    await house.mesh.start(role)


@fault("HordeAuditFinding", "the image of a shared picture is deleted from the bucket behind everybody's back")
async def audit_finding(house: House) -> AsyncIterator[None]:
    painted = await house.paint("a shared picture", share=True)
    (job_id,) = (image.job_id for image in painted.images)
    images = house.mesh.layout.shared_bucket / "images"
    (found,) = (path for path in images.glob(f"{job_id}.*") if path.suffix != ".json")
    aside = house.mesh.layout.state / "deleted"
    found.rename(aside)
    yield
    aside.rename(found)
