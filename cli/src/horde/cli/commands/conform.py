"""`horde conform`: hold a gateway, or an SDK, against the contract."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from horde.cli.commands.asking import ends, json_option
from horde.cli.commands.exits import Exit
from horde.cli.commands.output import Output, plural
from horde.cli.commands.values import TEXT
from horde.clients.specs import DEFAULT_MODEL

if TYPE_CHECKING:
    from horde.cli.conform.suite import Verdict


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("host", required=False, type=TEXT)
@click.option("--driver", "drivers", multiple=True, metavar="[NAME=]COMMAND",
              help="The driver of an SDK; more than once: a table. Default: that of the Python SDK.")  # fmt: skip
@click.option(
    "--model", type=TEXT, default=DEFAULT_MODEL, show_default=True, help="What is painted with, if somebody can."
)
@click.option("--only", type=TEXT, default="", metavar="WORDS", help="Only cases with these words in their name.")
@click.option(
    "--door",
    type=click.Choice(["grpc", "http", "v2"]),
    default="grpc",
    show_default=True,
    help="What is asked: a gateway; or a web door (HOST is then its URL) by the contract's paths or AI Horde's.",
)
@click.option("--markdown", is_flag=True, help="A table of drivers by cases, in Markdown.")
@json_option
def conform(
    host: str | None, drivers: tuple[str, ...], model: str, only: str, door: str, markdown: bool, as_json: bool
) -> None:
    """Hold the gateway at HOST against the contract; without HOST, an SDK against a gateway that misbehaves.

    Every case is put through the SDK whose --driver is named: a program that speaks JSON lines (see clients/README.md).
    At HOST it asks as anonymous, and opens a few accounts where anybody may. Ends with status 1 if a case fails.
    """

    async def run(out: Output) -> Exit:
        from horde.cli.conform.drivers import HTTP_DRIVER, PYTHON_DRIVER, V2_DRIVER, DriverFailed
        from horde.cli.conform.running import hold
        from horde.cli.conform.table import as_markdown

        if door != "grpc" and (drivers or not host):
            raise click.UsageError(f"--door {door} asks by itself, at a HOST: no SDK is put through it")
        usual = {"grpc": ("python", PYTHON_DRIVER), "http": ("http", HTTP_DRIVER), "v2": ("v2", V2_DRIVER)}[door]
        commands: list[tuple[str, Sequence[str]]] = [_named(driver) for driver in drivers]
        verdicts: dict[str, list[Verdict]] = {}
        for name, command in commands or [usual]:
            verdicts[name] = []
            try:
                async for verdict in hold(command, host, model, only, words="v2" if door == "v2" else ""):
                    verdicts[name].append(verdict)
                    if not markdown and not verdict.passed:
                        out.say(f"{'skip' if verdict.skipped else 'FAIL'}  {name}: {verdict.case}: {verdict.why}")
            except DriverFailed as error:
                raise click.ClickException(f"{name}: {error}") from None
        if markdown:
            click.echo(as_markdown(verdicts))
        out.document({"verdicts": {name: [_told(verdict) for verdict in found] for name, found in verdicts.items()}})
        failed = 0
        for name, found in verdicts.items():
            skipped, passed = sum(verdict.skipped for verdict in found), sum(verdict.passed for verdict in found)
            wrong = len(found) - skipped - passed
            out.note(f"{name}: {plural(len(found), 'case')}, {passed} hold, {wrong} fail, {skipped} skipped")
            failed += wrong
        return Exit.FAILED if failed else Exit.OK

    ends(run, Output(as_json=as_json))


def _named(driver: str) -> tuple[str, Sequence[str]]:
    name, equals, command = driver.partition("=")
    if not equals or " " in name or "/" in name:
        name, command = driver.split()[0], driver
    return name, shlex.split(command)


def _told(verdict: Verdict) -> dict[str, object]:
    return {"case": verdict.case, "passed": verdict.passed, "skipped": verdict.skipped, "why": verdict.why}
