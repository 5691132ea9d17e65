"""How much there is of an account."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Survey:
    """How much there is of an account; images that are done, and neither withdrawn nor expired."""

    generations: int = 0
    private_images: int = 0
    shared_images: int = 0
