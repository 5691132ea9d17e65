"""Attacks on a whole mesh with default settings, and what they leave of honest work: `make abuse`.

    python bench/abuse/whole_mesh.py [--seconds 6] [--only NAME …] [--json]

Three honest workers of one owner paint for two honest accounts. The attacker is a process of its own. Printed for each
attack: honest images/s beside the same without an attack, and beside a control that only burns the processor time which
the attacker took; the services' processor time per honest image alone, under attack and beside the control; how many
honest jobs ended otherwise than DONE; what the attacker's accounts have won beside what the honest owner earned in the
same time; the services' memory in MB before, at most, and after; how he was answered.
Ends with status 1 where less is kept than 0.8 of alone and less than 0.9 of the control, or an honest job ended badly,
or the attacker won more than honest painting would have paid.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from storage_router import burn
from strangers import ATTACKS, Attacker

from horde.api.job.v1.job_pb2 import JobEnding
from horde.cli.local.mesh import LocalMesh, WorkerPlan, local_mesh
from horde.cli.local.roles import SERVICES, Role
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey, read_secret
from horde.clients.specs import generation_spec
from horde.services.errors import ServiceError

QUIET = {role: {"LOG_LEVEL": "error"} for role in Role}
WORKERS = 3
KEPT, KEPT_OF_CONTROL = 0.8, 0.9


@dataclass
class Honest:
    """What honest accounts got in a while."""

    seconds: float
    done: int = 0
    otherwise: int = 0
    refused: int = 0

    @property
    def rate(self) -> float:
        return self.done / self.seconds


async def ask_honestly(clients: list[HordeClient], seconds: float) -> Honest:
    """Ask for four images at a time, watch them to their end, ask again."""
    begun, found = time.monotonic(), Honest(seconds)

    async def one(client: HordeClient) -> None:
        while time.monotonic() - begun < seconds:
            try:
                made = await client.generations.create(
                    generation_spec("a fox in the snow", count=4, width=256, height=256, steps=4)
                )
                ended = await client.generations.finish(made.generation_id)
            except ServiceError as error:
                print("an honest account was refused:", error.reason, error, file=sys.stderr)
                found.refused += 1
                await asyncio.sleep(0.1)
                continue
            done = sum(image.ending == JobEnding.JOB_ENDING_DONE for image in ended.images)
            found.done += done
            found.otherwise += len(ended.images) - done

    await asyncio.gather(*(one(client) for client in clients for _ in range(2)))
    found.seconds = time.monotonic() - begun
    return found


class Meter:
    """A mesh under attack."""

    def __init__(self, mesh: LocalMesh, clients: list[HordeClient], owner: HordeClient) -> None:
        self._mesh = mesh
        self._clients = clients
        self._owner = owner

    async def measure(self, name: str, seconds: float) -> dict[str, Any]:
        """One attack, with the same time alone before it and beside a burner after it."""
        alone, alone_cpu = await self._honest(seconds / 2)
        memory = [self._memory()]
        earned = await self._balance(self._owner)
        attacker = await beside(["--attack", name, self._mesh.gateway])
        watching = asyncio.create_task(self._watch_memory(memory))
        assert attacker.stdout is not None
        await attacker.stdout.readline()  # It has begun.
        await asyncio.sleep(1.0)
        under, under_cpu = await self._honest(seconds)
        attacker.send_signal(signal.SIGINT)
        said = json.loads((await attacker.communicate())[0])
        earned = await self._balance(self._owner) - earned
        won = sum([await self._won(key) for key in said["keys"]])
        burner = await beside(["--burn", str(said["cpu"]), "600"])
        control, control_cpu = await self._honest(seconds / 2)
        burner.send_signal(signal.SIGTERM)
        await burner.wait()
        watching.cancel()
        return {
            "attack": name,
            "alone_per_s": round(alone.rate, 1),
            "under_per_s": round(under.rate, 1),
            "control_per_s": round(control.rate, 1),
            "kept": round(under.rate / alone.rate, 2),
            "kept_of_control": round(under.rate / control.rate, 2),
            "services_cpu_ms_per_image": [alone_cpu, under_cpu, control_cpu],
            "honest_done": under.done,
            "honest_not_done": under.otherwise,
            "honest_refused": under.refused,
            "attacker_won_kudos": round(won / 1000, 1),
            "honest_earned_kudos": round(earned / 1000, 1),
            "attacker_cpu": round(said["cpu"], 2),
            "rss_mb": [round(memory[0]), round(max(memory)), round(self._memory())],
            "answers": said["answers"],
        }

    async def _honest(self, seconds: float) -> tuple[Honest, float]:
        """Honest work, and what each of its images cost the services: steadier than rates on a busy machine."""
        before = self._cpu_seconds()
        found = await ask_honestly(self._clients, seconds)
        return found, round((self._cpu_seconds() - before) * 1000 / max(1, found.done), 1)

    def _cpu_seconds(self) -> float:
        times = [psutil.Process(self._mesh.processes[role.value].pid).cpu_times() for role in SERVICES]
        return sum(spent.user + spent.system for spent in times)

    async def _balance(self, client: HordeClient) -> int:
        shown = await client.accounts.show()
        return shown.spend.posted_mkudos + shown.escrow.posted_mkudos

    async def _won(self, key: str) -> int:
        async with self._mesh.client(credential=ApiKey(key)) as client:
            with contextlib.suppress(ServiceError):
                return await self._balance(client)
        return 0

    def _memory(self) -> float:
        names = [role.value for role in SERVICES]
        pids = [self._mesh.processes[name].pid for name in names]
        return sum(psutil.Process(pid).memory_info().rss for pid in pids) / 1e6

    async def _watch_memory(self, seen: list[float]) -> None:
        while True:
            seen.append(self._memory())
            await asyncio.sleep(0.3)


def verdict(found: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    wrong = []
    if found["kept"] < KEPT and found["kept_of_control"] < KEPT_OF_CONTROL:
        wrong.append(f"kept {found['kept']} of alone, {found['kept_of_control']} of the control")
    if found["honest_not_done"] or found["honest_refused"]:
        wrong.append(f"{found['honest_not_done']} jobs not done, {found['honest_refused']} refusals")
    if found["attacker_won_kudos"] > max(1.0, found["honest_earned_kudos"]):
        wrong.append(f"the attacker won {found['attacker_won_kudos']} kudos")
    return wrong


async def beside(command: list[str]) -> asyncio.subprocess.Process:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return await asyncio.create_subprocess_exec(
        sys.executable, __file__, *command, env=environment, stdout=asyncio.subprocess.PIPE
    )


async def attack_until_told(name: str, target: str) -> dict[str, Any]:
    """An attack until SIGINT: which part of a core it took, how it was answered, and its accounts' keys."""
    told, begun = asyncio.Event(), time.monotonic()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, told.set)
    attacker = Attacker(target)
    attacking = asyncio.ensure_future(ATTACKS[name](attacker))
    telling = asyncio.ensure_future(told.wait())
    print("begun", flush=True)
    await asyncio.wait([attacking, telling], return_when=asyncio.FIRST_COMPLETED)
    if attacking.done() and attacking.exception() is not None:
        attacker.answers[f"ended by {attacking.exception()!r}"[:200]] += 1
        await telling
    attacking.cancel()
    cpu = time.process_time() / (time.monotonic() - begun)
    return {"cpu": cpu, "answers": dict(attacker.answers.most_common(8)), "keys": attacker.keys}


