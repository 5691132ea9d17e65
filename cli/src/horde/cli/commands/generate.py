"""`horde generate`: ask for pictures, watch them being painted, and keep them."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.exits import HELP, Exit
from horde.cli.commands.kudos import Amount
from horde.cli.commands.output import Output, kudos
from horde.clients.specs import DEFAULT_MODEL, DEFAULT_SIZE, DEFAULT_STEPS

if TYPE_CHECKING:
    from horde.api.generation.v1.generation_pb2 import Generation, GenerationSpec, Image
    from horde.clients.client import HordeClient
    from horde.clients.session import GenerationSession

# As in the contract; `tests/unit/clients` compares them.
SAMPLERS = (
    "ddim euler euler_ancestral heun dpm2 dpm2_ancestral dpmpp_2m unipc ddpm deis lcm".split()  # noqa: SIM905
)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(epilog=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("prompt")
@click.option("--share", is_flag=True, help="Give the images to research. Costs less tax.")
@click.option("-n", "--n", "count", default=1, show_default=True, help="How many images; each has its own seed.")
@click.option("--width", default=DEFAULT_SIZE, show_default=True, help="Pixels, a multiple of 8.")
@click.option("--height", default=DEFAULT_SIZE, show_default=True, help="Pixels, a multiple of 8.")
@click.option("--steps", default=DEFAULT_STEPS, show_default=True, help="More take longer and cost more.")
@click.option("--seed", type=int, help="The same seed paints the same image. Default: drawn.")
@click.option("--negative", default="", help="What to stay away from.")
@click.option("--image", type=FILE, help="Begin with this picture. Such images are never shared.")
@click.option("--mask", type=FILE, help="Paint anew where this picture is white. Needs --image.")
@click.option("--strength", type=float, help="How far to leave --image, above 0 to 1.")
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="See `horde models`.")
@click.option("--sampler", type=click.Choice(SAMPLERS), help="Default: the model's own.")
@click.option("--karras", is_flag=True, help="Use Karras' noise schedule.")
@click.option("--guidance", type=float, help="How close to keep to the prompt, 0 to 30. Default: the model's own.")
@click.option("--clip-skip", default=0, help="Layers of the text encoder to leave out.")
@click.option("--fast", is_flag=True, help="Only workers at least as fast as the median. Costs 20 % more.")
@click.option("--ttl", type=float, help="Seconds until it is given up. Default: 20 minutes.")
@click.option("--keep", type=float, help="Hours to keep private images. Default: 24.")
@click.option("--request-id", help="A UUID of your own: the same one again is the same generation.")
@click.option("--max-price", type=Amount(), metavar="KUDOS", help="Refuse if it would cost more in all.")
@click.option("--dry-run", is_flag=True, help="Say what it would cost and where it would go, and stop.")
@click.option("--preview/--no-preview", default=True, help="Show glimpses while it is painted.")
@click.option(
    "--out",
    "folder",
    default=Path(),
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the images. Default: here.",
)
@asks
async def generate(
    horde: HordeClient,
    out: Output,
    *,
    dry_run: bool,
    preview: bool,
    folder: Path,
    max_price: int | None,
    request_id: str | None,
    **asked: Any,
) -> Exit:
    """Ask for pictures of PROMPT, watch them being painted, and save them."""
    from horde.cli.commands.quoting import say_quote

    spec = await _spec(horde, **asked)
    quote = await horde.generations.quote(spec)
    say_quote(out, quote, spec.count)
    if dry_run:
        out.document({"quote": quote})
        if max_price is not None and quote.total_mkudos > max_price:
            out.note("that is more than --max-price")
            return Exit.KUDOS
        return Exit.OK
    session = horde.generation(spec, request_id=request_id, max_total_mkudos=max_price)
    async with session:
        painting = _Painting(session, out, folder)
        await painting.run(steps=spec.job.image.steps, previews=preview and not out.as_json)
    painting.report()
    return painting.status()


async def _spec(
    horde: HordeClient,
    *,
    prompt: str,
    image: Path | None,
    mask: Path | None,
    sampler: str | None,
    ttl: float | None,
    keep: float | None,
    **asked: Any,
) -> GenerationSpec:
    from datetime import timedelta

    from horde.api.job.v1.job_pb2 import NoiseSchedule, Sampler
    from horde.clients.specs import generation_spec

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
        sampler=Sampler.Value(f"SAMPLER_{sampler.upper()}") if sampler else Sampler.SAMPLER_UNSPECIFIED,
        schedule=NoiseSchedule.NOISE_SCHEDULE_KARRAS if asked["karras"] else NoiseSchedule.NOISE_SCHEDULE_UNSPECIFIED,
        clip_skip=asked["clip_skip"],
        source_image=await horde.images.put(await asyncio.to_thread(image.read_bytes)) if image else None,
        mask=await horde.images.put(await asyncio.to_thread(mask.read_bytes)) if mask else None,
        denoising_strength=asked["strength"],
        fast_workers_only=asked["fast"],
        time_to_live=timedelta(seconds=ttl) if ttl is not None else None,
        keep_for=timedelta(hours=keep) if keep is not None else None,
    )


class _Painting:
    """One generation on its way to files."""

    def __init__(self, session: GenerationSession, out: Output, folder: Path) -> None:
        self._session = session
        self._out = out
        self._folder = folder
        self._saving: dict[str, asyncio.Task[Path]] = {}
        self._interrupted = False
        self._cancelling: asyncio.Task[Generation] | None = None

    async def run(self, *, steps: int, previews: bool) -> None:
        """Watch to the end; images are saved as they are done. Ctrl-C cancels what is not, and still keeps the rest."""
        from horde.cli.commands.progress import screen_for
        from horde.clients.watching import Finished, ImageChanged, Snapshot

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            with screen_for(self._out.console(err=True), steps, silent=self._out.as_json) as screen:
                async for event in self._session.watch(previews=previews):
                    screen.show(event)
                    match event:
                        case Snapshot(generation) | Finished(generation):
                            for image in generation.images:
                                self._save(image)
                        case ImageChanged(image):
                            self._save(image)
                        case _:
                            pass
            await asyncio.gather(*self._saving.values())
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            for task in self._saving.values():
                task.cancel()

    def _interrupt(self) -> None:
        if self._interrupted:
            # Twice: leave at once. The session says cancel on its way out.
            raise KeyboardInterrupt
        self._interrupted = True
        self._cancelling = asyncio.ensure_future(self._session.cancel())
        self._out.note("cancelling; finished images are kept (Ctrl-C again to leave at once)")

    def _save(self, image: Image) -> None:
        from horde.api.job.v1.job_pb2 import JobEnding

        if image.ending == JobEnding.JOB_ENDING_DONE and not image.withdrawn and image.job_id not in self._saving:
            self._saving[image.job_id] = asyncio.ensure_future(self._write(image))

    async def _write(self, image: Image) -> Path:
        from horde.clients.images import suffix_of

        content = await self._session.fetch(image)
        name = f"{self._session.generation.generation_id[:8]}-{image.index}{suffix_of(image)}"
        path = self._folder / name

        def write() -> None:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

        await asyncio.to_thread(write)
        return path

    def report(self) -> None:
        """Where each image is, what it cost, and by which entry of the ledger."""
        from horde.cli.commands.reporting import say_generation

        generation = self._session.generation
        files = {job_id: str(task.result()) for job_id, task in self._saving.items()}
        self._out.document({"generation": generation, "files": files})
        say_generation(self._out, generation, files)
        charged = sum(image.settlement.charged_mkudos for image in generation.images)
        self._out.say(f"charged    [bold]{kudos(charged)} kudos[/bold]  generation {generation.generation_id}")

    def status(self) -> Exit:
        """How it ended, for scripts."""
        if self._interrupted:
            return Exit.CANCELLED
        return Exit.OK if len(self._saving) == len(self._session.generation.images) else Exit.INCOMPLETE
