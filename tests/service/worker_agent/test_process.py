"""The agent as a process of its own: started, killed, started again, told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services.errors import Unauthenticated
from horde.testkit.worker_agent import FakeMesh

psutil: Any = import_module("psutil")


@asynccontextmanager
async def started(mesh: FakeMesh, state: Path, **settings: str) -> AsyncIterator[Process]:
    """A worker's process; killed at the end of the block if it still lives."""
    names = {
        "GATEWAY": mesh.target,
        "API_KEY": "secret",
        "NAME": "anna",
        "PAINTER": "scripted",
        "STATE_DIR": str(state),
        "RECONNECT_FIRST_SECONDS": "0.05",
        **settings,
    }
    environment = {f"HORDE_WORKER_{name}": value for name, value in names.items() if value}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "horde.worker_agent",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        # Read to the end, or the pipe's transport outlives the loop.
        await process.communicate()


async def attached(mesh: FakeMesh, times: int = 1) -> pb.Restatement:
    await mesh.gateway.until(lambda: len(mesh.gateway.restatements()) >= times)
    return mesh.gateway.restatements()[times - 1]


@pytest.mark.parametrize(
    ("point", "taken_up"),
    [
        ("worker.before_painting", "nothing"),
        ("worker.before_spooling", "nothing"),
        ("worker.before_uploading", "the lease"),
        ("worker.after_receipt", "the lease"),
        ("worker.after_keeping", "the outcome"),
    ],
)
async def test_a_worker_killed_anywhere_takes_up_what_it_had(
    mesh: FakeMesh, tmp_path: Path, point: str, taken_up: str
) -> None:
    async with started(mesh, tmp_path, FAILPOINTS=f"{point}=kill") as process:
        await attached(mesh)
        lent = mesh.assign()
        assert await process.wait() == -signal.SIGKILL
    stored = dict(mesh.router.stored)
    mesh.gateway.heard.clear()
    # The router is away for a moment: so what is restated is what was found on disk.
    mesh.gateway.settles = False
    async with started(mesh, tmp_path, FAILPOINTS="worker.before_uploading=delay:0.5"):
        restated = await attached(mesh)
        assert [lease.lease_id for lease in restated.leases] == [lent.lease_id] * (taken_up == "the lease")
        assert [outcome.lease_id for outcome in restated.outcomes] == [lent.lease_id] * (taken_up == "the outcome")
        if taken_up == "nothing":
            assert not mesh.router.stored
            return
        await mesh.gateway.until(mesh.gateway.outcomes)
        (outcome,) = mesh.gateway.outcomes()
        assert outcome.painted.receipt.startswith(f"receipt:{lent.grant}:")
        assert stored.items() <= mesh.router.stored.items()
        mesh.gateway.settle(lent.lease_id, lent.job_id)
        mesh.gateway.say(resync=pb.Resync(epoch=5))
        restated = await attached(mesh, 2)
        assert not restated.leases
        assert not restated.outcomes
        left = {path.name for path in (tmp_path / "anna").rglob("*") if path.is_file()}
        assert left == {"lock", "control"}


async def test_a_script_can_make_the_process_vanish_in_mid_job(mesh: FakeMesh, tmp_path: Path) -> None:
    async with started(mesh, tmp_path) as process:
        await attached(mesh)
        lent = mesh.assign("[slow:0.02][vanish@anna]")
        assert await process.wait() == -signal.SIGKILL
        assert mesh.gateway.progress(lent.lease_id)
        assert not mesh.router.opened


async def test_a_worker_that_is_told_to_stop_finishes_and_exits_with_0(mesh: FakeMesh, tmp_path: Path) -> None:
    async with started(mesh, tmp_path) as process:
        await attached(mesh)
        lent = mesh.assign("[slow:0.05]")
        await mesh.gateway.until(lambda: mesh.gateway.progress(lent.lease_id))
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert [outcome.WhichOneof("result") for outcome in mesh.gateway.outcomes()] == ["painted"]


@pytest.mark.parametrize(
    ("settings", "status", "words"),
    [
        ({"API_KEY": ""}, 2, "HORDE_WORKER_API_KEY_FILE"),
        ({"API_KEY_FILE": "/no/such/file"}, 2, "/no/such/file"),
        ({"NAME": "a b"}, 2, "HORDE_WORKER_NAME"),
        ({"PAINTER": "diffusers", "MODELS": "a=/no/such/folder"}, 2, "/no/such/folder"),
        ({"PAINTER": "diffusers", "PAINTERS": "2"}, 2, "one picture at a time"),
        ({}, 3, "no such key"),
    ],
)
async def test_a_worker_that_cannot_work_says_why(
    mesh: FakeMesh, tmp_path: Path, settings: dict[str, str], status: int, words: str
) -> None:
    mesh.gateway.refuse_with = Unauthenticated("no such key")
    async with started(mesh, tmp_path, **settings) as process:
        _, said = await process.communicate()
        assert process.returncode == status
        assert words in said.decode()
        assert "Traceback" not in said.decode()


async def test_a_second_process_of_the_same_worker_does_not_start(mesh: FakeMesh, tmp_path: Path) -> None:
    async with started(mesh, tmp_path):
        await attached(mesh)
        async with started(mesh, tmp_path) as second:
            assert await second.wait() == 2


@pytest.mark.slow
async def test_diffusers_paints_and_its_process_dies_with_a_killed_agent(mesh: FakeMesh, tmp_path: Path) -> None:
    async with started(mesh, tmp_path, PAINTER="diffusers", THREADS="1") as process:
        await attached(mesh)
        lent = mesh.assign("a house", width=128, height=64)
        await mesh.gateway.until(mesh.gateway.outcomes)
        assert mesh.gateway.outcomes()[0].HasField("painted")
        assert mesh.gateway.progress(lent.lease_id)[-1] == 4
        assert lent.grant in mesh.router.stored
        children = [child for child in psutil.Process(process.pid).children(recursive=True) if child.is_running()]
        assert children
        process.kill()
        await process.wait()
        _, alive = await asyncio.to_thread(psutil.wait_procs, children, 20)
        assert not alive
