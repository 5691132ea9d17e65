"""What is typed: create, list, show, verify, pull, prune-withdrawn. Settings come from the environment."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Coroutine
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from horde.data_releases import copies
from horde.data_releases.builder import Builder
from horde.data_releases.chain import Chain
from horde.data_releases.core import layout
from horde.data_releases.core.checksums import BadChecksums
from horde.data_releases.core.plan import BadPlan, OtherPlan
from horde.data_releases.estimating import Estimate, estimate
from horde.data_releases.opening import load_keys, open_releases, open_shared
from horde.data_releases.planning import Order
from horde.data_releases.releases import Finished, ReleaseNotFound, Releases
from horde.data_releases.settings import DataReleaseSettings
from horde.data_releases.shared_side import BucketVerdicts, SharedSide
from horde.data_releases.turn import OtherBuilder
from horde.services import failpoints, telemetry
from horde.services.clock import SystemClock
from horde.services.errors import ServiceError
from horde.services.settings import load_or_exit

T = TypeVar("T")

FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 5
UNAVAILABLE: Final = 6
NO_PREVIOUS: Final = "none"
"""Said instead of a release that another is to go on from."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Data releases: finished sets of shared images, for research.

    Operators create them; whoever may read the bucket of releases lists, pulls, verifies and prunes them.
    """


@main.command()
@click.argument("release_id")
@click.option("--previous", help="The release to go on from; 'none' begins anew. Default: the latest there is.")
@click.option("--as-of", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"]), help="Default: now.")
@click.option("--cool-off", type=float, default=7.0, show_default=True, help="Days in which it can be taken back.")
@click.option("--samples", type=int, default=1_000, show_default=True, help="Images in a shard, at most.")
@click.option("--shard-mib", type=int, default=1_024, show_default=True, help="Size after which a shard is full.")
@click.option("--near-bits", type=int, default=4, show_default=True, help="Of 64, by which near duplicates differ.")
@click.option("--with-contact-data", is_flag=True, help="Let prompts with contact data in, marked.")
@click.option("--with-unsure", is_flag=True, help="Let in what moderation is not sure about, marked.")
@click.option(
    "--ratings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Ratings, as curation exports them: lines of JSON or Parquet.",
)
@click.option("--dry-run", is_flag=True, help="Say what it would hold, and make nothing.")
@click.option("--end-with-input", is_flag=True, help="Stop when standard input ends: whoever started this has gone.")
def create(
    release_id: str,
    previous: str | None,
    as_of: datetime | None,
    cool_off: float,
    samples: int,
    shard_mib: int,
    near_bits: int,
    with_contact_data: bool,
    with_unsure: bool,
    ratings: Path | None,
    dry_run: bool,
    end_with_input: bool,
) -> None:
    """Make release RELEASE_ID, or go on making it. Made once, it never changes.

    In RELEASE_ID %Y, %m, %d and %V (the week) stand for the day of --as-of, in UTC: for what runs by a calendar.
    """
    settings = _settings()
    if end_with_input:
        threading.Thread(target=_end_with_input, name="input", daemon=True).start()
    if previous == NO_PREVIOUS:
        previous = ""
    others = {
        "cool_off_hours": round(cool_off * 24),
        "samples": samples,
        "shard_bytes": shard_mib << 20,
        "near_bits": near_bits,
        "contact_data": with_contact_data,
        "unsure": with_unsure,
        "ratings_sha256": None if ratings is None else hashlib.sha256(ratings.read_bytes()).hexdigest(),
    }
    if as_of is not None:
        as_of = as_of.replace(tzinfo=as_of.tzinfo or UTC)

    day = (as_of or SystemClock().now()).astimezone(UTC)
    release_id = re.sub("%[YmdV]", lambda found: day.strftime(found[0]), release_id)
    order = Order(release_id, as_of, previous, others)

    async def make() -> Finished | Estimate:
        now = SystemClock().now
        async with (
            open_releases(settings, now, write=not dry_run) as bucket,
            open_shared(settings, now) as shared_bucket,
        ):
            shared = SharedSide(shared_bucket, BucketVerdicts(shared_bucket))
            if dry_run:
                return await estimate(order, shared, bucket, settings.state_dir, now)
            return await Builder(shared, bucket, load_keys(settings), settings.state_dir, now, ratings).create(order)

    made = _run(make())
    if isinstance(made, Estimate):
        click.echo(json.dumps(made.to_json(), indent=1, sort_keys=True))
    else:
        _show(made)


@main.command("list")
def list_releases() -> None:
    """List the finished releases, the latest first, as lines of JSON."""
    settings = _settings()

    async def find() -> list[Finished]:
        async with open_releases(settings, SystemClock().now) as bucket:
            return await Releases(bucket).all()

    found = _run(find())
    for release in found:
        click.echo(json.dumps(_brief(release), sort_keys=True))
    if not found:
        click.echo("There are no releases yet.", err=True)


@main.command()
@click.argument("release_id")
def show(release_id: str) -> None:
    """Show a finished release."""
    settings = _settings()

    async def find() -> Finished:
        async with open_releases(settings, SystemClock().now) as bucket:
            return await Releases(bucket).get(release_id)

    _show(_run(find()))


@main.command()
@click.argument("release_id")
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Folder; default: here.")
@click.option("--alone", is_flag=True, help="Without the releases that it goes on from.")
@click.option("--as-published", is_flag=True, help="Without taking out what was withdrawn since.")
def pull(release_id: str, to: Path, alone: bool, as_published: bool) -> None:
    """Bring RELEASE_ID home, with those it goes on from, and take out what was withdrawn since."""
    settings = _settings()

    async def fetch() -> list[str]:
        async with open_releases(settings, SystemClock().now) as bucket:
            releases = Releases(bucket)
            chain = [release_id] if alone else (await Chain.read(releases, release_id)).ids
            for link in chain:
                fetched = await copies.pull(bucket, link, to / link)
                click.echo(f"{link}: {fetched:,} bytes fetched", err=True)
            latest = await releases.latest()
            if latest is not None and not as_published:
                removed = await bucket.read(layout.release(latest.release_id, layout.REMOVED))
                if removed is not None:
                    for link in chain:
                        with tempfile.NamedTemporaryFile(suffix=".parquet") as listed:
                            listed.write(removed.data)
                            listed.flush()
                            count = await asyncio.to_thread(copies.prune, to / link, Path(listed.name))
                        click.echo(f"{link}: {count} images taken out that were withdrawn", err=True)
            return chain

    for line in _run(fetch()):
        click.echo(str(to / line))


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The operator's key, PEM.")
@click.option(
    "--removed", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A later removed.parquet."
)
def verify(folder: Path, key: Path | None, removed: Path | None) -> None:
    """Check a copy in FOLDER: signature, checksums, and each image against its row."""
    _check(folder, key, removed)


@main.command("prune-withdrawn")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--removed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A later release's removed.parquet; default: that of the latest release in the bucket.",
)
def prune_withdrawn(folder: Path, removed: Path | None) -> None:
    """Take out of the copy in FOLDER what was withdrawn since, and check what remains by checksums."""

    async def find_removed() -> bytes:
        async with open_releases(_settings(), SystemClock().now) as bucket:
            latest = await Releases(bucket).latest()
            if latest is None:
                raise ReleaseNotFound("there is no release yet")
            found = await bucket.read(layout.release(latest.release_id, layout.REMOVED))
            if found is None:
                raise ReleaseNotFound(f"{latest.release_id} has lost {layout.REMOVED}")
            return found.data

    with tempfile.TemporaryDirectory() as scratch:
        if removed is None:
            removed = Path(scratch) / layout.REMOVED
            removed.write_bytes(_run(find_removed()))
        click.echo(f"{copies.prune(folder, removed)} images taken out", err=True)
        _check(folder, None, removed)


def _check(folder: Path, key: Path | None, removed: Path | None) -> None:
    report = copies.verify(folder, None if key is None else key.read_bytes(), removed)
    click.echo(json.dumps(asdict(report), indent=1))
    if report.faults:
        sys.exit(FAILED)


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _settings() -> DataReleaseSettings:
    settings = load_or_exit(DataReleaseSettings, [])
    telemetry.configure_logs(level=settings.log_level, form=settings.log_format, service="data-releases")
    failpoints.arm(settings.failpoints)
    return settings


def _run(work: Coroutine[Any, Any, T]) -> T:
    """The result, or a line that says why there is none, and an exit status for scripts."""
    try:
        return asyncio.run(work)
    except (BadPlan, OtherPlan) as error:
        status, message = USAGE, str(error)
    except ReleaseNotFound as error:
        status, message = NOT_FOUND, f"no finished release: {error}"
    except ServiceError as error:
        status, message = UNAVAILABLE, str(error)
    except (OSError, sqlite3.OperationalError) as error:
        # A disk that is full, mostly. What is built stays built.
        status, message = UNAVAILABLE, f"this machine: {error}; run it again to go on"
    except (BadChecksums, LookupError, OtherBuilder) as error:
        status, message = FAILED, str(error)
    click.echo(f"error: {message}", err=True)
    sys.exit(status)


def _brief(release: Finished) -> dict[str, Any]:
    plan = release.plan
    return {
        "release_id": plan.release_id,
        "as_of": plan.as_of.isoformat(),
        "previous": plan.previous,
        "images": release.images,
        "bytes": release.bytes,
        "removed": release.removed,
        "left_out": release.left_out,
        "checksums_sha256": release.checksums_sha256,
    }


def _show(release: Finished) -> None:
    click.echo(json.dumps({**_brief(release), "plan": release.plan.to_json()}, indent=1, sort_keys=True))
