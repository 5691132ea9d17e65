"""Training latents without drawing: parts are drawn once as thumbnails, and every batch is composed anew from them.

A box average is linear, so laying an averaged object over an averaged ground gives what averaging the finished
picture would give. A batch then costs next to nothing, and no two are the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import torch

from .outlines import fill_outline
from .parts import LATENT_STD
from .scenery import draw_place
from .scenes import Geometry, Pixels, draw_colour, paste_art, place_thing
from .words import OBJECTS, PLACES, SHAPES, TIMES, TINTS, Spec


@dataclass(frozen=True, slots=True)
class Variety:
    """How many variants of each part are drawn."""

    shapes: int = 160
    art: int = 20
    placed_art: int = 40
    places: int = 70

    def scaled(self, factor: float) -> Variety:
        """Fewer variants of everything."""
        return Variety(*(max(4, round(n * factor)) for n in (self.shapes, self.art, self.placed_art, self.places)))


class Thumbnails:
    """All parts for one canvas, whose width and height are given in latent cells."""

    def __init__(self, width: int, height: int, variety: Variety, seed: int) -> None:
        rng = random.Random(seed)
        self.width, self.height = width, height
        # Eight drawn pixels a cell as in a real picture; half of that is enough where cells are many.
        self._cell = 8 if width * height <= 600 else 4
        plain, placed = Spec(thing="star"), Spec(thing="star", place="sea")
        self._shapes = {
            shape: torch.stack(
                [self._average(self._mask(shape, place_thing(plain, rng))) for _ in range(variety.shapes)]
            )
            for shape in SHAPES
        }
        self._art = {
            (name, tint): self._draw_art(name, tint, plain, variety.art, rng)
            for name in OBJECTS
            for tint in ("", *TINTS)
        }
        self._placed = {name: self._draw_art(name, "", placed, variety.placed_art, rng) for name in OBJECTS}
        self._places = {
            (place, time): self._draw_places(place, time, variety.places, rng)
            for place in PLACES
            for time in (("",) if place == "space" else TIMES)
        }

    def compose(self, specs: list[Spec], rng: random.Random) -> torch.Tensor:
        """Latents for these pictures, each with a shade, size and position of its own."""
        batch = torch.zeros(len(specs), 4, self.height, self.width)
        for index, spec in enumerate(specs):
            if spec.place:
                ground = rng.choice(self._places[spec.place, spec.time])
            else:
                ground = torch.from_numpy(draw_colour(spec.ground or "white", rng))[:, None, None].expand(
                    3, self.height, self.width
                )
            if spec.is_shape:
                cover = rng.choice(self._shapes[spec.thing])
                colour = torch.from_numpy(draw_colour(spec.colour, rng))[:, None, None]
                ground = ground * (1 - cover) + colour * cover
            elif spec.thing:
                layer = rng.choice(self._placed[spec.thing] if spec.place else self._art[spec.thing, spec.colour])
                ground = ground * (1 - layer[3:]) + layer[:3]
            batch[index, :3] = (ground * 2 - 1) / LATENT_STD
        return batch

    def _mask(self, shape: str, at: Geometry) -> Pixels:
        width, height = self.width * self._cell, self.height * self._cell
        centre, radius = (at.x * width, at.y * height), at.size * min(width, height) / 2
        return fill_outline(shape, width, height, centre, radius)[..., None]

    def _draw_art(self, name: str, tint: str, where: Spec, count: int, rng: random.Random) -> torch.Tensor:
        width, height = self.width * self._cell, self.height * self._cell
        spec = replace(where, thing=name)
        return torch.stack(
            [self._average(paste_art(name, tint, width, height, place_thing(spec, rng))) for _ in range(count)]
        )

    def _draw_places(self, place: str, time: str, count: int, rng: random.Random) -> torch.Tensor:
        width, height = self.width * self._cell, self.height * self._cell
        return torch.stack([self._average(draw_place(place, time, width, height, rng)) for _ in range(count)])

    def _average(self, pixels: Pixels) -> torch.Tensor:
        rows = pixels.reshape(self.height, self._cell, self.width, self._cell, -1).mean(axis=(1, 3))
        return torch.from_numpy(np.ascontiguousarray(rows.transpose(2, 0, 1), dtype=np.float32))
