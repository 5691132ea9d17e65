"""Attacks on the storage router, each a function that runs against an address, and what they leave of honest work.

    python bench/abuse/storage_router.py [--seconds 8] [--only NAME] [--json]

Starts a router of its own with default settings. Honest workers (one process) bring shared pictures, which are decoded,
and the scheduler commits them; the attacker is a process of its own. Printed for each attack: honest images/s beside
the same without an attack, and beside a control that only burns the processor time which the attacker and the router's
children took; how the attacker was answered; and the router's memory in MB before, at most, and after.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from PIL import Image

from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.internal.storage.v1.object_service_pb2_grpc import ObjectServiceStub
from horde.services.channel import dial
from horde.services.errors import ServiceError
from horde.services.identity import Credentials, create_key_file
from horde.services.tokens import Signer
from horde.testkit.storage_router import Job, cut, finish, paint

AUDIENCE = "storage-router"
HOUR = timedelta(hours=1)
CHUNK = 256 * 1024
Answers = Counter[str]


class Tokens:
    """What the gateway and the scheduler would give: signed here, with their keys."""

    def __init__(self, home: Path) -> None:
        self._gateway = Signer.from_file(home / "gateway.key", "gateway", publish=home / "keys")
        self._scheduler = Signer.from_file(home / "scheduler.key", "scheduler", publish=home / "keys")

    def ticket(self, requester: str, input_id: str) -> str:
        claims = {"act": "put_input", "input_id": input_id, "requester": requester, "max_bytes": 16 << 20}
        return self._gateway.sign(AUDIENCE, claims, HOUR, datetime.now(UTC))

    def grant(self, job: Job, owner: str) -> str:
        return self._scheduler.sign(AUDIENCE, {**job.grant_claims(), "owner": owner}, HOUR, datetime.now(UTC))


Attack = Callable[[StorageServiceStub, Tokens, float, Answers], Awaitable[None]]


async def silent_inputs(door: StorageServiceStub, tokens: Tokens, seconds: float, answers: Answers) -> None:
    """33 streams under one anonymous ticket, each sending 15.75 MiB as fast as it can, then silent."""
    ticket = tokens.ticket(f"anonymous:{1:064x}", "one")
    await _silent([ticket] * 33, door, seconds, answers)


async def silent_inputs_of_many(door: StorageServiceStub, tokens: Tokens, seconds: float, answers: Answers) -> None:
    """The same under 33 tickets of 33 anonymous identities."""
    await _silent([tokens.ticket(f"anonymous:{n:064x}", "one") for n in range(33)], door, seconds, answers)


async def _silent(tickets: list[str], door: StorageServiceStub, seconds: float, answers: Answers) -> None:
    async def one(ticket: str) -> None:
        async def sent() -> AsyncIterator[storage.PutInputRequest]:
            yield storage.PutInputRequest(open=storage.PutInputOpen(ticket=ticket))
            for offset in range(0, 63 * CHUNK, CHUNK):
                yield storage.PutInputRequest(chunk=storage.Chunk(offset=offset, data=bytes(CHUNK)))
            await asyncio.sleep(seconds)

        while True:
            try:
                await door.PutInput(sent())
            except ServiceError as error:
                answers[error.reason or type(error).__name__] += 1
                await asyncio.sleep(0.05)

    await _for(seconds, [one(ticket) for ticket in tickets])


async def bad_checksums(door: StorageServiceStub, tokens: Tokens, seconds: float, answers: Answers) -> None:
    """One grant, and a PNG of 2048x2048 whose last checksum is wrong, by eight streams, again and again."""
    job = Job.numbered(1 << 40, width=2048, height=2048, max_bytes=64 << 20).shared()
    await _bring_again(tokens.grant(job, "mallory"), _wrong_adler(2048), 8, door, seconds, answers)


async def bad_checksums_of_many_leases(
    door: StorageServiceStub, tokens: Tokens, seconds: float, answers: Answers
) -> None:
    """The same with a new grant of the same owner for each try."""
    image = _wrong_adler(2048)
    numbers = iter(range(1 << 40, 1 << 41))

    async def one() -> None:
        while True:
            job = Job.numbered(next(numbers), width=2048, height=2048, max_bytes=64 << 20).shared()
            await _bring(door, tokens.grant(job, "mallory"), image, answers)

    await _for(seconds, [one() for _ in range(8)])


async def late_pictures(door: StorageServiceStub, tokens: Tokens, seconds: float, answers: Answers) -> None:
    """Another picture of 12 MB, again and again, under a grant that stored a small one."""
    job = Job.numbered(1 << 42, width=2048, height=2048, max_bytes=64 << 20)
    grant = tokens.grant(job, "mallory")
    await _bring(door, grant, paint("PNG", 2048, 2048), answers)
    await _bring_again(grant, _noise(2048), 4, door, seconds, answers)


async def forged_tokens(door: StorageServiceStub, tokens: Tokens, seconds: float, answers: Answers) -> None:
    """Tiny calls with tokens that look right and are not, 64 at once."""
    grant = tokens.grant(Job.numbered(1 << 43), "mallory")
    head, claims, _ = grant.split(".")

    async def one(number: int) -> None:
        draw = random.Random(number)
        while True:
            forged = f"{head}.{claims}.{''.join(draw.choices('abcdefghijklmnopqrstuvwxyz', k=86))}"
            try:
                await door.PutImage(storage.PutImageRequest(grant=forged, data=b"x", sha256=bytes(32)))
            except ServiceError as error:
                answers[error.reason or type(error).__name__] += 1

    await _for(seconds, [one(number) for number in range(64)])


ATTACKS: dict[str, Attack] = {
    measured.__name__: measured
    for measured in (
        silent_inputs,
        silent_inputs_of_many,
        bad_checksums,
        bad_checksums_of_many_leases,
        late_pictures,
        forged_tokens,
    )
}


async def _bring_again(
    grant: str, image: bytes, streams: int, door: StorageServiceStub, seconds: float, answers: Answers
) -> None:
    async def one() -> None:
        while True:
            await _bring(door, grant, image, answers)

    await _for(seconds, [one() for _ in range(streams)])


async def _bring(door: StorageServiceStub, grant: str, image: bytes, answers: Answers) -> None:
    call = door.UploadImage()
    try:
        await call.write(storage.UploadImageRequest(open=storage.UploadImageOpen(grant=grant)))
        await call.read()
        for chunk in cut(image, size=CHUNK):
            await call.write(storage.UploadImageRequest(chunk=chunk))
        await call.write(storage.UploadImageRequest(finish=finish(image)))
        await call.read()
        answers["receipt"] += 1
    except ServiceError as error:
        answers[error.reason or type(error).__name__] += 1
    finally:
        call.cancel()


async def _for(seconds: float, work: list[Awaitable[None]]) -> None:
    tasks = [asyncio.ensure_future(task) for task in work]
    try:
        await asyncio.wait(tasks, timeout=seconds)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _noise(size: int) -> bytes:
    out = io.BytesIO()
    Image.frombytes("RGB", (size, size), random.Random(7).randbytes(3 * size * size)).save(out, "PNG", compress_level=0)
    return out.getvalue()


def _wrong_adler(size: int) -> bytes:
    """A PNG that is right in all but the last four bytes of its body."""
    out = io.BytesIO()
    Image.effect_noise((size, size), 20).convert("RGB").save(out, "PNG", compress_level=1)
    image = bytearray(out.getvalue())
    at = image.rindex(b"IDAT")
    length = int.from_bytes(image[at - 4 : at], "big")
    image[at + 3 + length] ^= 1
    image[at + 4 + length : at + 8 + length] = zlib.crc32(image[at : at + 4 + length]).to_bytes(4, "big")
    return bytes(image)


# ---- what it is measured with ----


@asynccontextmanager
async def router(home: Path) -> AsyncIterator[tuple[str, psutil.Process]]:
    """A router with default settings, in its own process."""
    prefix = "HORDE_STORAGE_ROUTER_"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        f"{prefix}LISTEN": "127.0.0.1:0",
        f"{prefix}STATE_DIR": str(home / "state"),
        f"{prefix}PUBLIC_KEYS_DIR": str(home / "keys"),
        f"{prefix}KEY_FILE": str(home / "key"),
    }
    log = (home / "log").open("wb")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "horde.storage_router", env=environment, stderr=log
    )
    try:
        while not (found := re.search(r"ports=\D*(\d+)", _plain((home / "log").read_text()))):
            assert process.returncode is None, (home / "log").read_text()
            await asyncio.sleep(0.05)
        yield f"127.0.0.1:{found[1]}", psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


async def work_honestly(target: str, home: Path, seconds: float, first: int) -> int:
    """Bring shared pictures and have them committed, 16 at once; how many were."""
    tokens, done = Tokens(home), 0
    images = [paint("WEBP", 512, 512, seed, quality=90) for seed in range(8)]
    numbers = iter(range(first, first + 1_000_000))
    ends = time.monotonic() + seconds
    async with (
        dial(target, caller=None) as outside,
        dial(target, caller=Credentials.from_key_file("scheduler", home / "key")) as inside,
    ):
        door, orders = StorageServiceStub(outside), ObjectServiceStub(inside)

        async def one(owner: str) -> None:
            nonlocal done
            while time.monotonic() < ends:
                number = next(numbers)
                job, image = Job.numbered(number, width=512, height=512).shared(), images[number % 8]
                request = storage.PutImageRequest(
                    grant=tokens.grant(job, owner), data=image, sha256=hashlib.sha256(image).digest()
                )
                try:
                    await door.PutImage(request)
                    answer = await orders.CommitObjects(objects.CommitObjectsRequest(commits=[job.commit(image)]))
                    done += answer.outcomes[0].HasField("committed")
                except ServiceError as error:
                    print("honest work was refused:", error.reason, error, file=sys.stderr)
                    await asyncio.sleep(0.1)

        await asyncio.gather(*(one(f"owner-{number % 4}") for number in range(16)))
    return done


async def attack_until_told(name: str, target: str, home: Path) -> tuple[float, Answers]:
    """An attack until SIGINT: which part of a core it took, and how it was answered."""
    answers: Answers = Counter()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    began = time.monotonic()
    async with dial(target, caller=None) as channel:
        attacking = asyncio.ensure_future(ATTACKS[name](StorageServiceStub(channel), Tokens(home), 600.0, answers))
        await stop.wait()
        attacking.cancel()
        await asyncio.gather(attacking, return_exceptions=True)
    return time.process_time() / (time.monotonic() - began), answers


async def beside(command: list[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        *command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
    )


async def measure(name: str, seconds: float, settle: float) -> dict[str, object]:
    """Honest images/s alone, under the attack, and beside one that burns as much processor time."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        create_key_file(home / "key")
        Tokens(home)
        async with router(home) as (target, process):
            first = 0

            async def honest(work: float) -> float:
                nonlocal first
                first += 1_000_000
                done = await beside(["--honest", target, str(home), str(work), str(first)])
                return int((await done.communicate())[0]) / work

            await honest(2.0)
            alone = await honest(seconds)
            memory = [process.memory_info().rss / 1e6]
            attacker = await beside(["--attack", name, target, str(home)])
            watching = asyncio.create_task(_watch_memory(process, memory))
            await asyncio.sleep(2)
            under = await honest(seconds)
            attacker.send_signal(signal.SIGINT)
            share, answers = json.loads((await attacker.communicate())[0])
            burner = await beside(["--burn", str(share), "600"])
            burned = await honest(seconds)
            burner.send_signal(signal.SIGTERM)
            await burner.wait()
            # The longest silence is 26 s; memory is given back at the next sweep, once a minute.
            await asyncio.sleep(settle)
            watching.cancel()
            return {
                "attack": name,
                "honest_alone_per_s": round(alone, 1),
                "honest_under_attack_per_s": round(under, 1),
                "honest_beside_burner_per_s": round(burned, 1),
                "kept": round(under / alone, 2),
                "kept_of_control": round(under / burned, 2),
                "attacker_cpu": round(share, 2),
                "answers": answers,
                "rss_mb": [round(memory[0]), round(max(memory)), round(process.memory_info().rss / 1e6)],
            }


