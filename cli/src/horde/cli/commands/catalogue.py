"""`horde workers` and `horde models`: who paints, and with what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.groups import DefaultGroup
from horde.cli.commands.output import Output, cut, kudos, seconds, short
from horde.cli.commands.values import TEXT

if TYPE_CHECKING:
    from horde.clients.client import HordeClient

NAME_COLUMNS: Final = 16


@click.group(cls=DefaultGroup, default="list", context_settings={"help_option_names": ["-h", "--help"]})
def workers() -> None:
    """Who paints, and how fast. Without a further word: list."""


@workers.command("list")
@click.option("--mine", is_flag=True, help="Only those of your account.")
@asks
async def list_workers(horde: HordeClient, out: Output, mine: bool) -> None:
    """Workers that were here in the last day."""
    from horde.api.worker.v1.worker_pb2 import WorkerState

    found = [worker async for worker in horde.workers.list(mine=mine)]
    out.document({"workers": found})
    rows = []
    for worker in found:
        speeds = {speed.model: f" {speed.megapixel_step.ToMilliseconds()} ms" for speed in worker.speeds}
        rows.append(
            (
                short(worker.worker_id),
                cut(worker.name, NAME_COLUMNS),
                WorkerState.Name(worker.state).removeprefix("WORKER_STATE_").lower(),
                f"{worker.leases}/{worker.slots}",
                f"{worker.images_done}/{worker.jobs_failed}",
                ", ".join(f"{offer.name}{speeds.get(offer.name, '')}" for offer in worker.capabilities.models),
            )
        )
    out.table(
        ("worker", "name", "state", "busy", "done/failed", "models, and a megapixel's step with each"), rows, folds=True
    )


def _pausing(name: str, paused: bool, said: str) -> None:
    @workers.command(name, help=f"Make WORKER, a name, an id or its first digits, {said}.")
    @click.argument("worker", type=TEXT)
    @asks
    async def set_paused(horde: HordeClient, out: Output, worker: str) -> None:
        from rich.markup import escape

        from horde.cli.commands.naming import worker_named

        changed = await horde.workers.set_paused(await worker_named(horde, worker), paused)
        out.document({"worker": changed})
        out.say(f"{escape(changed.name)} is {name}d")


_pausing("pause", True, "finish what it holds and get nothing new")
_pausing("resume", False, "get jobs again")


@workers.command()
@click.argument("worker", type=TEXT)
@asks
async def delete(horde: HordeClient, out: Output, worker: str) -> None:
    """Forget WORKER, a name, an id or its first digits, that is yours and away."""
    from horde.cli.commands.naming import worker_named

    name = await worker_named(horde, worker)
    await horde.workers.delete(name)
    out.document({"worker_id": name})
    out.say(f"{name} is forgotten")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@asks
async def models(horde: HordeClient, out: Output) -> None:
    """What can be painted with now, what each model can, and how busy it is."""
    from horde.cli.commands.choosing import abilities

    found = [model async for model in horde.models.list()]
    out.document({"models": found})
    can = await abilities(horde, found)
    rows = []
    for model in found:
        wait = "-"
        if model.HasField("wait"):
            half, nine = (model.wait.p50.ToTimedelta().total_seconds(), model.wait.p90.ToTimedelta().total_seconds())
            wait = f"{seconds(half)} to {seconds(nine)}"
        queue = f"{model.jobs_queued}/{model.jobs_leased}"
        earns = kudos(model.mkudos_an_hour) if model.mkudos_an_hour else "-"
        rows.append((model.name, str(model.workers), queue, wait, earns, can.get(model.name, "nobody is here")))
    out.table(("model", "workers", "waiting/painting", "wait", "kudos/h", "paints"), rows, folds=True)
