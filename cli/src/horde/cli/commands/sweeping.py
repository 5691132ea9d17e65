"""`horde sweep`: many pictures from a file of prompts, and on from where it was left.

Nothing is kept but the pictures: the request id of each combination follows from what is asked for, so that the same
command asks for the same, and the mesh paints and charges it once.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from horde.cli.commands.asking import asks, metadata_option
from horde.cli.commands.exits import HELP, Exit
from horde.cli.commands.output import Output, kudos
from horde.cli.commands.values import AMOUNT, MAX_INT63, TEXT
from horde.clients.specs import DEFAULT_MODEL, DEFAULT_SIZE, DEFAULT_STEPS

if TYPE_CHECKING:
    from horde.api.generation.v1.generation_pb2 import GenerationSpec
    from horde.clients.client import HordeClient

NAMESPACE: Final = uuid.UUID("d1f9b6c2-6a35-5d0b-8d53-2c8f6f0f4f5e")
MAX_PICTURES: Final = 10_000
"""Of one sweep: more is more likely a mistake than a wish."""


class Seeds(click.ParamType[tuple[int, ...]]):
    """Seeds: `7`, `1,2,3`, `1-8`."""

    name = "seeds"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """In their order."""
        seeds: list[int] = []
        try:
            for part in str(value).split(","):
                first, dash, last = part.strip().partition("-")
                begin, end = int(first), int(last if dash else first)
                if not 0 <= begin <= end <= MAX_INT63 or end - begin >= MAX_PICTURES:
                    raise ValueError
                seeds += range(begin, end + 1)
        except ValueError:
            self.fail(f"{str(value)[:64]!r} are no seeds: as 7, 1,2,3 or 1-8.", param, ctx)
        return tuple(seeds)


class Size(click.ParamType[tuple[int, int]]):
    """A size in pixels: `512x768`."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Width and height."""
        if isinstance(value, tuple):
            return value
        width, _, height = str(value).lower().partition("x")
        if not (
            width.isascii() and height.isascii() and width.isdigit() and height.isdigit() and len(width + height) < 10
        ):
            self.fail(f"{str(value)[:64]!r} is no size: as 512x768.", param, ctx)
        return int(width), int(height)


@dataclass(frozen=True, slots=True)
class Wish:
    """One picture of a sweep."""

    prompt: str
    model: str
    size: tuple[int, int]
    steps: int
    seed: int
    share: bool

    def request_id(self, run: str) -> str:
        """The same for the same picture of the same run."""
        words = [run, self.prompt, self.model, *self.size, self.steps, self.seed, self.share]
        return str(uuid.uuid5(NAMESPACE, json.dumps(words)))

    def spec(self) -> GenerationSpec:
        from horde.clients.specs import generation_spec

        width, height = self.size
        return generation_spec(
            self.prompt,
            model=self.model,
            width=width,
            height=height,
            steps=self.steps,
            seed=self.seed,
            share=self.share,
        )


def wishes(
    text: str, seeds: Sequence[int], models: Sequence[str], sizes: Sequence[tuple[int, int]], steps: int, share: bool
) -> list[Wish]:
    """Every combination, prompt by prompt. Empty lines and those that begin with # are no prompts."""
    lines = (line.strip() for line in text.splitlines())
    prompts = dict.fromkeys(line for line in lines if line and not line.startswith("#"))
    combined = product(prompts, models, sizes, seeds)
    return [Wish(prompt, model, size, steps, seed, share) for prompt, model, size, seed in combined]


