"""Images a second that a worker paints inside the mesh, beside a bare loop of diffusers: `make bench-worker`.

Same model (the one that comes along), size, steps and prompt, one thread each, in alternating rounds; whoever is not
measured waits. Inside the mesh a picture is also lent, encoded, uploaded, checked, paid and told.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mesh import EXTRA

from horde.api.job.v1.job_pb2 import JobEnding
from horde.cli.local.mesh import LocalMesh, WorkerPlan, local_mesh
from horde.clients.credentials import ApiKey, read_secret
from horde.clients.specs import generation_spec

GOAL = 0.95
PROMPT = "a red star on a blue background"
AWARD_MKUDOS = 10**9
BARE = """
import sys, time, torch
from diffusers import AutoPipelineForText2Image
folder, side, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
pipeline = AutoPipelineForText2Image.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
pipeline.set_progress_bar_config(disable=True)
def paint(seed):
    generator = torch.Generator("cpu").manual_seed(seed)
    pipeline({prompt!r}, width=side, height=side, num_inference_steps=steps, guidance_scale=3.0, generator=generator)
paint(0)
print("ready", flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    for seed in range(int(line)):
        paint(seed)
    print(time.perf_counter() - began, flush=True)
"""


class Bare:
    """The bare loop, as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, side: int, steps: int) -> Bare:
        folder = Path(str(import_module("horde.worker_agent").__path__[0])) / "models" / "paintbox"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            BARE.replace("{prompt!r}", repr(PROMPT)),
            str(folder),
            str(side),
            str(steps),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        bare = cls(process)
        assert await bare._line() == "ready"
        return bare

    async def seconds(self, count: int) -> float:
        """What so many pictures took."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n".encode())
        return float(await self._line())

    async def _line(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


async def in_the_mesh(mesh: LocalMesh, account: Any, count: int, side: int, steps: int) -> float:
    """Seconds from the first request until the requester has heard of the last picture."""
    spec = generation_spec(PROMPT, width=side, height=side, steps=steps, guidance_scale=3.0, count=count)
    began = time.perf_counter()
    made = await account.generations.create(spec)
    done = await account.generations.finish(made.generation_id)
    assert all(image.ending == JobEnding.JOB_ENDING_DONE for image in done.images)
    return time.perf_counter() - began


async def speed(rounds: int, count: int, side: int, steps: int) -> None:
    """Alternate, and say what came of it."""
    settings: Mapping[str, str] = {"THREADS": "1", "PREFETCH": "2"}
    with tempfile.TemporaryDirectory() as folder:
        async with local_mesh(Path(folder) / "state", extra=EXTRA) as mesh:
            await mesh.start_worker(WorkerPlan("anna", settings=settings))
            async with mesh.client() as nobody:
                opened = await nobody.accounts.create("bench")
            async with mesh.client(credential=ApiKey(read_secret(mesh.layout.operator_key) or "")) as operator:
                await operator.kudos.award(opened.account.account_id, AWARD_MKUDOS, reason="for the bench")
            bare = await Bare.start(side, steps)
            try:
                async with mesh.client(credential=ApiKey(opened.api_key)) as account:
                    # A new owner gets one slot; pictures that somebody pays for give him more.
                    await in_the_mesh(mesh, account, 4, side, steps)
                    await alternate(mesh, account, bare, rounds, count, side, steps)
            finally:
                await bare.end()


async def alternate(mesh: LocalMesh, account: Any, bare: Bare, rounds: int, count: int, side: int, steps: int) -> None:
    ratios = []
    for number in range(rounds):
        alone, within = await bare.seconds(count), await in_the_mesh(mesh, account, count, side, steps)
        ratios.append(alone / within)
        print(
            f"round {number + 1}: bare {count / alone:.3f}/s, mesh {count / within:.3f}/s, {ratios[-1]:.3f}", flush=True
        )
    spread = statistics.stdev(ratios) if len(ratios) > 1 else 0.0
    median = statistics.median(ratios)
    print(f"mesh to bare, {side}x{side}, {steps} steps: median {median:.3f} +- {spread:.3f} (goal {GOAL})")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=10, help="of each round")
    parser.add_argument("--side", type=int, default=128, help="pixels")
    parser.add_argument("--steps", type=int, default=30)
    asked = parser.parse_args()
    asyncio.run(speed(asked.rounds, asked.images, asked.side, asked.steps))


if __name__ == "__main__":
    main()
