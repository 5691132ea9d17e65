"""Restrictions on the command line: whom an option names, and one in a few lines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from horde.cli.commands.output import Output
from horde.cli.commands.values import TEXT, WORD, Span

if TYPE_CHECKING:
    from horde.api.standing.v1.standing_service_pb2 import Restriction, RestrictionTarget

LASTS: Final = Span("h", timedelta(seconds=1), timedelta(days=3650))
_TARGETS: Final = {
    "worker": ("worker_id", "The worker of this id."),
    "owner": ("owner_account_id", "All workers of this account, also those to come."),
    "requester": ("requester_account_id", "This account as one that asks for images."),
    "network": ("network", "An address, or a network such as 192.0.2.0/24."),
}


def restricts(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say whom, why and for how long."""
    for name, (_, text) in reversed(_TARGETS.items()):
        command = click.option(f"--{name}", type=WORD, default=None, help=text)(command)
    command = click.option("--reason", type=TEXT, required=True, help="Whom it is about is told.")(command)
    return click.option("--for", "lasts", type=LASTS, default=None, help="How long, as 2h or 7d; else until lifted.")(
        command
    )


def target_of(**named: str | None) -> RestrictionTarget:
    """The one that was named. Raises UsageError for none, or several."""
    from horde.api.standing.v1.standing_service_pb2 import RestrictionTarget

    given = [name for name in _TARGETS if named[name]]
    if len(given) != 1:
        raise click.UsageError("name one of --worker, --owner, --requester, --network")
    target = RestrictionTarget()
    setattr(target, _TARGETS[given[0]][0], named[given[0]])
    return target


def say_restriction(out: Output, restriction: Restriction) -> None:
    """One restriction."""
    from rich.markup import escape

    from horde.api.standing.v1.standing_service_pb2 import RESTRICTION_KIND_BAN

    field = restriction.target.WhichOneof("target") or ""
    whom = next((name for name, (known, _) in _TARGETS.items() if known == field), "?")
    what = "ban" if restriction.kind == RESTRICTION_KIND_BAN else "pause"
    until = (
        f"{restriction.until.ToDatetime(UTC):%Y-%m-%d %H:%M} UTC" if restriction.HasField("until") else "it is lifted"
    )
    lifted = "  [green]lifted[/green]" if restriction.HasField("lifted_at") else ""
    out.say(
        f"[bold]{restriction.restriction_id}[/bold]  {what} of {whom} {getattr(restriction.target, field, '')}{lifted}"
    )
    out.say(
        f"  since {restriction.since.ToDatetime(UTC):%Y-%m-%d %H:%M} UTC until {until}: {escape(restriction.reason)}"
    )
    if restriction.appeal_note:
        out.say(f"  appeal: “{escape(restriction.appeal_note)}”")
