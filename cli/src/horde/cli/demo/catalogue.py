"""What the model that comes along paints well, from its own catalogue entry. The worker's code is not loaded."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = "horde.worker_agent"
ENTRY: Final = Path("models", "paintbox", "catalogue.json")
FALLBACK: Final = (
    "a red star on a blue background",
    "mountains at sunset",
    "a sailboat on the sea",
    "a yellow heart on a purple background",
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the demo asks for its pictures."""

    prompts: Sequence[str]
    width: int = 128
    height: int = 128
    steps: int = 20
    guidance: float | None = None


def recipe_from(entry: dict[str, Any]) -> Recipe:
    """What an entry recommends; what it does not say is ours."""
    recommended = entry.get("recommended", {})
    prompts = tuple(str(prompt) for prompt in entry.get("examples", ()))
    # The demo asks for a handful: too few examples are filled up.
    missing = tuple(prompt for prompt in FALLBACK if prompt not in prompts)
    guidance = recommended.get("guidance")
    return Recipe(
        prompts=prompts if len(prompts) >= len(FALLBACK) else prompts + missing,
        width=int(recommended.get("width", 128)),
        height=int(recommended.get("height", 128)),
        steps=int(recommended.get("steps", 20)),
        guidance=float(guidance) if guidance is not None else None,
    )


def find_recipe() -> Recipe:
    """The recipe of the installed model, or one that any model can do."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / ENTRY
        if path.exists():
            return recipe_from(json.loads(path.read_text(encoding="utf-8")))
    return Recipe(FALLBACK)
