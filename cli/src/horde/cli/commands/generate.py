"""`horde generate`: ask for pictures, watch them being painted, and keep them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from horde.cli.commands.additions import ADDITION, GUIDE
from horde.cli.commands.asking import asks, metadata_option
from horde.cli.commands.exits import HELP, Exit
from horde.cli.commands.output import Output
from horde.cli.commands.values import AMOUNT, MAX_INT63, TEXT, Real, Span
from horde.clients.specs import DEFAULT_MODEL, DEFAULT_SIZE, DEFAULT_STEPS

if TYPE_CHECKING:
    from horde.api.generation.v1.generation_pb2 import GenerationSpec, Quote
    from horde.clients.client import HordeClient

# As in the contract; `tests/unit/cli` compares them, and every bound below.
SAMPLERS = (
    "ddim euler euler_ancestral heun dpm2 dpm2_ancestral dpmpp_2m unipc ddpm deis lcm".split()  # noqa: SIM905
)
SCHEDULES = "trained karras exponential beta sgm_uniform simple".split()  # noqa: SIM905
POST_PROCESSORS = ("upscale_2x", "upscale_4x", "face_repair", "strip_background")
RESIZE_MODES = ("fit", "fill", "stretch")
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
SIDE = click.IntRange(64, 4096)


@click.command(epilog=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("prompt", type=TEXT)
@click.option("--share", is_flag=True, help="Give the images to research: see `horde consent`. Costs less tax.")
@click.option(
    "-n", "--n", "count", default=1, show_default=True, type=click.IntRange(1, 20), help="How many, each with its seed."
)
@click.option("--width", default=DEFAULT_SIZE, show_default=True, type=SIDE, help="Pixels, a multiple of 8.")
@click.option("--height", default=DEFAULT_SIZE, show_default=True, type=SIDE, help="Pixels, a multiple of 8.")
@click.option(
    "--steps",
    default=DEFAULT_STEPS,
    show_default=True,
    type=click.IntRange(1, 500),
    help="More take longer and cost more.",
)
@click.option("--seed", type=click.IntRange(0, MAX_INT63), help="The same seed paints the same image. Default: drawn.")
@click.option("--negative", type=TEXT, default="", help="What to stay away from.")
@click.option("--image", type=FILE, help="Begin with this picture. Such images are never shared.")
@click.option("--mask", type=FILE, help="Paint anew where this picture is white. Needs --image.")
@click.option("--invert-mask", is_flag=True, help="Paint anew where --mask is black instead.")
@click.option(
    "--resize", type=click.Choice(RESIZE_MODES), help="How --image of another shape is made to fit. Default: fill."
)
@click.option("--strength", type=Real(0, 1, above=True), help="How far to leave --image, above 0 to 1.")
@click.option("--model", type=TEXT, default=DEFAULT_MODEL, show_default=True, help="See `horde models`.")
@click.option("--wait-for-model", is_flag=True, help="Take --model as it is, though nobody here paints with it now.")
@click.option("--sampler", type=click.Choice(SAMPLERS), help="Default: the model's own.")
@click.option("--schedule", type=click.Choice(SCHEDULES), help="How noise goes down. Default: the model's own.")
@click.option(
    "--guidance", type=Real(0, 30), help="How close to keep to the prompt, 0 to 30. Default: the model's own."
)
@click.option("--clip-skip", default=0, type=click.IntRange(0, 12), help="Layers of the text encoder to leave out.")
@click.option("--tiling", is_flag=True, help="Let the edges fit each other, as tiles do.")
@click.option("--hires", is_flag=True, help="Paint small first and then larger: large pictures stay of one piece.")
@click.option(
    "--hires-strength", type=Real(0, 1, above=True), help="How far the larger leaves the small. Default: 0.65."
)
@click.option("--lora", type=ADDITION, multiple=True, help="A small addition to the model: NAME, NAME=0.8. Repeatable.")
@click.option("--embedding", type=ADDITION, multiple=True, help="A word to teach, put into the prompt. Repeatable.")
@click.option("--negative-embedding", type=ADDITION, multiple=True, help="The same for --negative. Repeatable.")
@click.option(
    "--control", type=GUIDE, multiple=True, help="A picture whose structure guides: FILE, FILE=TYPE, FILE=TYPE=0.8."
)
@click.option(
    "--post-process",
    type=click.Choice(POST_PROCESSORS),
    multiple=True,
    help="What is done to the finished picture. Repeatable, in order.",
)
@click.option("--fast", is_flag=True, help="Only workers at least as fast as the median. Costs 20 % more.")
@click.option(
    "--ttl",
    type=Span("s", timedelta(seconds=1), timedelta(days=1)),
    help="When to give up: 90s, 20m, 2h; a number is seconds. Default: 20 minutes.",
)
@click.option(
    "--keep",
    type=Span("h", timedelta(minutes=1), timedelta(days=30)),
    help="How long private images are kept: 20m, 2h, 7d; a number is hours. Default: 24.",
)
@click.option("--request-id", type=click.UUID, help="Of your own: the same one again is the same generation.")
@click.option("--max-price", type=AMOUNT, metavar="KUDOS", help="Refuse if it would cost more in all.")
@click.option("--dry-run", is_flag=True, help="Say what it would cost and where it would go, and stop.")
@click.option("--wait/--no-wait", default=True, help="Without waiting: print the id, and `horde watch` it later.")
@click.option("--preview/--no-preview", default=True, help="Show glimpses once they show something.")
@click.option(
    "--out",
    "folder",
    default=Path(),
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the images. Default: here.",
)
@metadata_option
@asks
async def generate(
    horde: HordeClient,
    out: Output,
    *,
    dry_run: bool,
    wait: bool,
    preview: bool,
    folder: Path,
    metadata: bool,
    max_price: int | None,
    request_id: object | None,
    **asked: Any,
) -> Exit:
    """Ask for pictures of PROMPT, watch them being painted, and save them.

    The first line is the id of the generation: with it, or its first digits, `horde watch` and `horde fetch` go on
    from anywhere, whatever happens to this command.
    """
    from horde.cli.commands.affording import ways_out
    from horde.cli.commands.consent import show_before_sharing
    from horde.cli.commands.painting import Painting, begun, try_place
    from horde.cli.commands.quoting import say_quote
    from horde.clients.errors import InsufficientKudos, PriceAboveMaximum
    from horde.clients.specs import new_request_id

    if not dry_run:
        await asyncio.to_thread(try_place, folder)
    spec = await _spec(horde, **asked)
    quote = await horde.generations.quote(spec)
    if dry_run:
        return _only_quoted(out, quote, spec, max_price)
    await show_before_sharing(horde, out, quote)
    named = str(request_id or new_request_id())
    out.known["request_id"] = named
    out.resume = (f"the same command with --request-id {named} asks again, and is painted and paid once",)
    try:
        session = horde.generation(spec, request_id=named, max_total_mkudos=max_price, cancels=False)
        async with session:
            begun(out, session.generation.generation_id)
            say_quote(out, quote, spec)
            if wait:
                painting = Painting(session, out, folder, cancels=True, metadata=metadata)
                return await painting.run(previews=preview and not out.as_json)
            out.document({"generation": session.generation, "files": {}, **out.known})
            out.say(f"horde watch {session.generation.generation_id[:8]} follows it")
            return Exit.OK
    except (InsufficientKudos, PriceAboveMaximum) as refused:
        # Nothing was begun that could go on.
        out.resume = ()
        if isinstance(refused, InsufficientKudos):
            out.resume = await ways_out(horde, spec, quote, refused)
        raise


def _only_quoted(out: Output, quote: Quote, spec: GenerationSpec, max_price: int | None) -> Exit:
    from horde.cli.commands.quoting import say_quote

    say_quote(out, quote, spec)
    out.document({"quote": quote})
    if max_price is not None and quote.total_mkudos > max_price:
        out.note("that is more than --max-price")
        return Exit.KUDOS
    return Exit.OK


async def _spec(
    horde: HordeClient,
    *,
    prompt: str,
    image: Path | None,
    mask: Path | None,
    sampler: str | None,
    schedule: str | None,
    resize: str | None,
    ttl: timedelta | None,
    keep: timedelta | None,
    **asked: Any,
) -> GenerationSpec:
    from horde.api.job.v1.job_pb2 import HiresFix, NoiseSchedule, PostProcessor, ResizeMode, Sampler
    from horde.cli.commands.additions import controls, embeddings, loras
    from horde.clients.specs import generation_spec

    hires = asked["hires"] or asked["hires_strength"] is not None
    return generation_spec(
        prompt,
        model=asked["model"],
        count=asked["count"],
        share=asked["share"],
        negative_prompt=asked["negative"],
        width=asked["width"],
        height=asked["height"],
        steps=asked["steps"],
        seed=asked["seed"],
        guidance_scale=asked["guidance"],
        sampler=Sampler.Value(f"SAMPLER_{(sampler or 'unspecified').upper()}"),
        schedule=NoiseSchedule.Value(f"NOISE_SCHEDULE_{(schedule or 'unspecified').upper()}"),
        invert_mask=asked["invert_mask"],
        resize_mode=ResizeMode.Value(f"RESIZE_MODE_{(resize or 'unspecified').upper()}"),
        tiling=asked["tiling"],
        clip_skip=asked["clip_skip"],
        hires_fix=HiresFix(denoising_strength=asked["hires_strength"]) if hires else None,
        loras=loras(asked["lora"]),
        textual_inversions=embeddings(asked["embedding"], asked["negative_embedding"]),
        source_image=await horde.images.put(await asyncio.to_thread(image.read_bytes)) if image else None,
        mask=await horde.images.put(await asyncio.to_thread(mask.read_bytes)) if mask else None,
        controls=await controls(horde, asked["control"]),
        post_processors=[PostProcessor.Value(f"POST_PROCESSOR_{name.upper()}") for name in asked["post_process"]],
        denoising_strength=asked["strength"],
        fast_workers_only=asked["fast"],
        time_to_live=ttl,
        keep_for=keep,
        wait_for_model=asked["wait_for_model"],
    )
