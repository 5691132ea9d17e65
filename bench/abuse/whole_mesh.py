"""Attacks on a whole mesh with default settings, and what they leave of honest work: `make abuse`.

    python bench/abuse/whole_mesh.py [--seconds 3] [--rounds 3] [--only NAME …] [--json]

What is asked is what the *mesh* loses, not what the machine loses: the attacker is a process of the same machine, and
whatever it does takes processors away. So there are two meshes alike, each with three honest workers of one owner and
two honest accounts that pay. One is attacked. The other never is: its control is an equally busy process that attacks
nothing, for the attacker is stopped (SIGSTOP) meanwhile. They are measured in turns, a few seconds each, so that
whatever else the machine does weighs on both; rates are of all turns together, and what ends after its turn is counted,
but for the rate. Printed for each attack: honest images/s of both, and of the second alone; how long the slowest of
what was asked for took; how many honest jobs ended otherwise than DONE; what the attacker's accounts have won beside
what the honest owner earned in the same time; what the attacked services spent on it, in cores, beyond what honest
images cost them in the other mesh, and in a while without honest work; their memory in MB before, at most, and after;
how the attacker was answered.
Ends with status 1 where less than 0.8 of the control is kept, an honest job ended badly or was refused, or the attacker
won more than honest painting would have paid.
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
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from attacker import Attacker
from attacks import ATTACKS

from horde.api.job.v1.job_pb2 import JobEnding
from horde.cli.local.mesh import LocalMesh, WorkerPlan, local_mesh
from horde.cli.local.roles import SERVICES, Role
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey, read_secret
from horde.clients.specs import generation_spec
from horde.services.errors import ServiceError

QUIET = {role: {"LOG_LEVEL": "error"} for role in Role}
WORKERS = 3
KEPT = 0.8
"""Of what the control does."""
BURNER = Path(__file__).with_name("burner.py")


@dataclass
class Honest:
    """What honest accounts got in a while."""

    seconds: float
    done: int = 0
    otherwise: int = 0
    refused: int = 0
    cpu_seconds: float = 0.0
    """Of the services meanwhile."""

    @property
    def rate(self) -> float:
        return self.done / self.seconds

    def __add__(self, more: Honest) -> Honest:
        return Honest(*(ours + theirs for ours, theirs in zip(astuple(self), astuple(more), strict=True)))


class Asking:
    """Honest accounts that ask for four images at a time, watch them to their end, and ask again."""

    def __init__(self, clients: list[HordeClient]) -> None:
        self._clients = clients
        self._asked: set[asyncio.Future[None]] = set()
        self.all = Honest(0.0)
        """All that they were answered so far, also what ended after its turn."""
        self.slowest = 0.0
        """Seconds that the slowest of what they asked for took."""

    async def turn(self, seconds: float) -> Honest:
        """Ask for so long: what had ended by then. What has not goes on, and is waited for by `rest`."""
        found, begun = Honest(0.0), time.monotonic()
        asking = [self._ask(client, found, begun + seconds) for client in self._clients for _ in range(2)]
        tasks = {asyncio.ensure_future(asked) for asked in asking}
        self._asked |= tasks
        await asyncio.wait(tasks, timeout=seconds)
        return replace(found, seconds=time.monotonic() - begun)

    async def rest(self) -> None:
        """Until all that was asked for has ended."""
        await asyncio.gather(*self._asked)
        self._asked.clear()

    async def _ask(self, client: HordeClient, turn: Honest, until: float) -> None:
        spec = generation_spec("a fox in the snow", count=4, width=256, height=256, steps=4)
        while (begun := time.monotonic()) < until:
            try:
                made = await client.generations.create(spec)
                ended = await client.generations.finish(made.generation_id)
            except ServiceError as error:
                print("an honest account was refused:", error.reason, error, file=sys.stderr)
                self.all.refused += 1
                await asyncio.sleep(0.1)
                continue
            self.slowest = max(self.slowest, time.monotonic() - begun)
            done = sum(image.ending == JobEnding.JOB_ENDING_DONE for image in ended.images)
            turn.done += done
            self.all.done += done
            self.all.otherwise += len(ended.images) - done


class Mesh:
    """A mesh at honest work."""

    def __init__(self, mesh: LocalMesh, clients: list[HordeClient], owner: HordeClient) -> None:
        self._mesh = mesh
        self._owner = owner
        self.asking = Asking(clients)
        self.gateway = mesh.gateway

    async def work(self, seconds: float) -> Honest:
        """Honest accounts ask and workers paint."""
        before = self.cpu_seconds()
        found = await self.asking.turn(seconds)
        found.cpu_seconds = self.cpu_seconds() - before
        return found

    async def rest(self, seconds: float) -> float:
        """Nobody honest asks; what the services use meanwhile, in cores."""
        before = self.cpu_seconds()
        await asyncio.sleep(seconds)
        return (self.cpu_seconds() - before) / seconds

    def cpu_seconds(self) -> float:
        """Processor time of the services so far."""
        times = [process.cpu_times() for process in self._services()]
        return sum(spent.user + spent.system for spent in times)

    def memory(self) -> float:
        """Of the services together, in MB."""
        return sum(process.memory_info().rss for process in self._services()) / 1e6

    def _services(self) -> list[psutil.Process]:
        return [psutil.Process(self._mesh.processes[role.value].pid) for role in SERVICES]

    async def earned(self) -> int:
        """What the owner of the honest workers has, in milli-kudos."""
        return await _worth(self._owner)

    async def won(self, key: str) -> int:
        """What an account has, in milli-kudos; 0 where it has gone."""
        async with self._mesh.client(credential=ApiKey(key)) as client:
            with contextlib.suppress(ServiceError):
                return await _worth(client)
        return 0


async def _worth(client: HordeClient) -> int:
    shown = await client.accounts.show()
    return shown.spend.posted_mkudos + shown.escrow.posted_mkudos


class Attack:
    """A process that attacks a mesh, and can be stopped for a while."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._seen = psutil.Process(process.pid)

    @classmethod
    async def begun(cls, name: str, target: str) -> Attack:
        """Start it, and wait until it has begun."""
        process = await beside([sys.executable, __file__, "--attack", name, target])
        assert process.stdout is not None
        await process.stdout.readline()
        return cls(process)

    def pause(self) -> None:
        """Stop it until it goes on."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run."""
        self._process.send_signal(signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """Its processor time so far."""
        spent = self._seen.cpu_times()
        return spent.user + spent.system

    async def end(self) -> dict[str, Any]:
        """End it: how it was answered, and its accounts' keys."""
        self._process.send_signal(signal.SIGINT)
        answer: dict[str, Any] = json.loads((await self._process.communicate())[0])
        return answer


async def measure(attacked: Mesh, control: Mesh, name: str, seconds: float, rounds: int) -> dict[str, Any]:
    """One attack on the first of these; the second is the control."""
    honest, attacked.asking.slowest = replace(attacked.asking.all), 0.0
    alone = await control.work(seconds)
    resting = await attacked.rest(1.0)
    memory = [attacked.memory()]
    earned = await attacked.earned()
    attack = await Attack.begun(name, attacked.gateway)
    watching = asyncio.create_task(_watch_memory(attacked, memory))
    # What it begins with counts as well: its sessions and watches are opened while honest work goes on.
    under, beside_it, busy, attacked_for = Honest(0.0), Honest(0.0), 0.0, 0.0
    for _ in range(rounds):
        used, began = attack.cpu_seconds(), time.monotonic()
        under += await attacked.work(seconds)
        busy, attacked_for = busy + attack.cpu_seconds() - used, attacked_for + time.monotonic() - began
        attack.pause()
        burner = await beside([sys.executable, str(BURNER), str(min(1.0, busy / attacked_for))])
        beside_it += await control.work(seconds)
        burner.kill()
        await burner.wait()
        attack.go_on()
    # Then nobody honest asks, but for what is late.
    idle = await attacked.rest(2.0) - resting
    # While it goes on: what it holds must not be given back only because it ends.
    await attacked.asking.rest()
    honest, before = replace(attacked.asking.all), honest
    summary = await attack.end()
    earned = await attacked.earned() - earned
    won = sum([await attacked.won(key) for key in summary["keys"]])
    watching.cancel()
    spent = under.cpu_seconds - under.done * beside_it.cpu_seconds / max(1, beside_it.done)
    return {
        "attack": name,
        "alone_per_s": round(alone.rate, 1),
        "under_per_s": round(under.rate, 1),
        "control_per_s": round(beside_it.rate, 1),
        "kept_of_control": round(under.rate / beside_it.rate, 2),
        "attacker_cores": round(busy / attacked_for, 2),
        "mesh_cores_spent": round(spent / under.seconds, 2),
        "mesh_cores_spent_idle": round(idle, 2),
        "slowest_s": round(attacked.asking.slowest, 1),
        "honest_done": honest.done - before.done,
        "honest_not_done": honest.otherwise - before.otherwise,
        "honest_refused": honest.refused - before.refused,
        "attacker_won_kudos": round(won / 1000, 1),
        "honest_earned_kudos": round(earned / 1000, 1),
        "rss_mb": [round(memory[0]), round(max(memory)), round(attacked.memory())],
        "answers": summary["answers"],
    }


async def _watch_memory(mesh: Mesh, seen: list[float]) -> None:
    while True:
        seen.append(mesh.memory())
        await asyncio.sleep(0.3)


def verdict(found: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    wrong = []
    if found["kept_of_control"] < KEPT:
        wrong.append(f"kept {found['kept_of_control']} of the control")
    if found["honest_not_done"] or found["honest_refused"]:
        wrong.append(f"{found['honest_not_done']} jobs not done, {found['honest_refused']} refusals")
    if found["attacker_won_kudos"] > max(1.0, found["honest_earned_kudos"]):
        wrong.append(f"the attacker won {found['attacker_won_kudos']} kudos")
    return wrong


async def beside(command: list[str]) -> asyncio.subprocess.Process:
    """A process beside this one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)


async def attack_until_told(name: str, target: str) -> dict[str, Any]:
    """An attack until SIGINT: how it was answered, and its accounts' keys."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    attacker = Attacker(target)
    attacking = asyncio.ensure_future(ATTACKS[name](attacker))
    telling = asyncio.ensure_future(stop.wait())
    print("begun", flush=True)
    await asyncio.wait([attacking, telling], return_when=asyncio.FIRST_COMPLETED)
    if attacking.done() and attacking.exception() is not None:
        attacker.answers[f"ended by {attacking.exception()!r}"[:200]] += 1
        await telling
    attacking.cancel()
    return {"answers": dict(attacker.answers.most_common(8)), "keys": attacker.keys}


@asynccontextmanager
async def meshed(folder: Path) -> AsyncIterator[Mesh]:
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
            ready = Mesh(mesh, clients, owner)
            await ready.work(4.0)  # The owner is proven by what others paid for.
            await ready.asking.rest()
            yield ready
        for client in clients:
            await client.__aexit__(None, None, None)


def _secret(mesh: LocalMesh) -> str:
    return read_secret(mesh.layout.operator_key) or ""


async def run(names: list[str], seconds: float, rounds: int, *, as_json: bool) -> int:
    """All of them; the exit status."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        async with meshed(Path(folder) / "attacked") as attacked, meshed(Path(folder) / "control") as control:
            for name in names:
                found = await measure(attacked, control, name, seconds, rounds)
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
        case _:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
            parser.add_argument("--rounds", type=int, default=3, help="turns of each mesh")
            parser.add_argument("--only", nargs="*", choices=list(ATTACKS), default=list(ATTACKS))
            parser.add_argument("--json", action="store_true")
            arguments = parser.parse_args()
            return asyncio.run(run(arguments.only, arguments.seconds, arguments.rounds, as_json=arguments.json))
    return 0


if __name__ == "__main__":
    sys.exit(main())
