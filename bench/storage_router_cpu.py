"""What one image costs the storage router: CPU-milliseconds of its process and of its decoders, and images per second.

The yardstick, in the same run: a gRPC server that takes the same messages and answers, and does nothing else.
Starts a router of its own (folders, on a free port), uploads and commits 50 KB images from this process, and reads the
router's CPU time. A short calibration loop beside it says how fast this machine is just now.

    python bench/storage_router_cpu.py [--images 600] [--clients 32] [--shared] [--parts] [--s3] [--profile FILE]

With --s3 on an S3 server of its own, beside the store's own client, which puts, copies and removes as many.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import numpy
import psutil
from grpc import aio
from mesh_store import own_client_rate, store
from PIL import Image

from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.api.storage.v1.storage_service_pb2_grpc import (
    StorageServiceServicer,
    StorageServiceStub,
    add_StorageServiceServicer_to_server,
)
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.internal.storage.v1.object_service_pb2_grpc import ObjectServiceStub
from horde.services.channel import dial
from horde.services.clock import SystemClock
from horde.services.identity import Credentials, create_key_file
from horde.services.tokens import Signer
from horde.storage_router.core.assembly import MAX_CHUNK_BYTES
from horde.storage_router.doors.permits import AUDIENCE
from horde.testkit.storage_router import LIFETIME, Job, cut, finish

SIZE = 512
COMMITS_IN_A_CALL = 32


def paint(seed: int) -> bytes:
    """A 512x512 WebP of about 50 KB: smooth, with some grain."""
    noise = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:SIZE, 0:SIZE]
    waves = [numpy.sin(x / (20 + 7 * k)) * numpy.cos(y / (17 + 5 * k)) * 100 + 128 for k in range(3)]
    grain = numpy.stack(waves, -1) + noise.normal(0, 9, (SIZE, SIZE, 3))
    with tempfile.SpooledTemporaryFile() as out:
        Image.fromarray(numpy.clip(grain, 0, 255).astype("uint8")).save(out, "WEBP", quality=80)
        out.seek(0)
        return out.read()


def calibrate() -> float:
    """Milliseconds for a fixed piece of work: smaller is a faster machine."""
    took = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(200):
            hashlib.sha256(bytes(50_000)).digest()
        took.append(time.process_time() - began)
    return statistics.median(took) * 1000


def by_thread(process: psutil.Process) -> dict[str, float]:
    """CPU seconds of each of its threads, by name."""
    found: dict[str, float] = {}
    for thread in process.threads():
        name = Path(f"/proc/{process.pid}/task/{thread.id}/comm").read_text().strip()
        name = "main" if thread.id == process.pid else name
        found[name] = found.get(name, 0.0) + thread.user_time + thread.system_time
    return found


def cpu_ms(process: psutil.Process) -> tuple[float, float]:
    """Of the router, and of its decoders."""
    times = process.cpu_times()
    children = [child.cpu_times() for child in process.children(recursive=True)]
    return (times.user + times.system) * 1000, sum(child.user + child.system for child in children) * 1000


async def upload(door: StorageServiceStub, grant: str, image: bytes, *, parts: bool = False) -> None:
    """Bring an image as a worker does: in one message if it fits, or else (or with `parts`) in a stream."""
    if len(image) <= MAX_CHUNK_BYTES and not parts:
        digest = hashlib.sha256(image).digest()
        assert (await door.PutImage(storage.PutImageRequest(grant=grant, data=image, sha256=digest))).receipt
        return
    call = door.UploadImage()
    await call.write(storage.UploadImageRequest(open=storage.UploadImageOpen(grant=grant)))
    await call.read()
    for chunk in cut(image, size=MAX_CHUNK_BYTES):
        await call.write(storage.UploadImageRequest(chunk=chunk))
    await call.write(storage.UploadImageRequest(finish=finish(image)))
    answer = await call.read()
    assert isinstance(answer, storage.UploadImageResponse)
    assert answer.receipt.receipt
    await call.done_writing()
    await call.code()


class Idle(StorageServiceServicer):
    """The yardstick."""

    async def PutImage(self, request: storage.PutImageRequest, context: object) -> storage.PutImageResponse:
        return storage.PutImageResponse(receipt="x" * 500)

    async def UploadImage(
        self, request_iterator: AsyncIterator[storage.UploadImageRequest], context: object
    ) -> AsyncIterator[storage.UploadImageResponse]:
        async for request in request_iterator:
            if request.HasField("open"):
                yield storage.UploadImageResponse(resume=storage.UploadResume(offset=0))
            elif request.HasField("finish"):
                yield storage.UploadImageResponse(receipt=storage.UploadReceipt(receipt="x" * 500))
                return


async def serve_yardstick() -> None:
    server = aio.server()
    add_StorageServiceServicer_to_server(Idle(), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


async def measure_yardstick(arguments: argparse.Namespace) -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--yardstick",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        target = f"127.0.0.1:{int(await server.stdout.readline())}"
        image, queue = paint(0), iter(range(arguments.images))
        async with dial(target, caller=None) as channel:
            door = StorageServiceStub(channel)

            async def worker() -> None:
                for _ in queue:
                    await upload(door, "x" * 600, image, parts=arguments.parts)

            process = psutil.Process(server.pid)
            before, began = cpu_ms(process), time.perf_counter()
            await asyncio.gather(*(worker() for _ in range(arguments.clients)))
            took, after = time.perf_counter() - began, cpu_ms(process)
        print(
            f"yardstick: {(after[0] - before[0]) / arguments.images:.2f} CPU-ms for bare gRPC per image, "
            f"{arguments.images / took:.0f} images/s"
        )
    finally:
        server.terminate()
        await server.wait()


async def measure(arguments: argparse.Namespace) -> None:
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.dir)))
        server, settings = stack.enter_context(store(home)) if arguments.s3 else (None, {})
        if server is not None:
            print(f"the store's own client: {await own_client_rate(server, arguments.images):.0f} images/s")
        create_key_file(home / "key")
        keys = home / "keys"
        scheduler = Signer.from_file(home / "scheduler.key", "scheduler", publish=keys)
        prefix = "HORDE_STORAGE_ROUTER_"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            f"{prefix}LISTEN": "127.0.0.1:0",
            f"{prefix}STATE_DIR": str(home / "state"),
            f"{prefix}PUBLIC_KEYS_DIR": str(keys),
            f"{prefix}KEY_FILE": str(home / "key"),
            **{f"{prefix}{key}": value for key, value in settings.items()},
        }
        profile = ("-m", "cProfile", "-o", arguments.profile) if arguments.profile else ()
        router = await asyncio.create_subprocess_exec(
            sys.executable,
            *profile,
            "-m",
            "horde.storage_router",
            env=environment,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert router.stderr is not None
            line = (await router.stderr.readline()).decode()
            found = re.search(r"ports=\S*?(\d+)\]", re.sub(r"\x1b\[[0-9;]*m", "", line))
            assert found, line
            await load(arguments, f"127.0.0.1:{found[1]}", home, scheduler, psutil.Process(router.pid))
        finally:
            router.terminate()
            await router.wait()


async def load(
    arguments: argparse.Namespace, target: str, home: Path, scheduler: Signer, process: psutil.Process
) -> None:
    images = [paint(seed) for seed in range(8)]
    clock = SystemClock()
    jobs = [Job.numbered(number, width=SIZE, height=SIZE) for number in range(arguments.images)]
    jobs = [job.shared() if arguments.shared else job for job in jobs]
    grants = [scheduler.sign(AUDIENCE, job.grant_claims(), LIFETIME, clock.now()) for job in jobs]
    orders = [job.commit(images[number % 8]) for number, job in enumerate(jobs)]
    async with dial(target, caller=Credentials.from_key_file("scheduler", home / "key")) as channel:
        door, scheduling = StorageServiceStub(channel), ObjectServiceStub(channel)
        waiting: asyncio.Queue[int | None] = asyncio.Queue()
        queue = iter(range(arguments.images))

        async def worker() -> None:
            for number in queue:
                await upload(door, grants[number], images[number % 8], parts=arguments.parts)
                waiting.put_nowait(number)

        async def committer() -> None:
            left = arguments.images
            while left:
                batch = [await waiting.get()]
                while not waiting.empty() and len(batch) < COMMITS_IN_A_CALL:
                    batch.append(waiting.get_nowait())
                request = objects.CommitObjectsRequest(
                    commits=[orders[number] for number in batch if number is not None]
                )
                answer = await scheduling.CommitObjects(request)
                assert all(outcome.HasField("committed") for outcome in answer.outcomes), answer
                left -= len(batch)

        calibration = calibrate()
        before, began = cpu_ms(process), time.perf_counter()
        await asyncio.gather(committer(), *(worker() for _ in range(arguments.clients)))
        took, after = time.perf_counter() - began, cpu_ms(process)
    own, decoders = ((late - early) / arguments.images for late, early in zip(after, before, strict=True))
    print(
        f"{'shared' if arguments.shared else 'private'}: {len(images[0]) / 1000:.0f} KB images, "
        f"{own:.2f} CPU-ms in the router + {decoders:.2f} in its decoders per image, "
        f"{arguments.images / took:.0f} images/s with {arguments.clients} clients, "
        f"calibration {calibration:.1f} ms, RSS {process.memory_info().rss / 1e6:.0f} MB"
    )
    if arguments.threads:
        for thread, seconds in sorted(by_thread(process).items(), key=lambda entry: -entry[1]):
            print(f"  {thread:16} {seconds * 1000 / arguments.images:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--parts", action="store_true", help="upload in parts, as larger images are")
    parser.add_argument("--s3", action="store_true", help="on an S3 server, not in folders")
    parser.add_argument("--threads", action="store_true", help="also say where in the process, since its start")
    parser.add_argument("--profile", default="")
    parser.add_argument(
        "--dir", default=None, help="where the buckets are made; default: the system's temporary folder"
    )
    parser.add_argument("--yardstick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.yardstick:
        asyncio.run(serve_yardstick())
        return
    asyncio.run(measure_yardstick(arguments))
    asyncio.run(measure(arguments))


if __name__ == "__main__":
    main()
