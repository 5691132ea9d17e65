"""A worker in Node that was written from the contract's words alone. Needs `node`, and `npm install` in its folder."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.clients.errors import ApiKeyUnknown
from horde.services.errors import Unavailable
from horde.testkit.worker_agent import FakeMesh, fake_mesh

FOLDER = Path(__file__).resolve().parents[3] / "clients" / "examples" / "node-worker"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(
    NODE is None or not (FOLDER / "node_modules").is_dir(), reason="needs node, and npm install in its folder"
)
SECONDS = 30


class Node:
    """The worker's process, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def says(self, beginning: str) -> str:
        """Wait for the next line that begins so."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            async for raw in self.process.stdout:
                line = raw.decode().strip()
                self.lines.append(line)
                if line.startswith(beginning):
                    return line
        raise AssertionError(f"it ended without {beginning!r}: {self.lines}")


@asynccontextmanager
async def node(mesh: FakeMesh, state: Path) -> AsyncIterator[Node]:
    assert NODE is not None
    environment = {
        **os.environ,
        "HORDE_GATEWAY": mesh.target,
        "HORDE_API_KEY": "0123456789abcdefABCDEF",
        "HORDE_STATE": str(state),
    }
    process = await asyncio.create_subprocess_exec(
        NODE, "worker.js", cwd=FOLDER, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Node(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_it_paints_and_survives_farewell_resync_a_bad_outcome_and_a_revoked_key(tmp_path: Path) -> None:
    async with fake_mesh() as mesh, node(mesh, tmp_path) as worker:
        gateway = mesh.gateway
        await worker.says("welcome")
        await gateway.until(lambda: gateway.restatements())

        first = mesh.assign()
        assert (await worker.says("settled")) == "settled DISPOSITION_ACCEPTED 10830"
        (outcome,) = gateway.outcomes()
        assert outcome.painted.receipt.startswith(f"receipt:{first.lease_id}")
        assert outcome.painted.deviations[0].kind == job_pb2.DEVIATION_KIND_REINTERPRETED
        assert gateway.progress(first.lease_id) == [1, 2, 3, 4]
        assert mesh.router.stored[first.lease_id].startswith(b"\x89PNG")

        # Unsettled, it is told again: after a resync, and after a farewell to another session.
        gateway.settles = False
        second = mesh.assign()
        await gateway.until(lambda: len(gateway.outcomes()) == 2)
        gateway.say(resync=pb.Resync(epoch=7))
        await gateway.until(lambda: len(gateway.restatements()) == 2)
        again = gateway.restatements()[-1]
        assert (again.epoch, [outcome.lease_id for outcome in again.outcomes]) == (7, [second.lease_id])
        gateway.say(farewell=pb.Farewell(detail="another gateway, please"))
        gateway.hang_up(Unavailable("gone"))
        await worker.says("welcome")
        await gateway.until(lambda: len(gateway.restatements()) == 3)
        assert [outcome.lease_id for outcome in gateway.restatements()[-1].outcomes] == [second.lease_id]

        # An outcome that the mesh calls invalid is closed like any other, and the worker paints on.
        gateway.settle(second.lease_id, second.job_id, pb.DISPOSITION_OUTCOME_INVALID)
        assert (await worker.says("settled")).startswith("settled DISPOSITION_OUTCOME_INVALID")
        gateway.settles = True
        mesh.router.break_after = 1  # And the router breaks off once.
        mesh.assign()
        assert (await worker.says("settled")) == "settled DISPOSITION_ACCEPTED 10830"

        gateway.refuse_with = ApiKeyUnknown()
        gateway.hang_up(ApiKeyUnknown())
        await worker.says("ended API_KEY_UNKNOWN")
        async with asyncio.timeout(SECONDS):
            assert await worker.process.wait() == 3
        assert worker.process.stderr is not None
        assert b"API_KEY_UNKNOWN" in await worker.process.stderr.read()


async def test_what_was_not_settled_outlives_the_process(tmp_path: Path) -> None:
    async with fake_mesh() as mesh:
        mesh.gateway.settles = False
        async with node(mesh, tmp_path) as worker:
            await worker.says("welcome")
            lent = mesh.assign()
            await mesh.gateway.until(lambda: mesh.gateway.outcomes())
        mesh.gateway.settles = True
        async with node(mesh, tmp_path) as worker:
            assert (await worker.says("settled")).startswith("settled DISPOSITION_ACCEPTED")
            assert mesh.gateway.restatements()[-1].outcomes[0].lease_id == lent.lease_id