@asynccontextmanager
async def meshed(folder: Path) -> AsyncIterator[Meter]:
    """A mesh with default settings, honest workers whose owner has a record, and two accounts that pay."""
    async with local_mesh(folder / "state", extra=QUIET) as mesh:
        for number in range(WORKERS):
            settings = {"PAINTERS": "2", "PREFETCH": "2", "SCRIPT": "[instant]", "THREADS": "1"}
            await mesh.start_worker(WorkerPlan(f"honest-{number}", "scripted", settings))
        clients = []
        async with mesh.client() as nobody, mesh.client(credential=ApiKey(_secret(mesh))) as operator:
            for number in range(2):
                opened = await nobody.accounts.create(f"honest {number}")
                await operator.kudos.award(opened.account.account_id, 10**10, reason="abuse")
                clients.append(await mesh.client(credential=ApiKey(opened.api_key)).__aenter__())
        async with mesh.client(credential=ApiKey(read_secret(mesh.layout.worker_key) or "")) as owner:
            await ask_honestly(clients, 4.0)  # The owner is proven by what others paid for.
            yield Meter(mesh, clients, owner)
        for client in clients:
            await client.__aexit__(None, None, None)


def _secret(mesh: LocalMesh) -> str:
    return read_secret(mesh.layout.operator_key) or ""


async def run(names: list[str], seconds: float, *, as_json: bool) -> int:
    """All of them; the exit status."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        async with meshed(Path(folder)) as meter:
            for name in names:
                found = await meter.measure(name, seconds)
                wrong = verdict(found)
                failed += bool(wrong)
                text = json.dumps(found) if as_json else "  ".join(f"{key}={value}" for key, value in found.items())
                print(text, f"  NOT AS IT MUST BE: {'; '.join(wrong)}" if wrong else "  ok", flush=True)
    print(f"{len(names) - failed} of {len(names)} attacks leave honest work as it must be")
    return 1 if failed else 0


def main() -> int:
    match sys.argv[1:]:
        case ["--attack", name, target]:
            print(json.dumps(asyncio.run(attack_until_told(name, target))))
        case ["--burn", share, seconds]:
            burn(float(share), float(seconds))
        case _:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--seconds", type=float, default=6.0)
            parser.add_argument("--only", nargs="*", choices=list(ATTACKS), default=list(ATTACKS))
            parser.add_argument("--json", action="store_true")
            arguments = parser.parse_args()
            return asyncio.run(run(arguments.only, arguments.seconds, as_json=arguments.json))
    return 0


if __name__ == "__main__":
    sys.exit(main())
