"""`horde account delete`: an export first, and then the end of the account."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.output import Output, kudos

if TYPE_CHECKING:
    from horde.api.account.v1 import account_service_pb2 as pb
    from horde.clients.client import HordeClient

END_KIND: Final = "horde.api.account.v1.ExportEnd"
"""Of the last line of an export, which says that it is whole."""


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--withdraw-shared", is_flag=True, help="Take back what you shared, too. Else it stays shared for ever.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@asks
async def delete(horde: HordeClient, out: Output, file: Path, withdraw_shared: bool, yes: bool) -> None:
    """End your account, for good: keys, private pictures, prompts, workers, kudos.

    FILE is an export of the last hour; it is made now if it is not there.
    """
    if out.as_json and not yes:
        raise click.UsageError("With --json nobody can be asked: say --yes.")
    try:
        with file.open("x", encoding="utf-8") as fresh:
            items, export_id = await write_export(horde, fresh)
        out.note(f"{items} items are in {file}")
    except FileExistsError:
        with file.open(encoding="utf-8") as made:
            export_id = read_export(made)
    if not yes:
        _confirm(await horde.accounts.show(), withdraw_shared)
    out.resume = ("Once everything has ended (`horde generations cancel`), say it again with the same FILE.",)
    gone = await horde.accounts.delete(export_id, withdraw_shared=withdraw_shared)
    forgotten = _forget_key(horde)
    out.document(gone)
    shared = f"{gone.images_withdrawn} shared ones withdrawn" if withdraw_shared else "what was shared stays"
    out.say(f"The account is ended: {gone.generations} generations, {gone.images} private pictures, {shared}.")
    out.say(f"{kudos(gone.burned_mkudos)} kudos are burned.{' The key that was kept here is forgotten.' * forgotten}")


async def write_export(horde: HordeClient, file: IO[str]) -> tuple[int, str]:
    """Write everything that the mesh keeps about the caller, a JSON object a line; how many items, and the id."""
    items = 0
    export = horde.accounts.export()
    async for item in export:
        file.write(f'{{"kind":"{item.kind}","item":{item.json}}}\n')
        items += 1
    file.write(json.dumps({"kind": END_KIND, "item": {"export_id": export.export_id}}) + "\n")
    return items, export.export_id


def read_export(lines: Iterable[str]) -> str:
    """The id of an export that was written to its end. Raises ValueError."""
    *_, last = ["", *lines]
    try:
        end = json.loads(last)
        if end["kind"] == END_KIND:
            return str(end["item"]["export_id"])
    except (ValueError, LookupError, TypeError):
        pass
    raise ValueError("the file is no whole export: name a new one, and it is made now")


def _confirm(mine: pb.GetAccountResponse, withdraw_shared: bool) -> None:
    has = kudos(mine.spend.posted_mkudos + mine.escrow.posted_mkudos)
    click.echo(
        f"{mine.account.display_name} ({mine.account.account_id}) has {has} kudos, which will be burned.", err=True
    )
    if not withdraw_shared:
        click.echo("What was shared stays shared, without a way back (--withdraw-shared).", err=True)
    click.confirm("End this account? It cannot be undone.", default=False, abort=True, err=True)


def _forget_key(horde: HordeClient) -> bool:
    """Forget the key that is kept for this mesh, if it is the one that was used."""
    from horde.clients.credentials import API_KEY_FILE, ApiKey

    path = horde.mesh_folder / API_KEY_FILE
    used = horde.credential
    mine = isinstance(used, ApiKey) and path.exists() and path.read_text("utf-8").strip() == used.secret
    if mine:
        path.unlink()
    return mine
