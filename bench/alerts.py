"""Every alert fires in a rehearsed fault: a real mesh, a real Prometheus, and the rules that operators load.

`make alerts`. Each fault is done to the mesh as it would happen: a process is killed, a disk is held, a clock is wrong,
a database is put back alone. Prometheus runs the rules `PACE` times faster than operators' (a minute is two seconds),
for some wait a quarter of an hour; nothing else about them differs. Before each fault nothing may fire, and after the
mend its alert must fall silent again. Exit status 1 if one does not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import shutil
import socket
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from alert_faults import FAULTS, Fault, House  # noqa: E402 - beside this file
from tests.mesh.probing import EXTRA, rich_account, small  # noqa: E402 - the tests are no package

from horde.cli.local.mesh import free_ports, local_mesh  # noqa: E402
from horde.cli.local.roles import SERVICES  # noqa: E402
from horde.clients.client import HordeClient  # noqa: E402
from horde.clients.errors import ServiceError  # noqa: E402
from horde.clients.retrying import IMPATIENT  # noqa: E402

ALERTS: Final = ROOT / "deploy" / "helm" / "horde-mesh" / "alerts.yaml"
PACE: Final = 30
"""How much faster the rules' clock runs."""
SCRAPE_SECONDS: Final = 0.5
FIRE_SECONDS: Final = 180.0
"""Real ones, until an alert must have fired."""
OVER_SECONDS: Final = 240.0
"""And until it must be over after the mend: what is stuck is asked again ever more seldom."""
REQUESTERS: Final = 4
PATIENCE_SECONDS: Final = 1.5
MINUTES: Final = re.compile(r"\b(\d+)m\b")


def quickened(rules: Any) -> Any:
    """The rules with each time divided by PACE: `for`, and the ranges of their expressions."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = _divided(rule["for"])
            rule["expr"] = re.sub(r"\[(\d+m)\]", lambda found: f"[{_divided(found[1])}]", rule["expr"])
    return rules


def _divided(text: str) -> str:
    return MINUTES.sub(lambda found: f"{int(found[1]) * 60_000 // PACE}ms", text)


@dataclass
class Prometheus:
    """One that scrapes a mesh and evaluates the rules. Use `prometheus`."""

    address: str
    seen: set[str] = field(default_factory=set)

    async def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        document = await asyncio.to_thread(self._ask, "/api/v1/alerts")
        names = {alert["labels"]["alertname"] for alert in document["data"]["alerts"] if alert["state"] == "firing"}
        self.seen |= names
        return names

    async def until_calm(self) -> None:
        """Wait until nothing fires. Raises TimeoutError."""
        async with asyncio.timeout(OVER_SECONDS):
            while await self.firing():
                await asyncio.sleep(SCRAPE_SECONDS / 2)

    async def until(self, alert: str, *, fires: bool) -> float:
        """Wait until an alert fires, or until it does not; gives the seconds. Raises TimeoutError."""
        began = time.monotonic()
        async with asyncio.timeout(FIRE_SECONDS if fires else OVER_SECONDS):
            while (alert in await self.firing()) != fires:
                await asyncio.sleep(SCRAPE_SECONDS / 2)
        return time.monotonic() - began

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.address}{path}") as answer:
            return json.load(answer)


@contextlib.asynccontextmanager
async def prometheus(folder: Path, targets: dict[str, str]) -> AsyncIterator[Prometheus]:
    """Run Debian's Prometheus over these targets, by the name that the chart's ServiceMonitor gives them."""
    folder.mkdir()
    (folder / "rules.yaml").write_text(yaml.safe_dump(quickened(yaml.safe_load(ALERTS.read_text()))))
    every = f"{int(SCRAPE_SECONDS * 1000)}ms"
    label = "app_kubernetes_io_component"
    configuration = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {
                "job_name": "horde",
                "static_configs": [
                    {"targets": [target], "labels": {label: component}} for component, target in targets.items()
                ],
            }
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
    program = shutil.which("prometheus")
    if program is None:
        raise SystemExit("needs prometheus: apt-get install prometheus")
    with (folder / "log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--log.level=warn",
            stdout=log,
            stderr=log,
        )
        try:
            watching = Prometheus(address)
            async with asyncio.timeout(FIRE_SECONDS):
                while True:
                    if child.returncode is not None:
                        raise SystemExit(f"Prometheus ended: {(folder / 'log').read_text()}")
                    with contextlib.suppress(OSError):
                        await watching.firing()
                        break
                    await asyncio.sleep(0.1)
            yield watching
        finally:
            if child.returncode is None:
                child.terminate()
            await child.wait()


async def ask_all_the_time(horde: HordeClient, asking: asyncio.Event) -> None:
    """A requester, who is not put off by anything."""
    while await asking.wait():
        with contextlib.suppress(ServiceError):
            accepted = await horde.generations.create(small("a picture"), request_id=str(uuid.uuid4()))
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await horde.generations.finish(accepted.generation_id)
            except TimeoutError:
                await horde.generations.cancel(accepted.generation_id)
        await asyncio.sleep(0.2)


@dataclass
class Rehearsed:
    """What came of one fault."""

    fault: Fault
    fired: float | None = None
    """Seconds from the fault to the alert, on the rules' quick clock; None: it never fired."""
    over: float | None = None
    """And from the mend until it was silent."""
    others: set[str] = field(default_factory=set)
    why: str = ""


