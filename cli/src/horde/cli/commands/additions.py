"""Additions to a model as they are typed: `NAME`, `NAME=0.8`, `hf:owner/repository:file=0.8`, `civitai:12345`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from horde.cli.commands.values import TEXT, Real

if TYPE_CHECKING:
    from horde.api.job.v1.job_pb2 import Control, Lora, TextualInversion
    from horde.clients.client import HordeClient

MAX_STRENGTH: Final = 5
MAX_GUIDANCE: Final = 2
PREFIXES: Final = {"hf:": "ADDON_SOURCE_HUGGING_FACE", "civitai:": "ADDON_SOURCE_CIVITAI"}


class Addition(NamedTuple):
    """What it is called, by whom, and how strong it is to be; None: as its kind is without a word."""

    name: str
    source: str
    strength: float | None


class AdditionType(click.ParamType[Addition]):
    """A name with where it comes from before it and its strength behind it, if they are told."""

    name = "name[=strength]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Addition:
        """The parts. Whether there is such a thing is the mesh's to say."""
        if isinstance(value, Addition):
            return value
        name, rest, typed = TEXT.convert(value, param, ctx).partition("=")
        strength = Real(-MAX_STRENGTH, MAX_STRENGTH).convert(typed, param, ctx) if rest else None
        prefix = next((known for known in PREFIXES if name.startswith(known)), "")
        name = name.removeprefix(prefix)
        if not name:
            self.fail("must have a name, as NAME, NAME=0.8, hf:owner/repository:file or civitai:12345.", param, ctx)
        return Addition(name, PREFIXES.get(prefix, "ADDON_SOURCE_UNSPECIFIED"), strength)


ADDITION: Final = AdditionType()


class Guide(NamedTuple):
    """A picture whose structure guides, what makes a map of it, and how strictly it is followed."""

    path: Path
    type: str
    strength: float | None


class GuideType(click.ParamType[Guide]):
    """A file, with its type and its strength behind it, if they are told."""

    name = "file[=type[=strength]]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Guide:
        """The parts. Whether some worker can follow it is the mesh's to say."""
        if isinstance(value, Guide):
            return value
        file, _, rest = TEXT.convert(value, param, ctx).partition("=")
        kind, _, typed = rest.partition("=")
        path = click.Path(path_type=Path, exists=True, dir_okay=False).convert(file, param, ctx)
        strength = Real(0, MAX_GUIDANCE, above=True).convert(typed, param, ctx) if typed else None
        return Guide(path, kind, strength)


GUIDE: Final = GuideType()


async def controls(horde: HordeClient, guides: tuple[Guide, ...]) -> list[Control]:
    """In the contract's words; the pictures are put into storage."""
    from horde.api.job.v1.job_pb2 import Control

    found = []
    for path, kind, strength in guides:
        strengths: dict[str, Any] = {} if strength is None else {"strength": strength}
        image = await horde.images.put(await asyncio.to_thread(path.read_bytes))
        found.append(Control(image=image, type=kind, **strengths))
    return found


def loras(additions: tuple[Addition, ...]) -> list[Lora]:
    """In the contract's words; as strong as the author meant, if nothing is told."""
    from horde.api.job.v1.job_pb2 import AddonSource, Lora

    return [
        Lora(name=name, source=AddonSource.Value(source), strength=1.0 if strength is None else strength)
        for name, source, strength in additions
    ]


def embeddings(prompt: tuple[Addition, ...], negative: tuple[Addition, ...]) -> list[TextualInversion]:
    """In the contract's words: each put into its prompt."""
    from horde.api.job.v1.job_pb2 import AddonSource, TextualInversion, TextualInversionPlace

    found = []
    for place, additions in (("PROMPT", prompt), ("NEGATIVE_PROMPT", negative)):
        for name, source, strength in additions:
            strengths: dict[str, Any] = {} if strength is None else {"strength": strength}
            found.append(
                TextualInversion(
                    name=name,
                    source=AddonSource.Value(source),
                    place=TextualInversionPlace.Value(f"TEXTUAL_INVERSION_PLACE_{place}"),
                    **strengths,
                )
            )
    return found
