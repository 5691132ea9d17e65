"""What is typed: `horde storage audit`. Settings come from the environment."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta
from typing import Final

import click

from horde.auditor.core.findings import EXPLANATIONS
from horde.auditor.opening import NAME, open_auditor
from horde.auditor.progress import Progress
from horde.auditor.settings import AuditorSettings
from horde.services import lifecycle, telemetry
from horde.services.clock import SystemClock
from horde.services.errors import ServiceError
from horde.services.loops import Loops
from horde.services.settings import load_or_exit

WRONG: Final = 1
UNAVAILABLE: Final = 6


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--watch", is_flag=True, help="Go on and on, a bounded part each time; alarms are log lines and metrics.")
@click.option("--deep", is_flag=True, help="Read every shared image, not a sample of the old.")
@click.option("--since", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]), help="What ended since is new. Default: a day.")
@click.option("--json", "as_json", is_flag=True, help="Findings as a document.")
def main(watch: bool, deep: bool, since: object, as_json: bool) -> None:
    """Hold both buckets against what the scheduler has settled.

    Without --watch every object is looked at once. Exit status 1 if anything is wrong, 6 if the scheduler or a bucket
    is away.
    """
    settings = load_or_exit(AuditorSettings, [])
    telemetry.configure_logs(level=settings.log_level, form=settings.log_format, service=NAME)
    if deep:
        settings = settings.model_copy(update={"sample_per_mille": 1000})
    if watch:
        sys.exit(lifecycle.run(_watch(settings), stop_seconds=settings.stop_seconds, probes=settings.health_listen))
    try:
        progress = asyncio.run(_whole(settings))
    except ServiceError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(UNAVAILABLE)
    _show(progress, as_json=as_json)
    if progress.open:
        sys.exit(WRONG)


async def _watch(settings: AuditorSettings) -> None:
    with telemetry.telemetry(service=NAME, endpoint=settings.telemetry_endpoint, prometheus=settings.metrics_listen):
        async with open_auditor(settings, SystemClock()) as auditor, Loops() as loops:
            loops.start("looking", auditor.watch(timedelta(seconds=settings.every_seconds)))
            await lifecycle.until_signalled()
            loops.leave()


async def _whole(settings: AuditorSettings) -> Progress:
    async with open_auditor(settings, SystemClock()) as auditor:
        await auditor.whole()
        return auditor.progress


def _show(progress: Progress, *, as_json: bool) -> None:
    if as_json:
        found = [finding.to_json() for finding in progress.open]
        click.echo(json.dumps({"findings": found, "more": progress.more}, indent=1))
        return
    for finding in progress.open:
        detail = f" ({finding.detail})" if finding.detail else ""
        click.echo(f"{finding.kind.value:18} {finding.bucket}/{finding.key}: {EXPLANATIONS[finding.kind]}{detail}")
    click.echo(f"{len(progress.open) + progress.more} findings", err=True)
