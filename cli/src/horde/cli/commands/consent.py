"""`horde consent`, and what is shown before somebody shares for the first time."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.output import Output

if TYPE_CHECKING:
    from horde.api.generation.v1.generation_pb2 import Quote
    from horde.clients.client import HordeClient


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@asks
async def consent(horde: HordeClient, out: Output) -> None:
    """What sharing pictures means in this mesh: the text that you agree to when you share."""
    from rich.markup import escape

    version, text = await _text_of_mesh(horde)
    out.document({"version": version, "sha256": hashlib.sha256(text.encode()).hexdigest(), "text": text})
    out.say(escape(text))


async def _text_of_mesh(horde: HordeClient) -> tuple[str, str]:
    """The version and text that are valid there; the newest known here where a mesh does not say."""
    from horde.clients.consent import CURRENT, UnknownConsentText, consent_text
    from horde.clients.errors import Unimplemented

    try:
        consent = (await horde.mesh.show()).consent
    except Unimplemented:
        return CURRENT, consent_text(CURRENT)
    try:
        published = consent_text(consent.version)
    except UnknownConsentText:
        return consent.version, consent.text
    if consent.text != published:
        raise ValueError(
            f"this mesh shows another text as consent {consent.version} than was published under that name"
        )
    return consent.version, consent.text


async def text_of(horde: HordeClient, version: str) -> str:
    """The text of this version, as it was published; or a line that says that nobody here has it."""
    from horde.clients.consent import UnknownConsentText, consent_text

    try:
        return consent_text(version)
    except UnknownConsentText:
        consent, text = await _text_of_mesh(horde)
        return text if consent == version else f"The text of the consent {version} is not known here: ask the operator."


async def show_before_sharing(horde: HordeClient, out: Output, quote: Quote) -> None:
    """Show the text before the first image of this user here is shared; at a terminal, ask whether it is agreed to.

    Whoever runs a script has agreed by its `--share`, or by asking as anonymous; the text is shown all the same.
    """
    from rich.markup import escape

    from horde.api.job.v1.job_pb2 import Placement
    from horde.clients.consent import UnknownConsentText, consent_text

    # What came with this program needs no asking; a text that is newer is the mesh's own.
    version = quote.facts.consent_text_version
    mark = horde.mesh_folder / f"consent-{version}"
    if quote.placement != Placement.PLACEMENT_SHARED or mark.exists():
        return
    try:
        text = consent_text(version)
    except UnknownConsentText:
        text = await text_of(horde, version)
    out.note(escape(text))
    if sys.stdin.isatty() and sys.stderr.isatty() and not out.as_json:
        click.confirm("Share under these terms?", default=False, abort=True, err=True)
    mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark.touch()
