"""`horde top`: the mesh, live."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.output import Output
from horde.cli.commands.values import WORD, Real

if TYPE_CHECKING:
    from horde.clients.client import HordeClient

EVERY_SECONDS: Final = 2.0
PIPE_ROWS: Final = 200
AROUND: Final = 12
"""Lines of a screen that are not of workers, beside those of models and services."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--metrics", multiple=True, type=WORD, metavar="HOST:PORT",
              help="For operators: where a service shows its metrics; may be given more than once. "
              "Default: what HORDE_…_METRICS_LISTEN say here.")  # fmt: skip
@click.option("--every", type=Real(0.5, 3600), default=EVERY_SECONDS, show_default=True, metavar="SECONDS",
              help="How often to look.")  # fmt: skip
@click.option(
    "--once", is_flag=True, help="Look once, and end. So it is where nobody looks: in a pipe, and with --json."
)
@asks
async def top(horde: HordeClient, out: Output, metrics: tuple[str, ...], every: float, once: bool) -> None:
    """The mesh, live: what waits and is painted, who paints, and how the services fare. Ends with Ctrl-C."""
    from horde.cli.overview.drawing import drawn
    from horde.cli.overview.seen import Looking
    from horde.cli.overview.services import addresses

    console = out.console()
    looking = Looking(horde, metrics or addresses(os.environ.items()), time.monotonic)
    if once or out.as_json or not console.is_terminal:
        seen = await looking.look()
        if seen.services and not once:
            await asyncio.sleep(every)
            seen = await looking.look()
        out.document(seen.document())
        if not out.as_json:
            console.print(drawn(seen, rows=PIPE_ROWS), soft_wrap=False)
        return
    from rich.live import Live

    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            seen = await looking.look()
            lines = AROUND + len(seen.services) + (len(seen.overview.models) if seen.overview else 0)
            live.update(drawn(seen, rows=max(5, console.height - lines)), refresh=True)
            await asyncio.sleep(every)
