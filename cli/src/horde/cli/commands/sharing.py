"""`horde account shared`: keys that others may use at your expense."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.groups import DefaultGroup
from horde.cli.commands.output import Output, kudos
from horde.cli.commands.values import AMOUNT, TEXT, WORD, Span

if TYPE_CHECKING:
    from horde.api.account.v1 import account_service_pb2 as pb
    from horde.clients.client import HordeClient

COUNT = click.IntRange(1, 2**31 - 1)


@click.group(cls=DefaultGroup, default="list")
def shared() -> None:
    """Keys that others may use at your expense. Without a further word: list."""


@shared.command("create")
@click.argument("label", type=TEXT)
@click.option("--budget", type=AMOUNT, help="Kudos that may be spent with it in all. Else: all that you have.")
@click.option(
    "--lasts",
    type=Span("d", timedelta(minutes=1), timedelta(days=3650)),
    help="Until it expires, as 90m, 12h, 7d. Else: for ever.",
)
@click.option("--max-pixels", type=COUNT, default=None, help="Of one image.")
@click.option("--max-steps", type=COUNT, default=None)
@click.option("--max-count", type=COUNT, default=None, help="Images of one generation.")
@click.option("--max-open", type=COUNT, default=None, help="Generations at once.")
@click.option("--model", "models", multiple=True, type=TEXT, help="Only this one. May be repeated.")
@asks
async def create(
    horde: HordeClient,
    out: Output,
    label: str,
    budget: int | None,
    lasts: timedelta | None,
    max_pixels: int | None,
    max_steps: int | None,
    max_count: int | None,
    max_open: int | None,
    models: tuple[str, ...],
) -> None:
    """Make a key for others, called LABEL, and show it, this once."""
    from horde.api.account.v1.account_service_pb2 import SharedKeyBounds

    bounds = SharedKeyBounds(
        max_pixels=max_pixels or 0,
        max_steps=max_steps or 0,
        max_count=max_count or 0,
        max_open_generations=max_open or 0,
        models=models,
    )
    secret, key = await horde.shared_keys.create(label, budget_mkudos=budget, lasts=lasts, bounds=bounds)
    out.document({"key": key, "secret": secret})
    out.say(f"{key.shared_key_id}  [bold]{secret}[/bold]")
    out.say("Nobody can show this key again. Who has it asks for images at your expense, and sees only those.")


@shared.command("list")
@asks
async def list_shared(horde: HordeClient, out: Output) -> None:
    """All of them, with what was spent."""
    found = await horde.shared_keys.list()
    out.document({"keys": found})
    rows = []
    for key in found:
        budget = kudos(key.budget_mkudos) if key.HasField("budget_mkudos") else "all"
        ends = f"{key.expires_at.ToDatetime():%Y-%m-%d %H:%M}" if key.HasField("expires_at") else "never"
        rows.append((key.shared_key_id, kudos(key.spent_mkudos), budget, "revoked" if key.revoked else ends, key.label))
    out.table(("key", "spent", "budget", "expires", "label"), rows)


@shared.command("revoke")
@click.argument("key", type=WORD)
@asks
async def revoke(horde: HordeClient, out: Output, key: str) -> None:
    """Make KEY, its label, its id or the id's first letters, useless within five seconds."""
    from rich.markup import escape

    revoked = await horde.shared_keys.revoke(await _named(horde, key))
    out.document({"key": revoked})
    out.say(f"{revoked.shared_key_id} ({escape(revoked.label)}) is revoked")


async def _named(horde: HordeClient, name: str) -> str:
    """The id of the one good shared key called so. Raises SharedKeyNotFound, Ambiguous."""
    from horde.cli.commands.naming import Ambiguous
    from horde.clients.errors import SharedKeyNotFound

    def fits(key: pb.SharedKey) -> bool:
        return key.label == name or key.shared_key_id.startswith(name)

    found = [key.shared_key_id for key in await horde.shared_keys.list() if not key.revoked and fits(key)]
    if not found:
        raise SharedKeyNotFound(f"No good shared key of yours is called {name}, nor begins so.")
    if len(found) > 1 and name not in found:
        raise Ambiguous("shared keys", name, found)
    return name if name in found else found[0]
