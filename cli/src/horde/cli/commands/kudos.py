"""`horde kudos`: balance, statement, gifts; for operators awards and audits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from horde.cli.commands import output
from horde.cli.commands.asking import asks
from horde.cli.commands.exits import Exit
from horde.cli.commands.groups import DefaultGroup
from horde.cli.commands.output import Output, short
from horde.cli.commands.values import AMOUNT, MAX_INT63, TEXT, WORD

if TYPE_CHECKING:
    from horde.clients.client import HordeClient
    from horde.clients.statement import StatementLine


@click.group(cls=DefaultGroup, default="balance", context_settings={"help_option_names": ["-h", "--help"]})
def kudos() -> None:
    """Balance, statement, gifts; for operators awards and audits. Without a further word: balance."""


@kudos.command()
@asks
async def balance(horde: HordeClient, out: Output) -> None:
    """What you have, what is set aside, and what waits in escrow."""
    answer = await horde.accounts.show()
    out.document({"spend": answer.spend, "escrow": answer.escrow})
    out.say(f"balance    {output.kudos(answer.spend.posted_mkudos)} kudos")
    out.say(f"held       {output.kudos(answer.spend.held_mkudos)}  set aside for images that have not ended")
    help_of_today = "with the mesh's daily help for who has too few (the floor subsidy)"
    out.say(f"available  {output.kudos(answer.spend.available_mkudos)}  {help_of_today}")
    out.say(f"escrow     {output.kudos(answer.escrow.posted_mkudos)}  earned, and yours once you are trusted")


@kudos.command()
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Entries to show.")
@asks
async def statement(horde: HordeClient, out: Output, limit: int) -> None:
    """Every entry, newest first: what it was, what it moved, and every part by itself."""
    from horde.clients.statement import line_for

    mine = (await horde.accounts.show()).account.account_id
    entries = []
    async for entry in horde.kudos.statement(page_size=min(limit, 100)):
        entries.append(entry)
        if len(entries) >= limit:
            break
    out.document({"account_id": mine, "entries": entries})
    if not entries:
        out.say("nothing has moved yet")
    for entry in entries:
        _print_line(out, line_for(entry, mine))


def _print_line(out: Output, line: StatementLine) -> None:
    from rich.markup import escape

    moves = [
        f"[{'red' if amount < 0 else 'green'}]{'+' if amount > 0 else ''}{output.kudos(amount)}[/] {name}".rstrip()
        for amount, name in ((line.spend_mkudos, ""), (line.escrow_mkudos, "escrow"), (line.held_mkudos, "held"))
        if amount
    ]
    out.say(f"[bold]#{line.sequence}[/bold]  {line.at:%Y-%m-%d %H:%M:%S}  {line.what}  {'  '.join(moves) or '0.000'}")
    if line.model:
        out.say(f"      [dim]with {escape(line.model)} by worker {escape(short(line.worker_id))}[/dim]")
    for part in line.parts:
        moved = "".join(f"  transfer {transfer_id}" for transfer_id in part.transfer_ids)
        remark = f"  [dim]{part.remark}{moved}[/dim]" if part.remark or moved else ""
        out.say(f"      {part.name:<28} {output.kudos(part.mkudos):>12}{remark}")
    if line.note:
        out.say(f"      “{escape(line.note)}”")
    about = [f"event {line.event_id}", f"block {line.block}"]
    if line.job_id:
        about.insert(0, f"job {line.job_id}")
    elif line.generation_id:
        about.insert(0, f"generation {line.generation_id}")
    out.say(f"      [dim]{'  '.join(about)}[/dim]")


@kudos.command()
@click.argument("account_id", type=WORD)
@click.argument("amount", type=AMOUNT)
@click.option("--message", type=TEXT, default="", help="The recipient sees it.")
@asks
async def gift(horde: HordeClient, out: Output, account_id: str, amount: int, message: str) -> None:
    """Give AMOUNT kudos to ACCOUNT_ID."""
    entry = await horde.kudos.gift(account_id, amount, message=message)
    out.document({"entry": entry})
    out.say(f"gave {output.kudos(amount)} kudos to {account_id}  [dim]event {entry.event_id}[/dim]")


@kudos.command()
@click.argument("account_id", type=WORD)
@click.argument("amount", type=AMOUNT)
@click.option("--reason", type=TEXT, required=True, help="Why; it is in the ledger for good.")
@asks
async def award(horde: HordeClient, out: Output, account_id: str, amount: int, reason: str) -> None:
    """Make AMOUNT kudos for ACCOUNT_ID. For operators."""
    entry = await horde.kudos.award(account_id, amount, reason=reason)
    out.document({"entry": entry})
    out.say(f"awarded {output.kudos(amount)} kudos to {account_id}  [dim]event {entry.event_id}[/dim]")


@kudos.command()
@click.option("--from-block", default=0, show_default=True, type=click.IntRange(0, MAX_INT63), help="Where to begin.")
@asks
async def audit(horde: HordeClient, out: Output, from_block: int) -> Exit:
    """Recompute every balance and hash of the ledger. For operators."""
    found = await horde.kudos.audit(from_block=from_block)
    out.document({"audit": found})
    out.say(f"{found.blocks} blocks, {found.entries} entries, {found.transfers} transfers")
    out.say(f"sum of all accounts  {output.kudos(found.sum_of_all_mkudos)}")
    out.say(f"head  {found.head_hash.hex()}")
    if found.first_finding:
        out.say(f"[red]block {found.first_bad_block}: {found.first_finding}[/red]")
        return Exit.FAILED
    out.say("all is well")
    return Exit.OK
