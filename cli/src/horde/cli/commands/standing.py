"""`horde standing`: how you stand, what counts against you since when, and what mends it."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.groups import DefaultGroup
from horde.cli.commands.output import Output, short
from horde.cli.commands.restricting import say_restriction
from horde.cli.commands.values import TEXT, WORD

if TYPE_CHECKING:
    from horde.clients.client import HordeClient


@click.group(cls=DefaultGroup, default="show", context_settings={"help_option_names": ["-h", "--help"]})
def standing() -> None:
    """How you stand: trust, strikes, restrictions. Without a further word: show."""


@standing.command()
@click.option("--account", type=WORD, default=None, help="Another account; for operators and moderators.")
@asks
async def show(horde: HordeClient, out: Output, account: str | None) -> None:
    """What counts against you, since when, and what mends it."""
    from rich.markup import escape

    found = await horde.standings.show(account or "")
    out.document({"standing": found})
    trust = "trusted" if found.trusted else "not trusted yet" if not found.by_decree else "not trusted"
    out.say(f"[bold]{trust}[/bold]{'  by an operator’s word' if found.by_decree else ''}")
    out.say(f"strikes that count  {found.strikes}")
    out.say(f"images checked      {found.images_verified} right, {found.images_refuted} wrong")
    for restriction in found.restrictions:
        say_restriction(out, restriction)
    for sentence in found.sentences:
        out.say(f"- {escape(sentence)}")
    if not found.sentences:
        out.say("nothing counts against you")


@standing.command()
@click.option("--account", type=WORD, default=None, help="Another account; for operators and moderators.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Strikes to show.")
@asks
async def strikes(horde: HordeClient, out: Output, account: str | None, limit: int) -> None:
    """Everything that was held against your workers, newest first, also what was forgiven."""
    from rich.markup import escape

    from horde.api.standing.v1.standing_service_pb2 import StrikeReason

    found = []
    async for strike in horde.standings.strikes(account or "", page_size=min(limit, 100)):
        found.append(strike)
        if len(found) >= limit:
            break
    out.document({"strikes": found})
    if not found:
        out.say("no strikes")
    for strike in found:
        reason = StrikeReason.Name(strike.reason).removeprefix("STRIKE_REASON_").lower().replace("_", " ")
        at = strike.at.ToDatetime(UTC)
        forgiven = f"  [green]forgiven: {escape(strike.forgiven_because)}[/green]" if strike.forgiven_because else ""
        out.say(f"{at:%Y-%m-%d %H:%M}  {escape(strike.worker_name)}  {reason}  {escape(strike.detail)}{forgiven}")


@standing.command()
@click.argument("restriction_id", type=WORD)
@click.argument("note", type=TEXT)
@asks
async def appeal(horde: HordeClient, out: Output, restriction_id: str, note: str) -> None:
    """Leave a NOTE for those who can lift RESTRICTION_ID. A second one replaces the first."""
    restriction = await horde.standings.appeal(restriction_id, note)
    out.document({"restriction": restriction})
    out.say(f"your note is kept with {short(restriction.restriction_id)}; operators and moderators see it")
