"""`horde consent`, and what is shown before somebody shares for the first time."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.output import Output

if TYPE_CHECKING:
    from horde.api.generation.v1.generation_pb2 import Quote
    from horde.clients.client import HordeClient


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@functools.partial(asks, reaches=False)
async def consent(horde: HordeClient, out: Output) -> None:
    """What sharing pictures means: the text that you agree to when you share."""
    from rich.markup import escape

    from horde.clients.consent import CURRENT, consent_text, sha256_of

    text = consent_text(CURRENT)
    out.document({"version": CURRENT, "sha256": sha256_of(CURRENT), "text": text})
    out.say(escape(text))


async def show_before_sharing(horde: HordeClient, out: Output, quote: Quote) -> None:
    """Show the text before the first image of this user here is shared; at a terminal, ask whether it is agreed to.

    Whoever runs a script has agreed by its `--share`, or by asking as anonymous; the text is shown all the same.
    """
    from rich.markup import escape

    from horde.api.job.v1.job_pb2 import Placement
    from horde.clients.consent import UnknownConsentText, consent_text

    version = quote.facts.consent_text_version
    mark = horde.mesh_folder / f"consent-{version}"
    if quote.placement != Placement.PLACEMENT_SHARED or mark.exists():
        return
    try:
        text = consent_text(version)
    except UnknownConsentText:
        text = f"The text of the consent {version} is newer than this program: ask the mesh's operator for it."
    out.note(escape(text))
    if sys.stdin.isatty() and sys.stderr.isatty() and not out.as_json:
        click.confirm("Share under these terms?", default=False, abort=True, err=True)
    mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark.touch()
