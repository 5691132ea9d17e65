"""`horde capacity`: what a mesh of some size needs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.resources import files
from typing import Final

import click

from horde.cli.capacity.reckoning import Capacity, TooMuch, Wanted
from horde.cli.commands.exits import Exit
from horde.cli.commands.output import Output
from horde.cli.commands.values import Real

DEFAULTS: Final = Wanted(1.0)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--images-per-second", type=Real(0.001, 1e6), required=True, help="At the busiest time of a day.")
@click.option("--workers", type=click.IntRange(0, 10**7), default=DEFAULTS.workers, show_default=True,
              help="Attached at once.")  # fmt: skip
@click.option("--shared-percent", type=Real(0, 100), default=DEFAULTS.shared_percent, show_default=True,
              help="Of a hundred images, those that are shared.")  # fmt: skip
@click.option("--image-kb", type=Real(1, 1e6), default=DEFAULTS.image_kb, show_default=True, help="Of an image.")
@click.option("--private-days", type=Real(0, 10_000), default=DEFAULTS.private_days, show_default=True,
              help="How long private images are kept.")  # fmt: skip
@click.option("--history-days", type=Real(0, 10_000), default=DEFAULTS.history_days, show_default=True,
              help="How long generations are remembered: HORDE_SCHEDULER_HISTORY_DAYS.")  # fmt: skip
@click.option("--busy-percent", type=Real(0.01, 100), default=DEFAULTS.busy_percent, show_default=True,
              help="The average of a day, of its busiest time.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
def capacity(as_json: bool, **wanted: float) -> None:
    """What each service, PostgreSQL, Redis and S3 need for a mesh of some size.

    Reckoned from what `make bench-capacity` has measured, with no core fuller than 60 percent. Ends with status 1 where
    one leader cannot bear it.
    """
    measured = json.loads((files("horde.cli.capacity") / "measured.json").read_text())
    reckoning, output = Capacity(measured), Output(as_json=as_json)
    asked = Wanted(**wanted)  # type: ignore[arg-type]
    try:
        needs = list(reckoning.needs(asked))
    except TooMuch as error:
        output.error(error)
        sys.exit(Exit.FAILED)
    most, who = reckoning.most(asked)
    facts = {name: measured[name] for name in ("measured", "command", "machine")}
    output.document({"needs": [asdict(need) for need in needs], "most_images_per_second": most, **facts})
    rows = [
        (
            need.who,
            str(need.processes or ""),
            f"{need.cores:.2f}",
            f"{need.memory_mb:.0f} MB" if need.memory_mb else "",
            need.also,
        )
        for need in needs
    ]
    output.table(("", "PROCESSES", "CORES EACH", "MEMORY EACH", ""), rows, folds=True)
    output.note(f"One {who} leads, and bears {most:.0f} images a second at most.")
    output.note(f"Measured on {measured['measured']} by `{measured['command']}` ({measured['machine']}).")