async def rehearse(fault: Fault, house: House, watching: Prometheus) -> Rehearsed:
    """Do it, wait for its alert, mend it, and wait until all is quiet."""
    came = Rehearsed(fault)
    try:
        await house.calm()
        await watching.until_calm()
        watching.seen.clear()
        async with fault.begun(house):
            # Mended in any case: the next one wants a mesh.
            with contextlib.suppress(TimeoutError):
                came.fired = await watching.until(fault.alert, fires=True)
        with contextlib.suppress(TimeoutError):
            came.over = await watching.until(fault.alert, fires=False)
    except Exception as error:
        came.why = f"{type(error).__name__}: {error}".strip()
    came.others = watching.seen - {fault.alert}
    return came


async def run(folder: Path, words: list[str]) -> bool:
    """All faults, or those whose alert has one of the words; whether each fired, and was over."""
    ports = free_ports(SERVICES)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        auditor = f"127.0.0.1:{held.getsockname()[1]}"
    extra = {role: {**EXTRA[role], "METRICS_LISTEN": f"127.0.0.1:{port}"} for role, port in ports.items()}
    targets = {role.value: f"127.0.0.1:{port}" for role, port in ports.items()}
    all_came = []
    async with (
        local_mesh(folder / "state", extra=extra) as mesh,
        rich_account(mesh) as account,
        mesh.client(credential=account.credential, patience=IMPATIENT) as impatient,
        House.open(mesh, account, auditor) as house,
        prometheus(folder / "prometheus", {**targets, "auditor": auditor}) as watching,
    ):
        asking = [asyncio.create_task(ask_all_the_time(impatient, house.asking)) for _ in range(REQUESTERS)]
        try:
            for fault in FAULTS.values():
                if not words or any(word.lower() in fault.alert.lower() for word in words):
                    came = await rehearse(fault, house, watching)
                    all_came.append(came)
                    print(line(came), flush=True)
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
    return all(came.fired is not None and came.over is not None for came in all_came)


def line(came: Rehearsed) -> str:
    """A row of the table: alert, fault, seconds to fire, seconds to be over, what else fired."""
    fired, over = (("never" if seconds is None else f"{seconds:.1f}") for seconds in (came.fired, came.over))
    others = ", ".join(sorted(came.others)) or "–"
    row = f"| {came.fault.alert} | {came.fault.what} | {fired} | {over} | {others} |"
    return f"{row} {came.why}" if came.why else row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only alerts whose name has one of them")
    words = parser.parse_args().words
    print(f"a minute of the rules is {60 / PACE:.0f} s here")
    print("| alert | fault | fires after s | over after s | fired too |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        return 0 if asyncio.run(run(Path(name), words)) else 1


if __name__ == "__main__":
    sys.exit(main())
