"""`horde up`: a whole mesh on this machine, with a worker, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from horde.cli.commands.asking import json_option
from horde.cli.commands.exits import Exit
from horde.cli.commands.interrupts import on_signals
from horde.cli.commands.output import Output, plural

COLOURS = {
    "ledger": "yellow",
    "storage-router": "magenta",
    "scheduler": "cyan",
    "gateway": "green",
    "web-door": "bright_green",
    "curation": "white",
    "webhooks": "bright_white",
}
WIDTH = max(map(len, COLOURS))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--workers", default=1, show_default=True, type=click.IntRange(0, 64), help="How many workers.")
@click.option(
    "--painter",
    default="diffusers",
    show_default=True,
    type=click.Choice(["diffusers", "scripted"]),
    help="Who paints; `scripted` paints test patterns and needs no model.",
)
@click.option(
    "--state",
    default=Path(".state"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where accounts, kudos, jobs and images are kept.",
)
@click.option("--ephemeral", is_flag=True, help="Keep nothing: a temporary folder and free ports.")
@click.option("--quiet", is_flag=True, help="Only warnings of the services.")
@json_option
def up(workers: int, painter: str, state: Path, ephemeral: bool, quiet: bool, as_json: bool) -> None:
    """Start a whole mesh on this machine, each service a process of its own, and a worker; Ctrl-C stops it.

    With --json the document comes when the mesh is up.
    """
    with ExitStack() as stack:
        where = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="horde-"))) if ephemeral else state
        out = Output(as_json=as_json)
        status = asyncio.run(_up(workers, painter, where, out, free=ephemeral, quiet=quiet))
    click.get_current_context().exit(status)


async def _up(workers: int, painter: str, state: Path, out: Output, *, free: bool, quiet: bool) -> int:
    from horde.cli.local.mesh import WorkerPlan, local_mesh
    from horde.cli.local.ports import taken
    from horde.cli.local.processes import ProcessEnded
    from horde.cli.local.roles import DEFAULT_PORTS, SERVICES, WEB_DOORS, Role

    settings = {role: {"LOG_LEVEL": "warning" if quiet else "info"} for role in Role}
    try:
        if not free and (busy := taken(DEFAULT_PORTS.values())):
            many = ", ".join(map(str, busy))
            raise click.ClickException(
                f"Port {many} is taken, perhaps by another `horde up`. `--ephemeral` takes free ports."
            )
        with on_signals(_stopper(), signal.SIGINT, signal.SIGTERM):
            ports, all_of_it = None if free else DEFAULT_PORTS, (*SERVICES, *WEB_DOORS)
            async with local_mesh(state, ports=ports, sink=_print_line, extra=settings, services=all_of_it) as mesh:
                for number in range(1, workers + 1):
                    await mesh.start_worker(WorkerPlan(f"worker-{number}", painter, {"DRAIN_SECONDS": "5"}))
                _say_ready(mesh.gateway, mesh.web, state, workers if painter == "diffusers" else 0)
                out.document(
                    {
                        "gateway": mesh.gateway,
                        "web": mesh.web,
                        "state": str(mesh.layout.state),
                        "processes": {name: process.pid for name, process in mesh.processes.items()},
                    }
                )
                ended = await mesh.any_end()
                click.secho(f"{ended.name} ended by itself; stopping the others", fg="red", err=True)
                return Exit.FAILED
    except asyncio.CancelledError:
        # Told to stop, and stopped.
        return Exit.OK
    except (ProcessEnded, TimeoutError) as error:
        click.secho(f"the mesh did not start: {error}", fg="red", err=True)
        return Exit.UNAVAILABLE


def _stopper() -> Callable[[], None]:
    """The first call cancels this task; the second ends the process, and with it its children."""
    task = asyncio.current_task()
    assert task is not None
    stopping = False

    def received() -> None:
        nonlocal stopping
        if stopping:
            os._exit(Exit.CANCELLED)
        stopping = True
        click.secho("stopping (Ctrl-C again to stop at once)", err=True)
        task.cancel()

    return received


def _print_line(name: str, line: str) -> None:
    click.secho(f"{name:<{WIDTH}} │ ", fg=COLOURS.get(name, "blue"), nl=False, err=True)
    click.echo(line, err=True)


def _say_ready(gateway: str, web: str, state: Path, loading: int) -> None:
    option = "" if gateway == "127.0.0.1:7700" else f" --gateway {gateway}"
    click.echo(f"\nThe mesh is up: gateway {gateway}, web door {web}, state in {state}\n", err=True)
    click.echo(f'  horde generate "a sailboat on the sea at sunset"{option}\n', err=True)
    if loading:
        what = f"{plural(loading, 'worker')} still {'loads its model' if loading == 1 else 'load their models'}"
        click.echo(f"  {what}, a minute or so: what is asked for waits until the log says `attached`.\n", err=True)
