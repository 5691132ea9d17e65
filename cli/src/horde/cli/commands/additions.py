"""Additions to a model as they are typed: `NAME`, `NAME=0.8`, `hf:owner/repository:file=0.8`, `civitai:12345`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from horde.cli.commands.values import TEXT, Real

if TYPE_CHECKING:
    from horde.api.job.v1.job_pb2 import Lora, TextualInversion

MAX_STRENGTH: Final = 5
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
