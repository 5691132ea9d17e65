"""`horde operator`: for those who run a horde: trust, restrictions, amnesty."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.output import Output
from horde.cli.commands.restricting import restricts, say_restriction, target_of
from horde.cli.commands.values import TEXT, WORD

if TYPE_CHECKING:
    from horde.api.account.v1.account_service_pb2 import Account
    from horde.clients.client import HordeClient

ROLES = ("moderator", "operator")
MOMENT = click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def operator() -> None:
    """For those who run a horde: who is trusted, paused, banned, forgiven. Everything is recorded with who and why."""


@operator.command()
@click.argument("account_id", type=WORD)
@click.option("--reason", type=TEXT, required=True, help="Why; it is in the ledger for good.")
@asks
async def trust(horde: HordeClient, out: Output, account_id: str, reason: str) -> None:
    """Trust ACCOUNT_ID by decree, whatever the rule says; what waits in escrow becomes spendable."""
    await _decree(horde, out, account_id, True, reason)


@operator.command()
@click.argument("account_id", type=WORD)
@click.option("--reason", type=TEXT, required=True, help="Why; it is in the ledger for good.")
@click.option("--by-rule", is_flag=True, help="End a decree instead: the rule decides again.")
@asks
async def distrust(horde: HordeClient, out: Output, account_id: str, reason: str, by_rule: bool) -> None:
    """Distrust ACCOUNT_ID by decree: half of what it earns waits."""
    await _decree(horde, out, account_id, None if by_rule else False, reason)


async def _decree(horde: HordeClient, out: Output, account_id: str, trusted: bool | None, reason: str) -> None:
    standing = await horde.standings.set_trust(account_id, trusted, reason)
    out.document({"standing": standing})
    out.say(f"{account_id} is {'trusted' if standing.trusted else 'not trusted'}")


@operator.command()
@restricts
@asks
async def ban(horde: HordeClient, out: Output, reason: str, lasts: timedelta | None, **named: str | None) -> None:
    """Keep somebody out: sessions, watches and calls end, and do not begin again. Holds within five seconds."""
    restriction = await horde.standings.restrict(target_of(**named), reason, ban=True, lasts=lasts)
    out.document({"restriction": restriction})
    say_restriction(out, restriction)


@operator.command()
@restricts
@asks
async def pause(horde: HordeClient, out: Output, reason: str, lasts: timedelta | None, **named: str | None) -> None:
    """Give somebody's workers no new jobs, or let them ask for nothing new. Holds within five seconds."""
    restriction = await horde.standings.restrict(target_of(**named), reason, lasts=lasts)
    out.document({"restriction": restriction})
    say_restriction(out, restriction)


@operator.command()
@click.argument("restriction_id", type=WORD)
@click.option("--reason", type=TEXT, required=True, help="Why; it is recorded.")
@asks
async def lift(horde: HordeClient, out: Output, restriction_id: str, reason: str) -> None:
    """End a restriction before its time."""
    restriction = await horde.standings.lift(restriction_id, reason)
    out.document({"restriction": restriction})
    say_restriction(out, restriction)


@operator.command()
@click.option("--past", is_flag=True, help="Also those that are over.")
@click.option("--appealed", is_flag=True, help="Only those with a note that nobody has answered.")
@asks
async def restrictions(horde: HordeClient, out: Output, past: bool, appealed: bool) -> None:
    """Who is paused or banned, newest first."""
    found = [restriction async for restriction in horde.standings.restrictions(past=past, appealed=appealed)]
    out.document({"restrictions": found})
    if not found:
        out.say("nobody is restricted")
    for restriction in found:
        say_restriction(out, restriction)


@operator.command()
@click.option("--from", "begin", type=MOMENT, required=True, help="When it began, UTC, as 2026-11-26T14:30.")
@click.option("--until", "end", type=MOMENT, required=True, help="When it was over, UTC; a week later at most.")
@click.option("--reason", type=TEXT, required=True, help="What had happened; owners are told.")
@asks
async def amnesty(horde: HordeClient, out: Output, begin: datetime, end: datetime, reason: str) -> None:
    """Forgive everybody's strikes of a window of time: after an incident that was nobody's fault."""
    answer = await horde.standings.amnesty(begin.replace(tzinfo=UTC), end.replace(tzinfo=UTC), reason)
    out.document({"amnesty": answer})
    out.say(f"forgave {answer.strikes} strikes of {answer.owners} owners")