@click.command(epilog=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("prompts", type=click.File(encoding="utf-8"))
@click.option("--seeds", type=Seeds(), default="0", show_default=True, help="Every one of these: 7, 1,2,3 or 1-8.")
@click.option("--model", "models", type=TEXT, multiple=True, default=(DEFAULT_MODEL,), help="Repeatable.")
@click.option(
    "--size", "sizes", type=Size(), multiple=True, default=((DEFAULT_SIZE, DEFAULT_SIZE),), help="512x768. Repeatable."
)
@click.option("--steps", type=click.IntRange(1, 500), default=DEFAULT_STEPS, show_default=True, help="Of each picture.")
@click.option("--share", is_flag=True, help="Give the images to research: see `horde consent`. Costs less tax.")
@click.option("--max-price", type=AMOUNT, metavar="KUDOS", help="Refuse a picture that would cost more.")
@click.option(
    "--at-once", type=click.IntRange(1, 32), default=4, show_default=True, help="How many are asked for at once."
)
@click.option("--run", type=TEXT, default="", help="A name: the same sweep under another name is painted anew.")
@click.option("--dry-run", is_flag=True, help="Say what all of it would cost, and stop.")
@click.option(
    "--out",
    "folder",
    default=Path(),
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the images. Default: here.",
)
@metadata_option
@asks
async def sweep(
    horde: HordeClient,
    out: Output,
    *,
    prompts: Any,
    seeds: tuple[int, ...],
    models: tuple[str, ...],
    sizes: tuple[tuple[int, int], ...],
    steps: int,
    share: bool,
    max_price: int | None,
    at_once: int,
    run: str,
    dry_run: bool,
    folder: Path,
    metadata: bool,
) -> Exit:
    """Paint every combination of PROMPTS (a file, a prompt a line; - is standard input), seeds, models and sizes.

    The same command goes on where it was left: what is saved is not asked for, and what was asked for is painted and
    paid once. After Ctrl-C what is being painted goes on, and the next time it is fetched.
    """
    from rich.markup import escape

    from horde.cli.commands.consent import show_before_sharing
    from horde.cli.commands.painting import try_place

    try:
        wanted = wishes(prompts.read(), seeds, models, sizes, steps, share)
    except UnicodeDecodeError:
        raise click.UsageError("PROMPTS is not text in UTF-8.") from None
    if not wanted or len(wanted) > MAX_PICTURES:
        raise click.UsageError(f"That is {len(wanted)} pictures: 1 to {MAX_PICTURES} are painted in a sweep.")
    await asyncio.to_thread(try_place, folder)
    left = [wish for wish in wanted if not saved(folder, wish.request_id(run))]
    out.note(f"{len(wanted)} pictures, {len(wanted) - len(left)} of them saved before")
    if dry_run:
        return await _priced(horde, out, left)
    if left:
        await show_before_sharing(horde, out, await horde.generations.quote(left[0].spec()))
    work = Sweep(horde, out, folder, run, max_price, iter(left), metadata)
    await asyncio.gather(*(work.work() for _ in range(at_once)))
    files = {wish.request_id(run): str(path) for wish in wanted if (path := saved(folder, wish.request_id(run)))}
    out.document({"pictures": len(wanted), "files": files, "missing": work.missing})
    if work.fatal is not None:
        raise work.fatal
    out.say(escape(f"{len(files)} of {len(wanted)} are in {folder}"))
    return Exit.OK if len(files) == len(wanted) else Exit.INCOMPLETE


def saved(folder: Path, request_id: str) -> Path | None:
    """The file of a picture that was saved before."""
    return next((path for path in folder.glob(f"{request_id}.*") if path.suffix != ".part"), None)


async def _priced(horde: HordeClient, out: Output, left: Sequence[Wish]) -> Exit:
    """What the rest would cost. A price follows from model, size and steps, so one of each is asked about."""
    prices: dict[object, int] = {}
    for wish in left:
        kind = (wish.model, wish.size)
        if kind not in prices:
            prices[kind] = (await horde.generations.quote(wish.spec())).total_mkudos
    total = sum(prices[wish.model, wish.size] for wish in left)
    out.document({"pictures": len(left), "total_mkudos": total})
    out.say(f"{len(left)} pictures would cost {kudos(total)} kudos in all")
    return Exit.OK


@dataclass(slots=True)
class Sweep:
    """What several workers take from one list."""

    horde: HordeClient
    out: Output
    folder: Path
    run: str
    max_price: int | None
    left: Iterator[Wish]
    metadata: bool
    missing: dict[str, str] = field(default_factory=dict)
    """Why there is no picture, by request id."""
    fatal: Exception | None = None
    """What would stop every further picture as well."""

    async def work(self) -> None:
        """Paint what is left, one after the other."""
        from rich.markup import escape

        from horde.clients.errors import BudgetSpent, InsufficientKudos, ServiceError, Unauthenticated, Unavailable

        for wish in self.left:
            if self.fatal is not None:
                return
            request_id = wish.request_id(self.run)
            try:
                why = await self._paint(wish, request_id)
            except (InsufficientKudos, BudgetSpent, Unauthenticated, Unavailable) as error:
                self.fatal, why = error, error.message
            except ServiceError as error:
                why = str(error)
            if why:
                self.missing[request_id] = why
                self.out.note(escape(f"{wish.prompt[:60]}, seed {wish.seed}: {why}"))

    async def _paint(self, wish: Wish, request_id: str) -> str:
        """Why there is no picture; nothing if there is one."""
        from rich.markup import escape

        from horde.api.job.v1.job_pb2 import JobEnding
        from horde.cli.commands.inscribing import inscribed
        from horde.clients.images import suffix_of

        asking = self.horde.generation(
            wish.spec(), request_id=request_id, max_total_mkudos=self.max_price, cancels=False
        )
        async with asking as session:
            (image,) = (await session.finish()).images
            if image.ending != JobEnding.JOB_ENDING_DONE:
                ending = JobEnding.Name(image.ending).removeprefix("JOB_ENDING_").lower()
                return f"it ended {ending}; another --run asks for it anew"
            content = await session.fetch(image)
            if self.metadata:
                content = inscribed(content, session.generation, image)
        path = self.folder / f"{request_id}{suffix_of(image)}"
        # Whole or not at all: a file that is there is not asked for again.
        part = path.with_suffix(".part")
        await asyncio.to_thread(part.write_bytes, content)
        await asyncio.to_thread(part.replace, path)
        width, height = wish.size
        self.out.say(escape(f"{path}  {wish.prompt[:60]}, {wish.model}, {width}x{height}, seed {wish.seed}"))
        return ""
