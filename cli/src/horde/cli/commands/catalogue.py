"""`horde workers` and `horde models`: who paints, and with what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.output import Output, seconds, short

if TYPE_CHECKING:
    from horde.clients.client import HordeClient


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def workers(context: click.Context) -> None:
    """Who paints, and how fast. Without a further word: list."""
    if context.invoked_subcommand is None:
        context.invoke(list_workers.main, args=[], standalone_mode=False)


@workers.command("list")
@click.option("--mine", is_flag=True, help="Only those of your account.")
@asks
async def list_workers(horde: HordeClient, out: Output, mine: bool) -> None:
    """Workers that were here in the last day."""
    from rich.table import Table

    from horde.api.worker.v1.worker_pb2 import WorkerState

    found = [worker async for worker in horde.workers.list(mine=mine)]
    out.document({"workers": found})
    table = Table("worker", "name", "state", "models", "leases", "done", "failed", "speed", "agent")
    for worker in found:
        speed = ", ".join(f"{each.model} {each.megapixel_step.ToMilliseconds()} ms/MPx·step" for each in worker.speeds)
        table.add_row(
            short(worker.worker_id),
            worker.name,
            WorkerState.Name(worker.state).removeprefix("WORKER_STATE_").lower(),
            ", ".join(offer.name for offer in worker.capabilities.models),
            f"{worker.leases}/{worker.slots}",
            str(worker.images_done),
            str(worker.jobs_failed),
            speed,
            worker.agent,
        )
    out.show(table)


def _pausing(name: str, paused: bool, said: str) -> None:
    @workers.command(name, help=f"Make a worker of yours {said}.")
    @click.argument("worker_id")
    @asks
    async def set_paused(horde: HordeClient, out: Output, worker_id: str) -> None:
        worker = await horde.workers.set_paused(worker_id, paused)
        out.document({"worker": worker})
        out.say(f"{worker.name} is {name}d")


_pausing("pause", True, "finish what it holds and get nothing new")
_pausing("resume", False, "get jobs again")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@asks
async def models(horde: HordeClient, out: Output) -> None:
    """What can be painted with now, and how busy it is."""
    from rich.table import Table

    found = [model async for model in horde.models.list()]
    out.document({"models": found})
    table = Table("model", "workers", "loaded", "queued", "painting", "a 512x512 would begin in", "median speed")
    for model in found:
        wait = "-"
        if model.HasField("wait"):
            half, nine = (model.wait.p50.ToTimedelta().total_seconds(), model.wait.p90.ToTimedelta().total_seconds())
            wait = f"{seconds(half)} to {seconds(nine)}"
        table.add_row(
            model.name,
            str(model.workers),
            str(model.workers_loaded),
            str(model.jobs_queued),
            str(model.jobs_leased),
            wait,
            f"{model.megapixel_step.ToMilliseconds()} ms/MPx·step",
        )
    out.show(table)
