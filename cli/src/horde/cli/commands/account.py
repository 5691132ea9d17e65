"""`horde account`: open one, look at it, manage its API keys."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.exits import Exit
from horde.cli.commands.groups import DefaultGroup
from horde.cli.commands.leaving import delete
from horde.cli.commands.output import Output, kudos
from horde.cli.commands.sharing import shared
from horde.cli.commands.values import TEXT, WORD

if TYPE_CHECKING:
    from horde.api.account.v1 import account_service_pb2 as pb
    from horde.clients.client import HordeClient

SCOPES = ("generate", "work", "manage")


@click.group(cls=DefaultGroup, default="show", context_settings={"help_option_names": ["-h", "--help"]})
def account() -> None:
    """Open an account, look at it, manage its API keys. Without a further word: show."""


@account.command()
@click.argument("name", type=TEXT)
@click.option("--keep/--no-keep", default=True, help="Keep the API key for later commands, if none is kept yet.")
@asks
async def create(horde: HordeClient, out: Output, name: str, keep: bool) -> None:
    """Open an account called NAME and show its API key, this once."""
    from rich.markup import escape

    from horde.clients.credentials import API_KEY_FILE, write_secret

    answer = await horde.accounts.create(name)
    path = horde.mesh_folder / API_KEY_FILE
    kept = keep and write_secret(path, answer.api_key, replace=False)
    aside = await set_aside(horde, path) if keep and not kept else None
    if aside is not None:
        kept = write_secret(path, answer.api_key, replace=False)
    out.document({"account": answer.account, "api_key": answer.api_key, "kept_in": str(path) if kept else None})
    out.say(f"account  {answer.account.account_id}  ({escape(answer.account.display_name)})")
    out.say(f"API key  [bold]{answer.api_key}[/bold]")
    out.say("Nobody can show this key again.")
    if aside is not None:
        out.say(f"The key that was kept here is unknown to this mesh: it is in {escape(str(aside))} now.")
    if kept:
        out.say(f"It is kept in {escape(str(path))} and used for {horde.target} from now on, for no other mesh.")
    elif keep:
        out.say(f"Another key is kept in {escape(str(path))} already: use --api-key or HORDE_API_KEY for this one.")


async def set_aside(horde: HordeClient, path: Path) -> Path | None:
    """Move a kept key out of the way that this mesh does not know, as one made anew does not, and say where to."""
    from horde.clients.client import HordeClient
    from horde.clients.credentials import ApiKey, read_secret
    from horde.clients.errors import ApiKeyUnknown, ServiceError

    credential = ApiKey(read_secret(path) or "")
    async with HordeClient(horde.target, credential=credential, security=horde.security) as old:
        try:
            await old.accounts.show()
            return None
        except ApiKeyUnknown:
            aside = path.with_name(f"{path.name}.unknown")
            await asyncio.to_thread(path.rename, aside)
            return aside
        except ServiceError:
            return None


@account.command()
@asks
async def show(horde: HordeClient, out: Output) -> None:
    """Your account and its balances."""
    from rich.markup import escape

    from horde.api.account.v1.account_service_pb2 import AccountRole

    answer = await horde.accounts.show()
    out.document(answer)
    mine = answer.account
    roles = ", ".join(AccountRole.Name(role).removeprefix("ACCOUNT_ROLE_").lower() for role in mine.roles) or "none"
    out.say(f"account    {mine.account_id}  ({escape(mine.display_name)})")
    out.say(f"since      {mine.created_at.ToDatetime():%Y-%m-%d}")
    out.say(f"roles      {roles}")
    out.say(f"trusted    {'yes' if mine.trusted else 'not yet: half of what your workers earn waits in escrow'}")
    out.say(f"balance    {kudos(answer.spend.posted_mkudos)} kudos")
    out.say(f"held       {kudos(answer.spend.held_mkudos)}")
    out.say(f"available  {kudos(answer.spend.available_mkudos)}")
    out.say(f"escrow     {kudos(answer.escrow.posted_mkudos)}")


@account.command()
@click.option("--name", type=TEXT, default=None, help="What people see.")
@click.option("--public/--not-public", default=None, help="Whether others may see the name.")
@click.option("--contact", type=TEXT, default=None, help="How to reach you; only operators see it.")
@asks
async def update(horde: HordeClient, out: Output, name: str | None, public: bool | None, contact: str | None) -> None:
    """Change what your account says of you."""
    from rich.markup import escape

    if name is None and public is None and contact is None:
        raise click.UsageError("Say what to change: --name, --public or --contact.")
    changed = await horde.accounts.update(display_name=name, public=public, contact=contact)
    out.document({"account": changed})
    seen = "may be shown to others" if changed.public else "is shown to nobody"
    out.say(f"{escape(changed.display_name)}: the name {seen}")


@account.command()
@click.argument("file", type=click.File("x", encoding="utf-8", lazy=True))
@asks
async def export(horde: HordeClient, out: Output, file: IO[str]) -> None:
    """Write everything that the mesh keeps about you, but for pictures, to a new FILE: one JSON object a line."""
    from horde.cli.commands.leaving import write_export

    items, _ = await write_export(horde, file)
    out.document({"file": file.name, "items": items})
    out.say(f"{items} items are in {file.name}")


account.add_command(delete)


account.add_command(shared)


@account.group(cls=DefaultGroup, default="list")
def keys() -> None:
    """The API keys of your account. Without a further word: list."""


@keys.command("list")
@asks
async def list_keys(horde: HordeClient, out: Output) -> None:
    """All keys, without their secrets."""
    found = await horde.accounts.keys()
    out.document({"keys": found})
    rows = []
    for key in found:
        used = f"{key.last_used_at.ToDatetime():%Y-%m-%d %H:%M}" if key.HasField("last_used_at") else "never"
        made = f"{key.created_at.ToDatetime():%Y-%m-%d}"
        rows.append((key.api_key_id, made, used, "revoked" if key.revoked else _scopes(key), key.label))
    out.table(("key", "made", "last used", "scopes", "label"), rows)


@keys.command("create")
@click.argument("label", type=TEXT)
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), default=SCOPES, help="May be repeated.")
@asks
async def create_key(horde: HordeClient, out: Output, label: str, scopes: tuple[str, ...]) -> None:
    """Make another key and show it, this once."""
    from horde.api.account.v1.account_service_pb2 import ApiKeyScope

    answer = await horde.accounts.create_key(label, [ApiKeyScope.Value(f"API_KEY_SCOPE_{s.upper()}") for s in scopes])
    out.document({"key": answer.key, "api_key": answer.api_key})
    out.say(f"{answer.key.api_key_id}  [bold]{answer.api_key}[/bold]")
    out.say("Nobody can show this key again.")


@keys.command("revoke")
@click.argument("key", type=WORD)
@asks
async def revoke_key(horde: HordeClient, out: Output, key: str) -> Exit:
    """Make KEY, its label, its id or the id's first letters, useless within five seconds."""
    from rich.markup import escape

    from horde.cli.commands.naming import key_named

    revoked = await horde.accounts.revoke_key(await key_named(horde, key))
    out.document({"key": revoked})
    out.say(f"{revoked.api_key_id} ({escape(revoked.label)}) is revoked")
    return Exit.OK


def _scopes(key: pb.ApiKey) -> str:
    from horde.api.account.v1.account_service_pb2 import ApiKeyScope

    return ", ".join(ApiKeyScope.Name(scope).removeprefix("API_KEY_SCOPE_").lower() for scope in key.scopes)
