"""`horde doctor`: what an operator should know before strangers come."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from horde.cli.commands.exits import Exit
from horde.cli.commands.output import Output
from horde.cli.local.roles import Role
from horde.services.exiting import end_process
from horde.services.telemetry import configure_logs

if TYPE_CHECKING:
    from horde.cli.doctor.verdicts import Verdict
    from horde.services.settings import ServiceSettings

SERVICES: Final = tuple(role for role in Role if role is not Role.WORKER)
MARKS: Final = {"ok": "ok  ", "warn": "look", "fail": "FAIL"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("services", nargs=-1, type=click.Choice([role.value for role in SERVICES]))
@click.option("--env-file", "env_files", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Lines of NAME=VALUE beside the environment; may be given more than once.")  # fmt: skip
@click.option("--offline", is_flag=True, help="Read settings and files alone; ask no database, bucket or service.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
def doctor(services: tuple[str, ...], env_files: tuple[Path, ...], offline: bool, as_json: bool) -> None:
    """Look at the settings of SERVICES (default: all) together, and at what they name.

    Settings are read from the environment, as the services would. Nothing is changed, but for an empty object that is
    written to each bucket and deleted again. Ends with status 1 if anything fails.
    """
    # What is asked says by itself what it finds; here it is said once, as a verdict.
    configure_logs(level="error", form="console", service="doctor")
    for path in env_files:
        take_file(path)
    roles = [Role(name) for name in services] or list(SERVICES)
    verdicts = asyncio.run(_looked(roles, offline))
    output = Output(as_json=as_json)
    lines = [{"grade": verdict.grade.value, "subject": verdict.subject, "words": verdict.words} for verdict in verdicts]
    output.document({"verdicts": lines})
    if not as_json:
        for line in lines:
            click.echo(f"{MARKS[line['grade']]}  {line['subject']}: {line['words']}")
    failed = [line for line in lines if line["grade"] == "fail"]
    output.note(f"{len(lines)} looked at, {len(failed)} to be put right" if failed else "Nothing stands in the way.")
    end_process(Exit.FAILED if failed else Exit.OK)


async def _looked(roles: list[Role], offline: bool) -> list[Verdict]:
    from horde.cli.doctor.asking import asked
    from horde.cli.doctor.verdicts import fail, read

    def now() -> datetime:
        return datetime.now(UTC)

    settings: dict[Role, ServiceSettings] = {}
    verdicts: list[Verdict] = []
    for role in roles:
        verdicts += [fail(role.value, problem) for problem in load_settings(role, settings)]
    verdicts += read(settings, now())
    if not offline:
        verdicts += [verdict async for verdict in asked(settings, now)]
    return verdicts


def load_settings(role: Role, settings: dict[Role, ServiceSettings]) -> Iterator[str]:
    """Read one service's settings; what is wrong with them, a line each."""
    from horde.services.settings import BadSettings, load
    from horde.services.settings_of import settings_of

    try:
        settings[role] = load(settings_of(role.module))
    except BadSettings as error:
        yield from str(error).splitlines()
    except ImportError as error:
        yield f"its package is not installed here, so its settings cannot be read: {error}"


def take_file(path: Path) -> None:
    """Put the lines of a file into the environment."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.removeprefix("export ").partition("=")
        if not equals:
            raise click.ClickException(f"{path}:{number}: no NAME=VALUE")
        os.environ[name.strip()] = value.strip().strip("'\"")