async def _watch_memory(process: psutil.Process, seen: list[float]) -> None:
    while True:
        seen.append(process.memory_info().rss / 1e6)
        await asyncio.sleep(0.2)


def burn(share: float, seconds: float) -> None:
    """Use a share of one core for a while."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.process_time()
        while time.process_time() - began < 0.02 * share:
            pass
        time.sleep(max(0.0, 0.02 * (1 - share)))


def main() -> None:
    match sys.argv[1:]:
        case ["--honest", target, home, seconds, first]:
            print(asyncio.run(work_honestly(target, Path(home), float(seconds), int(first))))
        case ["--attack", name, target, home]:
            print(json.dumps(asyncio.run(attack_until_told(name, target, Path(home)))))
        case ["--burn", share, seconds]:
            burn(float(share), float(seconds))
        case _:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--seconds", type=float, default=8.0)
            parser.add_argument(
                "--settle", type=float, default=65.0, help="seconds until the memory is looked at again"
            )
            parser.add_argument("--only", choices=list(ATTACKS))
            parser.add_argument("--json", action="store_true")
            arguments = parser.parse_args()
            for name in [arguments.only] if arguments.only else list(ATTACKS):
                found = asyncio.run(measure(name, arguments.seconds, arguments.settle))
                print(
                    json.dumps(found) if arguments.json else "  ".join(f"{key}={value}" for key, value in found.items())
                )


if __name__ == "__main__":
    main()
