"""`horde rate` and `horde ratings`: saying how beautiful shared images are, and learning from what was said."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.becoming import become
from horde.cli.commands.exits import Exit
from horde.cli.commands.groups import DefaultGroup
from horde.cli.commands.output import Output, kudos
from horde.cli.commands.values import WORD

if TYPE_CHECKING:
    from horde.api.rating.v1 import rating_service_pb2 as pb
    from horde.clients.client import HordeClient

SCORE: Final = click.IntRange(1, 10)
ARTIFACTS: Final = click.IntRange(0, 5)
ASKED: Final = "1 (worst) to 10 (best), then if you like damage 0 (none) to 5; s skips, q ends"
PASSES_THROUGH: Final = {
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True, "allow_interspersed_args": False},
    "options_metavar": "",
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("image", type=WORD, required=False)
@click.argument("score", type=SCORE, required=False)
@click.option("--artifacts", type=ARTIFACTS, help="How damaged it is, 0 (none) to 5 (nothing else).")
@click.option("--skip", type=WORD, metavar="IMAGE", help="Rather show another one than this.")
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), help="Write the image to this file.")
@click.option("--count", type=click.IntRange(1, 10_000), default=10_000, help="Stop after so many.", show_default=False)
@asks
async def rate(
    horde: HordeClient,
    out: Output,
    image: str | None,
    score: int | None,
    artifacts: int | None,
    skip: str | None,
    save: Path | None,
    count: int,
) -> Exit | None:
    """Rate shared images. With IMAGE and SCORE, 1 to 10, the one that you were shown; else one after the other.

    In a pipe, with --json or with --save, the next image is told (and saved), and nobody is asked.
    """
    if image is not None:
        if score is None:
            out.note("error: with IMAGE comes SCORE, 1 (worst) to 10 (best)")
            return Exit.USAGE
        answer = await horde.ratings.rate(image, score, artifacts=artifacts)
        out.document({"rating": answer.rating, "next": _without_ticket(answer.next)})
        _say(out, answer.rating)
        return None
    shown = await horde.ratings.next(skip=skip or "")
    if save is not None or out.as_json or not sys.stdin.isatty():
        await _tell(horde, out, shown, save)
        return None
    await _ask(horde, out, shown, count)
    return None


@click.group(cls=DefaultGroup, default="list", context_settings={"help_option_names": ["-h", "--help"]})
def ratings() -> None:
    """Your ratings, how they are taken, and what can be learnt from ratings. Without a further word: list."""


@ratings.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many to show.")
@asks
async def list_ratings(horde: HordeClient, out: Output, limit: int) -> None:
    """Your own, newest first."""
    found: list[pb.Rating] = []
    async for rating in horde.ratings.list(page_size=min(limit, 100)):
        found.append(rating)
        if len(found) >= limit:
            break
    out.document({"ratings": found})
    rows = []
    for rating in found:
        artifacts = str(rating.artifacts) if rating.HasField("artifacts") else ""
        at = f"{rating.rated_at.ToDatetime():%Y-%m-%d %H:%M}"
        rows.append((at, rating.image_id, str(rating.score), artifacts, kudos(rating.earned_mkudos)))
    out.table(("rated", "image", "score", "artifacts", "earned"), rows)


@ratings.command()
@asks
async def standing(horde: HordeClient, out: Output) -> None:
    """How your ratings are taken, what they earned today, and what is left."""
    standing = await horde.ratings.standing()
    out.document({"standing": standing})
    out.say(
        f"{standing.ratings} ratings, of which {standing.counted} count; "
        f"{standing.compared} of the last could be compared"
    )
    if standing.compared:
        out.say(f"agreement with what others say: {standing.agreement_percent} %")
    out.say(f"today: {kudos(standing.earned_today_mkudos)} kudos, {kudos(standing.left_today_mkudos)} left")
    if standing.why:
        out.say(standing.why)


@ratings.command("train", **PASSES_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="RELEASE... [OPTIONS]")
def train(arguments: tuple[str, ...]) -> None:
    """Fit a predictor to the ratings of data releases."""
    _predict("train", arguments)


@ratings.command("evaluate", **PASSES_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="FILE RELEASE... [OPTIONS]")
def evaluate(arguments: tuple[str, ...]) -> None:
    """Measure a predictor on images whose prompts it has not seen."""
    _predict("evaluate", arguments)


def _predict(command: str, arguments: tuple[str, ...]) -> None:
    if any(importlib.util.find_spec(name) is None for name in ("pyarrow", "torch", "safetensors")):
        click.echo("error: this needs more: pip install 'horde-mesh[predictor]'", err=True)
        sys.exit(Exit.USAGE)
    become("horde.data_releases.aesthetics", (command, *arguments))


async def _tell(horde: HordeClient, out: Output, shown: pb.RatableImage, save: Path | None) -> None:
    if save is not None:
        content = await horde.images.fetch_shown(shown.address, shown.ticket)
        await asyncio.to_thread(save.write_bytes, content)
    out.document({"image": _without_ticket(shown), "saved": str(save or "")})
    _say_image(out, shown)
    if save is None:
        out.note("Look at it: --save FILE. Then: horde rate IMAGE SCORE")


async def _ask(horde: HordeClient, out: Output, shown: pb.RatableImage, count: int) -> None:
    """One image after the other, until somebody has enough."""
    from horde.cli.commands.showing import show
    from horde.clients.errors import ObjectNotFound

    for _ in range(count):
        try:
            content = await horde.images.fetch_shown(shown.address, shown.ticket)
        except ObjectNotFound:
            out.note(f"{shown.image_id} was taken back a moment ago; another one:")
            shown = await horde.ratings.next(skip=shown.image_id)
            continue
        if not show(out, content, os.environ):
            path = Path(f"{shown.image_id}.webp")
            await asyncio.to_thread(path.write_bytes, content)
            out.say(f"saved as {path}")
        _say_image(out, shown)
        words = (await asyncio.to_thread(_read_line, out)).split()
        if words[:1] == ["q"]:
            return
        if words[:1] == ["s"]:
            shown = await horde.ratings.next(skip=shown.image_id)
            continue
        answer = await horde.ratings.rate(
            shown.image_id, int(words[0]), artifacts=int(words[1]) if len(words) > 1 else None
        )
        _say(out, answer.rating)
        if not answer.HasField("next"):
            out.say("There is nothing more to rate now.")
            return
        shown = answer.next


def _read_line(out: Output) -> str:
    """What was typed, once it makes sense; the end of the input is the end."""
    while True:
        try:
            line = input(f"{ASKED}: ").strip().lower()
        except EOFError:
            return "q"
        if is_answer(line):
            return line
        out.note(ASKED)


def is_answer(line: str) -> bool:
    """Whether this is a score, with or without artifacts, or a word that is known."""
    words = line.split()
    if words in (["s"], ["q"]):
        return True
    if not 1 <= len(words) <= 2 or not all(word.isascii() and word.isdigit() and len(word) <= 2 for word in words):
        return False
    return 1 <= int(words[0]) <= 10 and (len(words) == 1 or int(words[1]) <= 5)


def _say_image(out: Output, shown: pb.RatableImage) -> None:
    from rich.markup import escape

    out.say(f"{shown.image_id}  {shown.width}x{shown.height}  {escape(shown.prompt)}")
    if shown.reward_mkudos:
        out.note(f"earns up to {kudos(shown.reward_mkudos)} kudos")


def _say(out: Output, rating: pb.Rating) -> None:
    out.say(f"rated {rating.image_id}: {rating.score}; {kudos(rating.earned_mkudos)} kudos")


def _without_ticket(shown: pb.RatableImage) -> pb.RatableImage:
    """The ticket opens the image to whoever has it."""
    shown.ClearField("ticket")
    return shown