@operator.command()
@click.argument("account_id", type=WORD)
@click.option("--grant", type=click.Choice(ROLES), multiple=True, help="A role to give.")
@click.option("--revoke", type=click.Choice(ROLES), multiple=True, help="A role to take.")
@click.option("--reason", type=TEXT, required=True, help="Why; it is recorded.")
@asks
async def roles(
    horde: HordeClient, out: Output, account_id: str, grant: tuple[str, ...], revoke: tuple[str, ...], reason: str
) -> None:
    """Make ACCOUNT_ID a moderator or an operator, or no longer one. Holds within five seconds."""
    from horde.api.account.v1.account_service_pb2 import AccountRole
    from horde.clients.errors import AccountNotFound

    if not grant and not revoke:
        raise click.UsageError("name a role to --grant or to --revoke")
    if both := set(grant) & set(revoke):
        raise click.UsageError(f"{', '.join(sorted(both))} cannot be given and taken at once")
    found = [account async for account in horde.standings.accounts(account_id=account_id)]
    if not found:
        raise AccountNotFound(metadata={"account_id": account_id})
    wanted = set(found[0].roles) | {AccountRole.Value(f"ACCOUNT_ROLE_{name.upper()}") for name in grant}
    wanted -= {AccountRole.Value(f"ACCOUNT_ROLE_{name.upper()}") for name in revoke}
    account = await horde.standings.set_roles(account_id, sorted(wanted), reason)
    out.document({"account": account})
    _say_account(out, account)


@operator.command()
@click.option("--role", type=click.Choice(ROLES), default=None, help="Only those with this role.")
@click.option("--name", "part", type=TEXT, default="", help="Only those with this in their display name.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many at most.")
@asks
async def accounts(horde: HordeClient, out: Output, role: str | None, part: str, limit: int) -> None:
    """Accounts, newest first, with their roles."""
    from horde.api.account.v1.account_service_pb2 import ACCOUNT_ROLE_UNSPECIFIED, AccountRole

    wanted = AccountRole.Value(f"ACCOUNT_ROLE_{role.upper()}") if role else ACCOUNT_ROLE_UNSPECIFIED
    found = []
    async for account in horde.standings.accounts(role=wanted, name_contains=part, page_size=min(limit, 100)):
        found.append(account)
        if len(found) == limit:
            break
    out.document({"accounts": found})
    if not found:
        out.say("no such account")
    for account in found:
        _say_account(out, account)


@operator.command()
@click.option("--about", type=WORD, default="", help="Only what is about this account, worker, network, restriction.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@asks
async def decisions(horde: HordeClient, out: Output, about: str, limit: int) -> None:
    """What was decided by whom, when and why, newest first."""
    from rich.markup import escape

    from horde.api.standing.v1.standing_service_pb2 import DecisionAction

    found = []
    async for decision in horde.standings.decisions(about, page_size=min(limit, 100)):
        found.append(decision)
        if len(found) == limit:
            break
    out.document({"decisions": found})
    if not found:
        out.say("nothing was decided")
    for decision in found:
        action = DecisionAction.Name(decision.action).removeprefix("DECISION_ACTION_").lower().replace("_", " ")
        at = f"{decision.at.ToDatetime(UTC):%Y-%m-%d %H:%M}"
        out.say(f"{at}  [bold]{action}[/bold]  {escape(decision.subject)}  {escape(decision.detail)}")
        out.say(f"  by {decision.by_account_id}: {escape(decision.reason)}")


def _say_account(out: Output, account: Account) -> None:
    from rich.markup import escape

    from horde.api.account.v1.account_service_pb2 import AccountRole

    held = ", ".join(AccountRole.Name(role).removeprefix("ACCOUNT_ROLE_").lower() for role in account.roles)
    opened = f"{account.created_at.ToDatetime(UTC):%Y-%m-%d}"
    out.say(f"[bold]{account.account_id}[/bold]  {escape(account.display_name)}  since {opened}  {held or 'no role'}")
