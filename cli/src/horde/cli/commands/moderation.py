"""`horde report` and `horde moderation`: saying that an image is wrong, and for moderators deciding whether it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.groups import DefaultGroup
from horde.cli.commands.output import Output, short
from horde.cli.commands.values import TEXT, WORD

if TYPE_CHECKING:
    from horde.api.moderation.v1 import moderation_service_pb2 as pb
    from horde.clients.client import HordeClient

REASONS: Final = (
    "child-safety",
    "real-person",
    "private-data",
    "sexual",
    "violent",
    "hateful",
    "copyright",
    "broken",
    "other",
)
PROMPT_CHARACTERS: Final = 200


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("image", type=WORD)
@click.option("--reason", type=click.Choice(REASONS), required=True, help="What is wrong with it.")
@click.option("--detail", type=TEXT, default="", help="More about it, for the moderators.")
@click.option("--own", is_flag=True, help="IMAGE is one that you asked for, by its job's id.")
@asks
async def report(horde: HordeClient, out: Output, image: str, reason: str, detail: str, own: bool) -> None:
    """Report the shared image IMAGE, by the id that a rating or a data release shows.

    It is in no new data release until a moderator has looked at it.
    """
    report_id = await horde.moderation.report(image, _reason(reason), detail, own=own)
    out.document({"report_id": report_id})
    out.say(f"reported {image}: {reason}")


@click.group(cls=DefaultGroup, default="list", context_settings={"help_option_names": ["-h", "--help"]})
def moderation() -> None:
    """For moderators: the queue of images to look at, and what is decided. Without a further word: list."""


@moderation.command("list")
@click.option(
    "--verdict", "verdicts", multiple=True, type=click.Choice(["safe", "unsafe", "unsure"]), help="Default: who waits."
)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many to show.")
@asks
async def list_cases(horde: HordeClient, out: Output, verdicts: tuple[str, ...], limit: int) -> None:
    """Urgent ones first, then most reports first, then oldest first."""
    from horde.api.moderation.v1.moderation_service_pb2 import Verdict

    asked = [Verdict.Value(f"VERDICT_{name.upper()}") for name in verdicts]
    found: list[pb.Case] = []
    async for case in horde.moderation.cases(asked, page_size=min(limit, 100)):
        found.append(case)
        if len(found) >= limit:
            break
    out.document({"cases": found})
    rows = []
    for case in found:
        marks = " ".join(mark for mark, holds in (("urgent", case.urgent), ("withheld", case.withheld)) if holds)
        reasons = ", ".join(sorted({_word(report.reason) for report in case.reports}))
        prompt = " ".join(case.prompt[:PROMPT_CHARACTERS].split())
        opened = f"{case.opened_at.ToDatetime():%Y-%m-%d %H:%M}"
        rows.append((case.case_id, opened, str(case.report_count), _verdict(case.verdict), marks, reasons, prompt))
    out.table(("case", "opened", "reports", "verdict", "", "reported for", "prompt"), rows)


@moderation.command()
@click.argument("case", type=WORD)
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), help="Write the image to this file.")
@asks
async def show(horde: HordeClient, out: Output, case: str, save: Path | None) -> None:
    """What was said and decided of CASE; with --save also the image."""
    found = await horde.moderation.case(case)
    if save is not None:
        content = await horde.images.fetch_shown(found.address, found.ticket)
        await asyncio.to_thread(save.write_bytes, content)
    # The ticket opens the image to whoever has it.
    found.ClearField("ticket")
    out.document({"case": found, "saved": str(save or "")})
    _say_case(out, found)


@moderation.command()
@click.argument("case", type=WORD)
@click.argument("verdict", type=click.Choice(["safe", "unsafe"]))
@click.option("--why", type=TEXT, required=True, help="Why. It is kept with your account and the time.")
@click.option("--reason", type=click.Choice(REASONS), help="What is wrong with it; child-safety stops downloads, too.")
@asks
async def decide(horde: HordeClient, out: Output, case: str, verdict: str, why: str, reason: str | None) -> None:
    """Decide that CASE is safe or unsafe. What is unsafe is in no data release, and taken out of those that had it."""
    from horde.api.moderation.v1.moderation_service_pb2 import REPORT_REASON_UNSPECIFIED, Verdict

    named = _reason(reason) if reason else REPORT_REASON_UNSPECIFIED
    decided = await horde.moderation.decide(case, Verdict.Value(f"VERDICT_{verdict.upper()}"), why, named)
    out.document({"case": decided})
    _say_case(out, decided)


def _say_case(out: Output, case: pb.Case) -> None:
    from rich.markup import escape

    state = f"{_verdict(case.verdict)}{', withheld' if case.withheld else ''}{', urgent' if case.urgent else ''}"
    out.say(f"{case.case_id}  [bold]{state}[/bold]  {escape(case.model)}")
    out.say(f"  prompt    {escape(case.prompt)}")
    for voice in case.voices:
        score = f" ({voice.score:.2f})" if voice.HasField("score") else ""
        out.say(f"  checker   {escape(voice.checker)}: {_verdict(voice.verdict)}{score}")
    for report in case.reports:
        out.say(f"  reported  {report.at.ToDatetime():%Y-%m-%d %H:%M}  {_word(report.reason)}  {escape(report.detail)}")
    for decision in case.decisions:
        by = short(decision.moderator_account_id)
        at = f"{decision.at.ToDatetime():%Y-%m-%d %H:%M}"
        reason = f" ({_word(decision.reason)})" if decision.reason else ""
        out.say(f"  decided   {at}  {_verdict(decision.verdict)}{reason} by {by}: {escape(decision.why)}")


def _reason(word: str) -> pb.ReportReason.ValueType:
    from horde.api.moderation.v1.moderation_service_pb2 import ReportReason

    return ReportReason.Value(f"REPORT_REASON_{word.upper().replace('-', '_')}")


def _word(reason: int) -> str:
    """A reason as it is typed; one that is newer than this program by its number."""
    from horde.api.moderation.v1.moderation_service_pb2 import ReportReason

    if reason not in ReportReason.values():
        return str(reason)
    name = ReportReason.Name(reason)  # type: ignore[arg-type]
    return name.removeprefix("REPORT_REASON_").lower().replace("_", "-")


def _verdict(verdict: int) -> str:
    from horde.api.moderation.v1.moderation_service_pb2 import Verdict

    if not verdict:
        return "nobody looked"
    return Verdict.Name(verdict).removeprefix("VERDICT_").lower() if verdict in Verdict.values() else str(verdict)  # type: ignore[arg-type]


@moderation.group(cls=DefaultGroup, default="list")
def filters() -> None:
    """The rules that prompts are held against. Without a further word: list."""


@filters.command("list")
@asks
async def list_filters(horde: HordeClient, out: Output) -> None:
    """All rules, oldest first."""
    found = [rule async for rule in horde.moderation.filters()]
    out.document({"filters": found})
    _say_filters(out, found, "no rules")


@filters.command("add")
@click.argument("pattern", type=TEXT)
@click.option(
    "--expression", is_flag=True, help="PATTERN is an expression in RE2's syntax; else text that looks alike."
)
@click.option("--message", type=TEXT, required=True, help="What requesters are told.")
@click.option("--note", type=TEXT, default="", help="For moderators.")
@asks
async def add_filter(horde: HordeClient, out: Output, pattern: str, expression: bool, message: str, note: str) -> None:
    """Refuse prompts that hold PATTERN, within five seconds."""
    from horde.api.moderation.v1 import moderation_service_pb2 as pb

    kind = pb.FILTER_KIND_EXPRESSION if expression else pb.FILTER_KIND_NORMALISED_TEXT
    rule = await horde.moderation.add_filter(kind, pattern, message, note)
    out.document({"filter": rule})
    out.say(f"rule {rule.filter_id} holds")


@filters.command("remove")
@click.argument("filter_id", type=WORD)
@asks
async def remove_filter(horde: HordeClient, out: Output, filter_id: str) -> None:
    """End the rule FILTER_ID."""
    await horde.moderation.remove_filter(filter_id)
    out.document({"filter_id": filter_id})
    out.say(f"rule {filter_id} holds no more")


@filters.command("test")
@click.argument("prompt", type=TEXT)
@asks
async def test_filters(horde: HordeClient, out: Output, prompt: str) -> None:
    """Which rules PROMPT would meet."""
    found = await horde.moderation.test_filters(prompt)
    out.document({"filters": found})
    _say_filters(out, found, "it meets no rule")


def _say_filters(out: Output, found: list[pb.Filter], nothing: str) -> None:
    from rich.markup import escape

    from horde.api.moderation.v1 import moderation_service_pb2 as pb

    if not found:
        out.say(nothing)
    for rule in found:
        kind = "expression" if rule.kind == pb.FILTER_KIND_EXPRESSION else "text"
        out.say(f"[bold]{rule.filter_id}[/bold]  {kind}  {escape(rule.pattern)}  “{escape(rule.message)}”")
