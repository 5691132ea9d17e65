"""Attacks on a whole mesh with default settings, and what they leave of honest work: `make abuse`.

    python bench/abuse/whole_mesh.py [--seconds 4] [--rounds 4] [--only NAME …] [--json]

What is asked is what the *mesh* loses, not what the machine loses: the attacker is a process of the same machine, and
whatever it does takes processors away. So there are two meshes alike, each with three honest workers of one owner and
two honest accounts that pay. One is attacked. The other never is: its control is an equally busy process that attacks
nothing, for the attacker is stopped (SIGSTOP) meanwhile. They take turns, first one first and then the other (so that a
load that grows weighs on both), and what is kept is the median of the turns' ratios. What is below is measured again,
up to twice, and all turns count. `nothing` is an attack that does nothing: what is printed for it is the noise.

Printed for each attack: honest images/s of both, and of the second alone; what is kept of the control; the services'
CPU-ms for an honest image in both (what depends least on what else the machine does); how long the slowest of what was
asked for took; how many honest jobs ended otherwise than DONE; what the attacker's accounts have won beside what the
honest owner earned in the same time; what the attack costs each service while nobody honest asks, in cores; memory of
the services in MB before, at most, and after; how the attacker was answered.
Ends with status 1 where less than 0.9 of the control is kept, an honest job ended badly or was refused, the attacker
won more than honest painting would have paid, or a service answered INTERNAL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
from attacker import Attacker
from attacks import ATTACKS
from honest import Honest, Mesh, meshed

from horde.services.child_processes import wait_drained

KEPT = 0.9
"""Of what the control does."""
LOOKS = 3
"""How often what is below is measured, at most."""
BURNER = Path(__file__).with_name("burner.py")


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
        answered: dict[str, Any] = json.loads((await self._process.communicate())[0])
        return answered


@dataclass
class Turns:
    """What both meshes did in turns."""

    attacked: list[Honest] = field(default_factory=list)
    control: list[Honest] = field(default_factory=list)
    busy_seconds: float = 0.0
    """Processor time of the attacker."""

    @property
    def kept(self) -> float:
        """Of what the control does: the median of the turns."""
        pairs = zip(self.attacked, self.control, strict=True)
        return statistics.median(under.rate / max(beside.rate, 0.1) for under, beside in pairs)

    @property
    def cores(self) -> float:
        """That the attacker used while it was let."""
        return self.busy_seconds / sum(turn.seconds for turn in self.attacked)

    async def under_attack(self, mesh: Mesh, attack: Attack, seconds: float) -> None:
        """A turn of the attacked mesh."""
        used = attack.cpu_seconds()
        self.attacked.append(await mesh.work(seconds))
        self.busy_seconds += attack.cpu_seconds() - used

    async def in_peace(self, mesh: Mesh, attack: Attack, seconds: float) -> None:
        """A turn of the control."""
        attack.pause()
        burner = await beside([sys.executable, str(BURNER), str(min(1.0, self.cores))])
        self.control.append(await mesh.work(seconds))
        burner.kill()
        await wait_drained(burner)
        attack.go_on()


async def measure(attacked: Mesh, control: Mesh, name: str, seconds: float, rounds: int) -> dict[str, Any]:
    """One attack on the first of these; the second is the control."""
    before, attacked.asking.slowest = replace(attacked.asking.all), 0.0
    broken = attacked.broken.total()
    alone = await control.work(seconds)
    resting = await attacked.rest(1.0)
    memory = [attacked.memory()]
    earned = await attacked.earned()
    attack = await Attack.begun(name, attacked.gateway)
    watching = asyncio.create_task(_watch_memory(attacked, memory))
    # What it begins with counts as well: its sessions and watches are opened while honest work goes on.
    turns = Turns()
    while len(turns.attacked) < LOOKS * rounds and (
        len(turns.attacked) % rounds or not turns.attacked or turns.kept < KEPT
    ):
        if len(turns.attacked) % 2 == 0:
            await turns.under_attack(attacked, attack, seconds)
            await turns.in_peace(control, attack, seconds)
        else:
            await turns.in_peace(control, attack, seconds)
            await turns.under_attack(attacked, attack, seconds)
    # Then nobody honest asks, but for what is late.
    idle = await attacked.rest(3.0)
    # While it goes on: what it holds must not be given back only because it ends.
    await attacked.asking.rest()
    answered = await attack.end()
    earned = await attacked.earned() - earned
    won = sum([await attacked.won(key) for key in answered["keys"]])
    watching.cancel()
    under, beside_it = sum(turns.attacked, Honest(0.0)), sum(turns.control, Honest(0.0))
    after = attacked.asking.all
    return {
        "attack": name,
        "kept_of_control": round(turns.kept, 2),
        "rounds": len(turns.attacked),
        "alone_per_s": round(alone.rate, 1),
        "under_per_s": round(under.rate, 1),
        "control_per_s": round(beside_it.rate, 1),
        "cpu_ms_an_image": [round(under.cpu_ms, 1), round(beside_it.cpu_ms, 1)],
        "attacker_cores": round(turns.cores, 2),
        "idle_cores": {
            role: round(used - resting[role], 2) for role, used in idle.items() if used - resting[role] > 0.01
        },
        "slowest_s": round(attacked.asking.slowest, 1),
        "honest_done": after.done - before.done,
        "honest_not_done": after.otherwise - before.otherwise,
        "honest_refused": after.refused - before.refused,
        "broken": attacked.broken.total() - broken,
        "attacker_won_kudos": round(won / 1000, 1),
        "honest_earned_kudos": round(earned / 1000, 1),
        "rss_mb": [round(memory[0]), round(max(memory)), round(attacked.memory())],
        "answers": answered["answers"],
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
    if found["broken"] or any(answer.startswith("INTERNAL") for answer in found["answers"]):
        wrong.append("a service answered INTERNAL")
    return wrong


async def beside(command: list[str]) -> asyncio.subprocess.Process:
    """A process beside this one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)


async def attack_until_told(name: str, target: str) -> dict[str, Any]:
    """An attack until SIGINT: how it was answered, and its accounts' keys."""
    told = asyncio.Event()
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
    return {"answers": dict(attacker.answers.most_common(8)), "keys": attacker.keys}


async def run(names: list[str], seconds: float, rounds: int, *, as_json: bool) -> int:
    """All of them; the exit status."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        async with meshed(Path(folder) / "attacked") as attacked, meshed(Path(folder) / "control") as control:
            for name in names:
                began = time.monotonic()
                found = await measure(attacked, control, name, seconds, rounds)
                found["seconds"] = round(time.monotonic() - began)
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
            parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
            parser.add_argument("--rounds", type=int, default=4, help="turns of each mesh")
            parser.add_argument("--only", nargs="*", choices=list(ATTACKS), default=list(ATTACKS))
            parser.add_argument("--json", action="store_true")
            arguments = parser.parse_args()
            return asyncio.run(run(arguments.only, arguments.seconds, arguments.rounds, as_json=arguments.json))
    return 0


if __name__ == "__main__":
    sys.exit(main())
