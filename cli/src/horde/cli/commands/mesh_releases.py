"""`horde release --mesh`: data releases through a mesh's gateway, with an API key and no credential for buckets."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.groups import DefaultGroup
from horde.cli.commands.output import Output
from horde.cli.commands.values import WORD, Span

if TYPE_CHECKING:
    from horde.api.release.v1 import data_release_service_pb2 as pb
    from horde.clients.client import HordeClient
    from horde.clients.releases import Releases

NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]*")
"""Of a release: also the folder that a copy of it lies in, and a mesh names those that it goes on from."""


@click.group(cls=DefaultGroup, default="list", context_settings={"help_option_names": ["-h", "--help"]})
def mesh_releases() -> None:
    """Data releases through the gateway of a mesh. Without a further word: list."""


@mesh_releases.command()
@click.argument("name", type=WORD)
@click.option(
    "--cool-off",
    type=Span("d", timedelta(0), timedelta(days=366)),
    default=None,
    help="How long an image can be taken back before it is released. Default: 7d.",
)
@click.option("--samples", type=click.IntRange(1, 10_000), default=10_000, show_default=True, help="Images in a shard.")
@click.option("--incremental", is_flag=True, help="Only what is new since the latest release.")
@click.option("--with-contact-data", is_flag=True, help="Let prompts with contact data in, marked.")
@click.option("--with-unsure", is_flag=True, help="Let in what moderation is not sure about, marked.")
@click.option("--dry-run", is_flag=True, help="Say what it would hold, and make nothing.")
@asks
async def create(
    horde: HordeClient,
    out: Output,
    name: str,
    cool_off: timedelta | None,
    samples: int,
    incremental: bool,
    with_contact_data: bool,
    with_unsure: bool,
    dry_run: bool,
) -> None:
    """For operators: have release NAME built. Asked again, it says how far it is."""
    from horde.api.release.v1.data_release_service_pb2 import ReleaseTerms

    terms = ReleaseTerms(
        images_per_shard=samples,
        include_contact_data=with_contact_data,
        include_unsure=with_unsure,
        incremental=incremental,
    )
    if cool_off is not None:
        terms.cool_off.FromTimedelta(cool_off)
    _say(out, await (horde.releases.estimate if dry_run else horde.releases.create)(name, terms))


@mesh_releases.command()
@click.argument("name", type=WORD)
@asks
async def cancel(horde: HordeClient, out: Output, name: str) -> None:
    """For operators: end a release that is being built."""
    _say(out, await horde.releases.cancel(name))


@mesh_releases.command("list")
@asks
async def list_releases(horde: HordeClient, out: Output) -> None:
    """Newest first."""
    found = [release async for release in horde.releases.list()]
    out.document({"releases": found})
    if not found:
        out.say("There are no releases yet.")
        return
    rows = [
        (
            release.name,
            _state(release),
            f"{release.created_at.ToDatetime():%Y-%m-%d %H:%M}",
            f"{release.images:,}",
            f"{release.size_bytes:,}",
            release.previous_name,
        )
        for release in found
    ]
    out.table(("release", "state", "created", "images", "bytes", "goes on from"), rows)


@mesh_releases.command()
@click.argument("name", type=WORD)
@asks
async def show(horde: HordeClient, out: Output, name: str) -> None:
    """One release, with what was left out, and why."""
    _say(out, await horde.releases.get(name))


@mesh_releases.command()
@click.argument("name", type=WORD)
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Folder; default: here.")
@click.option("--alone", is_flag=True, help="Without the releases that it goes on from.")
@asks
async def pull(horde: HordeClient, out: Output, name: str, to: Path, alone: bool) -> None:
    """Bring NAME home, with those it goes on from. Run again, it goes on where it was."""
    fetched: dict[str, int] = {}
    async for pulled, size_bytes in pull_chain(horde.releases, name, to, alone=alone):
        fetched[pulled] = size_bytes
        out.note(f"{pulled}: {size_bytes:,} bytes fetched")
    out.document({"fetched": fetched})
    out.say(
        f"{', '.join(fetched)} in {to}; `horde release verify` checks a copy, `prune-withdrawn` brings it up to date"
    )


async def pull_chain(releases: Releases, name: str, to: Path, *, alone: bool) -> AsyncIterator[tuple[str, int]]:
    """Each release that is brought home, with the bytes fetched for it.

    Raises ValueError where the mesh says that it goes on from what is no name, which could lead out of the folder, or
    from itself.
    """
    seen: set[str] = set()
    while name:
        seen.add(name)
        release = await releases.get(name)
        yield name, await releases.pull(name, to / name)
        name = "" if alone else release.previous_name
        if name and (name in seen or not NAME.fullmatch(name)):
            raise ValueError(f"the mesh says that it goes on from {name!r}, of which nothing is fetched")


@mesh_releases.command()
@click.argument("name", type=WORD)
@asks
async def removals(horde: HordeClient, out: Output, name: str) -> None:
    """What is to be taken out of copies of NAME and those before it, also what was taken back a minute ago."""
    from horde.api.release.v1.data_release_service_pb2 import ReleaseRemovalReason

    found = [removal async for removal in horde.releases.removals(name)]
    out.document({"removals": found})
    rows = []
    for removal in found:
        why = ReleaseRemovalReason.Name(removal.reason).removeprefix("RELEASE_REMOVAL_REASON_").lower()
        rows.append((removal.image_id, removal.release_name, f"{removal.removed_at.ToDatetime():%Y-%m-%d %H:%M}", why))
    out.table(("image", "release", "removed", "why"), rows)


def _say(out: Output, release: pb.DataRelease) -> None:
    from rich.markup import escape

    from horde.api.release.v1.data_release_service_pb2 import ReleaseExclusionReason

    out.document({"release": release})
    out.say(f"{release.name}  [bold]{_state(release)}[/bold]  {escape(release.failure)}")
    if release.progress_images:
        out.say(f"  looked at {release.progress_images:,} images")
    if not release.state:
        out.say(f"  would hold {release.images:,} images, {release.size_bytes:,} bytes of pictures")
        out.say(f"  counted   {release.created_at.ToDatetime():%Y-%m-%d %H:%M} UTC")
    if release.HasField("finished_at"):
        out.say(f"  {release.images:,} images, {release.shards:,} shards, {release.size_bytes:,} bytes")
    for left_out in release.exclusions:
        why = ReleaseExclusionReason.Name(left_out.reason).removeprefix("RELEASE_EXCLUSION_REASON_").lower()
        out.say(f"  left out  {left_out.images:,}  {why.replace('_', ' ')}")


def _state(release: pb.DataRelease) -> str:
    from horde.api.release.v1.data_release_service_pb2 import DataReleaseState

    if not release.state:
        return "not made"
    return DataReleaseState.Name(release.state).removeprefix("DATA_RELEASE_STATE_").lower()
