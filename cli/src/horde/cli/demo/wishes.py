"""What people ask for in `make demo-release`: images of all kinds, shared and private."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice, product
from typing import Final

from horde.api.job.v1.job_pb2 import Placement

MODEL_WORKER, SCRIPTED_WORKER = "model", "scripted"
MOST_OF_ONE: Final = 4
"""Test patterns of one prompt: a predictor is judged by prompts that it has not seen."""
OF_A_PROMPT: Final = 2
"""Pictures of one prompt by the model."""
COLOURS: Final = ("red", "blue", "yellow", "purple", "green", "pink", "cyan")
SHAPES: Final = ("star", "circle", "heart", "square", "ring", "cross", "diamond")
FIRST_PROMPTS, FIRST_ANONYMOUS, SECOND_PROMPTS = 26, 10, 8


@dataclass(frozen=True, slots=True)
class Wish:
    """Images of one kind, and who paints them."""

    who: str
    share: bool
    images: int
    painter: str
    prompt: str
    from_picture: bool = False
    seed: int | None = None

    @property
    def placement(self) -> Placement.ValueType:
        """By the table of sharing."""
        shared = not self.from_picture and (self.share or self.who == "anonymous")
        return Placement.PLACEMENT_SHARED if shared else Placement.PLACEMENT_PRIVATE


def first_wishes(patterns: int, examples: tuple[str, ...]) -> list[Wish]:
    """What is asked for before the first release; `patterns` is how many images a row of scripted ones has."""
    prompts = _prompts(examples)
    asked, anonymous = prompts[:FIRST_PROMPTS], prompts[FIRST_PROMPTS : FIRST_PROMPTS + FIRST_ANONYMOUS]
    return [
        *(Wish("account", True, OF_A_PROMPT, MODEL_WORKER, prompt, seed=100) for prompt in asked),
        *(Wish("anonymous", False, OF_A_PROMPT, MODEL_WORKER, prompt, seed=100) for prompt in anonymous),
        *_patterns("account", True, patterns, "test pattern, shared"),
        *_patterns("anonymous", False, patterns, "test pattern, anonymous"),
        *_patterns("account", False, patterns // 2, "test pattern, private"),
        Wish("account", True, 10, SCRIPTED_WORKER, "test pattern, from a picture", from_picture=True),
        Wish("anonymous", True, 10, SCRIPTED_WORKER, "test pattern, anonymous from a picture", from_picture=True),
        Wish("account", True, 3, SCRIPTED_WORKER, "a poster that says: write to anna@example.com"),
        Wish("account", True, 2, SCRIPTED_WORKER, "painted twice", seed=7),
        Wish("account", True, 2, SCRIPTED_WORKER, "painted twice", seed=7),
    ]


def second_wishes(patterns: int, examples: tuple[str, ...]) -> list[Wish]:
    """What is asked for after it."""
    prompts = _prompts(examples)[FIRST_PROMPTS + FIRST_ANONYMOUS :]
    return [
        *(Wish("account", True, OF_A_PROMPT, MODEL_WORKER, prompt, seed=100) for prompt in prompts),
        *_patterns("account", True, patterns, "test pattern, later"),
        *_patterns("account", False, patterns // 2, "test pattern, later, private"),
    ]


def _prompts(examples: tuple[str, ...]) -> list[str]:
    """The model's own examples, and what it paints well besides; no two alike."""
    drawn = [
        f"a {colour} {shape} on a {behind} background"
        for (colour, behind), shape in zip(
            ((one, other) for one, other in product(COLOURS, COLOURS) if one != other), cycle(SHAPES), strict=False
        )
    ]
    # From all colours alike, not the first first.
    mixed = [drawn[place * 11 % len(drawn)] for place in range(len(drawn))]
    unlike = dict.fromkeys([*examples, *mixed])
    return list(islice(unlike, FIRST_PROMPTS + FIRST_ANONYMOUS + SECOND_PROMPTS))


def _patterns(who: str, share: bool, images: int, prompt: str) -> list[Wish]:
    """As many wishes as it takes, each with words of its own."""
    return [
        Wish(who, share, min(MOST_OF_ONE, images - start), SCRIPTED_WORKER, f"{prompt}, {start}")
        for start in range(0, images, MOST_OF_ONE)
    ]
