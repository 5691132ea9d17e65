"""A generation in words: each image with its file, its worker, and how its kudos were divided."""

from __future__ import annotations

from collections.abc import Mapping

from rich.markup import escape

from horde.api.generation.v1.generation_pb2 import Generation, Image
from horde.api.job.v1.job_pb2 import Deviation, DeviationKind, JobEnding
from horde.cli.commands.output import Output, kudos
from horde.cli.commands.progress import state_text
from horde.cli.commands.quoting import placement_name
from horde.clients.statement import settlement_parts


def say_generation(out: Output, generation: Generation, files: Mapping[str, str]) -> None:
    """Every image, and what the ledger says about it."""
    for image in generation.images:
        _say_image(out, image, files.get(image.job_id))


def _say_image(out: Output, image: Image, file: str | None) -> None:
    where = file or ("withdrawn" if image.withdrawn else "")
    out.say(f"[bold]image {image.index}[/bold]    {escape(f'{state_text(image)}  {where}'.rstrip())}")
    if image.ending == JobEnding.JOB_ENDING_DONE:
        kept = f" until {image.expires_at.ToDatetime():%Y-%m-%d %H:%M} UTC" if image.HasField("expires_at") else ""
        out.say(f"  seed {image.seed}, by {escape(image.worker_name)}, {placement_name(image.placement)}{kept}")
    for deviation in image.deviations:
        out.say(f"  [yellow]not exactly as asked:[/yellow] {escape(_deviation(deviation))}")
    if image.HasField("settlement"):
        parts = ", ".join(
            f"{part.name.strip()} {kudos(part.mkudos)}{f' ({part.remark})' if part.remark else ''}"
            for part in settlement_parts(image.settlement)
        )
        out.say(f"  {parts or 'nothing was paid'}")
        out.say(f"  [dim]ledger event {image.settlement.event_id}[/dim]")


def _deviation(deviation: Deviation) -> str:
    kind = DeviationKind.Name(deviation.kind).removeprefix("DEVIATION_KIND_").lower()
    done = f", done {deviation.done}" if deviation.done else ""
    return f"{deviation.field} {kind}: asked {deviation.asked}{done}"
