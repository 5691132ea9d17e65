"""What a running worker does, and the owner's word to it: `python -m horde.worker_agent.screen status`.

`status`, `watch`, `pause [MINUTES]`, `resume`, `stop`, then the worker's own options. `--json` for programs. Ends with
1 if no worker answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from horde.services.settings import load_or_exit
from horde.worker_agent.control import NotRunning, NotUnderstood, ask
from horde.worker_agent.core.status import JobStatus, ModelStatus, Status, lines
from horde.worker_agent.language import owners
from horde.worker_agent.settings import WorkerSettings, find_config

COMMANDS = ("status", "watch", "pause", "resume", "stop")
LOOK_SECONDS = 1.0


def read(answer: dict[str, Any]) -> Status:
    """A status as it was sent."""
    jobs = tuple(JobStatus(**job) for job in answer.pop("jobs"))
    models = tuple(ModelStatus(**model) for model in answer.pop("models"))
    why, problems = tuple(answer.pop("why")), tuple(answer.pop("problems"))
    return Status(**answer, jobs=jobs, models=models, why=why, problems=problems)


def text(answer: dict[str, Any]) -> str:
    """The screen, in the owner's language."""
    return "\n".join(lines(read(answer), owners()))


async def watch(folder: Path) -> None:
    """Show it again and again, until it ends. Raises NotRunning, NotUnderstood."""
    from rich.live import Live
    from rich.text import Text

    with Live(Text(text(await ask(folder, "status")))) as live:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            live.update(Text(text(await ask(folder, "status"))))


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is said; 1 if no worker answers."""
    rest = list(sys.argv[1:] if arguments is None else arguments)
    what = rest.pop(0) if rest and rest[0] in COMMANDS else "status"
    named: dict[str, object] = {}
    if what == "pause" and rest and not rest[0].startswith("-"):
        minutes = rest.pop(0)
        try:
            named["minutes"] = float(minutes)
        except ValueError:
            sys.stderr.write(f"error: {minutes!r} is no number of minutes\n")
            return 2
    as_json = "--json" in rest
    rest = [argument for argument in rest if argument != "--json"]
    find_config(rest)
    settings = load_or_exit(WorkerSettings, rest)
    try:
        if what == "watch" and not as_json and sys.stdout.isatty():
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(watch(settings.home))
            return 0
        answer = asyncio.run(ask(settings.home, "status" if what == "watch" else what, **named))
    except (NotRunning, NotUnderstood) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write((json.dumps(answer, indent=2) if as_json else text(answer)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
