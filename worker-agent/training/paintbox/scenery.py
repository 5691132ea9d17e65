"""Landscapes: nine places at three times of day, drawn in fractions of the canvas so that any size shows the same."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Colour = tuple[float, float, float]
Pixels = npt.NDArray[np.float32]

_SKIES: dict[str, tuple[Colour, Colour]] = {
    "day": ((95, 175, 240), (200, 232, 252)),
    "sunset": ((105, 60, 140), (255, 160, 80)),
    "night": ((8, 12, 42), (32, 44, 98)),
    "space": ((8, 6, 24), (26, 14, 52)),
}
_GROUNDS: dict[str, Colour] = {
    "mountains": (110, 165, 90),
    "beach": (240, 215, 150),
    "sea": (30, 105, 190),
    "forest": (75, 150, 70),
    "desert": (232, 180, 100),
    "city": (120, 122, 130),
    "meadow": (110, 195, 80),
    "snow": (240, 245, 252),
}


def draw_place(place: str, time: str, width: int, height: int, rng: random.Random, supersample: int = 1) -> Pixels:
    """Draw a landscape as RGB values from 0 to 1."""
    w, h = width * supersample, height * supersample
    light = "space" if place == "space" else time or "day"
    top, bottom = _SKIES[light]
    shift = [rng.uniform(-8, 8) for _ in range(3)]
    ramp = np.linspace(0.0, 1.0, h, dtype=np.float32)[:, None, None] ** 0.9
    sky = (1 - ramp) * (np.array(top) + shift) + ramp * (np.array(bottom) + shift)
    image = Image.fromarray(np.broadcast_to(np.clip(sky, 0, 255), (h, w, 3)).astype(np.uint8))
    painter = _Painter(ImageDraw.Draw(image), w, h, light, rng)
    painter.sky()
    if place == "space":
        painter.planet()
    else:
        getattr(painter, place)()
    if supersample > 1:
        image = image.reduce(supersample)
    return np.asarray(image, dtype=np.float32) / 255.0


class _Painter:
    """Draws the parts of one landscape onto one canvas."""

    def __init__(self, draw: ImageDraw.ImageDraw, w: int, h: int, light: str, rng: random.Random) -> None:
        self.draw, self.w, self.h, self.light, self.rng = draw, w, h, light, rng
        self.short = min(w, h)

    def lit(self, colour: Colour, jitter: float = 8) -> tuple[int, int, int]:
        """The colour under this light: warm and darker at sunset, blue and dark at night."""
        factor = {"day": (1, 1, 1), "sunset": (0.78, 0.55, 0.55), "night": (0.24, 0.28, 0.46), "space": (1, 1, 1)}[
            self.light
        ]
        shift = self.rng.uniform(-jitter, jitter)
        return tuple(int(np.clip((c + shift) * f, 0, 255)) for c, f in zip(colour, factor, strict=True))  # type: ignore[return-value]

    def disc(self, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
        """A circle: x and y in fractions of the canvas, radius of its short side, so that it stays round."""
        r, cx, cy = radius * self.short, x * self.w, y * self.h
        self.draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=colour)

    def shape(self, points: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
        """A polygon in fractions of the canvas."""
        self.draw.polygon([(x * self.w, y * self.h) for x, y in points], fill=colour)

    def below(self, y: float, colour: tuple[int, int, int]) -> None:
        """Everything from y down."""
        self.draw.rectangle((0, int(y * self.h), self.w, self.h), fill=colour)

    def sky(self) -> None:
        """Sun and clouds, the low sun, or moon and stars."""
        u = self.rng.uniform
        if self.light == "day":
            self.disc(u(0.78, 0.84), u(0.14, 0.18), 0.085, (255, 225, 80))
            for x in (u(0.12, 0.28), u(0.42, 0.58)):
                y = u(0.13, 0.26)
                for dx, r in ((-0.05, 0.035), (0.0, 0.05), (0.05, 0.035)):
                    self.disc(x + dx, y, r, (250, 252, 255))
        elif self.light == "sunset":
            self.disc(u(0.42, 0.58), u(0.42, 0.47), 0.13, (255, 220, 110))
        else:
            for _ in range(26):
                self.disc(u(0, 1), u(0, 0.6 if self.light == "night" else 1), u(0.004, 0.011), (245, 245, 225))
            if self.light == "night":
                self.disc(u(0.76, 0.84), u(0.14, 0.2), 0.085, (240, 238, 210))

    def planet(self) -> None:
        """A banded planet in a corner."""
        u = self.rng.uniform
        x, y = u(0.78, 0.84), u(0.18, 0.22)
        self.disc(x, y, 0.12, (215, 140, 90))
        r = 0.12 * self.short
        cx, cy = x * self.w, y * self.h
        self.draw.ellipse((cx - 1.6 * r, cy - 0.22 * r, cx + 1.6 * r, cy + 0.22 * r), fill=(240, 205, 150))

    def mountains(self) -> None:
        """Three peaks with snow caps over a green foot."""
        u = self.rng.uniform
        for x, peak, half in (
            (u(0.18, 0.24), u(0.34, 0.38), 0.34),
            (u(0.76, 0.82), u(0.36, 0.4), 0.34),
            (u(0.47, 0.53), u(0.24, 0.28), 0.38),
        ):
            self.shape([(x, peak), (x + half, 0.8), (x - half, 0.8)], self.lit((120, 125, 145)))
            cap = 0.3
            self.shape(
                [(x, peak), (x + half * cap, peak + (0.8 - peak) * cap), (x - half * cap, peak + (0.8 - peak) * cap)],
                self.lit((245, 248, 252), 2),
            )
        self.below(u(0.76, 0.79), self.lit(_GROUNDS["mountains"]))

    def beach(self) -> None:
        """A strip of sea, then sand, with a palm at the left."""
        u = self.rng.uniform
        self.below(u(0.49, 0.51), self.lit((40, 130, 205)))
        edge = u(0.66, 0.69)
        self.below(edge, self.lit((225, 240, 245), 2))
        self.below(edge + 0.025, self.lit(_GROUNDS["beach"]))
        x, top = u(0.12, 0.17), u(0.36, 0.4)
        self.shape([(x - 0.012, 0.8), (x + 0.02, top), (x + 0.05, top), (x + 0.03, 0.8)], self.lit((130, 85, 50)))
        for dx, dy in ((-0.15, 0.0), (0.17, 0.0), (-0.1, -0.12), (0.12, -0.12)):
            self.shape(
                [(x + 0.03, top), (x + 0.03 + dx * 0.6, top + dy - 0.04), (x + 0.03 + dx, top + dy + 0.06)],
                self.lit((50, 145, 70)),
            )

    def sea(self) -> None:
        """Water with a few lighter waves."""
        u = self.rng.uniform
        horizon = u(0.53, 0.56)
        self.below(horizon, self.lit(_GROUNDS["sea"]))
        for step in range(4):
            y = horizon + 0.06 + step * 0.1
            x = u(0.05, 0.7)
            self.shape(
                [(x, y), (x + 0.2, y - 0.006), (x + 0.22, y + 0.008), (x + 0.02, y + 0.012)], self.lit((110, 180, 230))
            )

    def forest(self) -> None:
        """Two rows of firs."""
        u = self.rng.uniform
        self.below(u(0.64, 0.67), self.lit(_GROUNDS["forest"]))
        for count, foot, tall, colour in ((8, 0.7, 0.36, (45, 110, 65)), (6, 0.8, 0.42, (28, 90, 50))):
            for index in range(count):
                x = (index + 0.5) / count + u(-0.02, 0.02)
                up = tall * u(0.88, 1.1)
                self.shape([(x, foot - up), (x + 0.085, foot), (x - 0.085, foot)], self.lit(colour))

    def desert(self) -> None:
        """Two dunes and a cactus."""
        u = self.rng.uniform
        y = u(0.56, 0.59)
        self.shape([(0, y + 0.05), (0.3, y - 0.05), (0.65, y + 0.08), (1, y), (1, 1), (0, 1)], self.lit((215, 160, 85)))
        self.shape(
            [(0, y + 0.16), (0.35, y + 0.16), (0.75, y + 0.05), (1, y + 0.14), (1, 1), (0, 1)],
            self.lit(_GROUNDS["desert"]),
        )
        x, green = u(0.12, 0.18), self.lit((60, 140, 70))
        for left, top, right, foot in (
            (-0.02, 0.44, 0.02, 0.78),
            (-0.075, 0.5, -0.045, 0.62),
            (0.045, 0.48, 0.075, 0.6),
            (-0.075, 0.59, 0.0, 0.62),
            (0.0, 0.57, 0.075, 0.6),
        ):
            self.draw.rectangle(((x + left) * self.w, top * self.h, (x + right) * self.w, foot * self.h), fill=green)

    def city(self) -> None:
        """A skyline with lit windows over a street."""
        u = self.rng.uniform
        greys: tuple[Colour, ...] = (
            (150, 155, 170),
            (110, 118, 140),
            (175, 165, 160),
            (130, 135, 150),
            (100, 105, 125),
            (160, 150, 155),
        )
        window = (255, 225, 120) if self.light != "day" else (205, 225, 240)
        for index in range(6):
            left, top = index / 6, u(0.26, 0.5)
            self.draw.rectangle(
                (left * self.w, top * self.h, (left + 1 / 6) * self.w, 0.78 * self.h), fill=self.lit(greys[index])
            )
            for row in range(3):
                for column in (0.04, 0.1):
                    x, y = left + column, top + 0.05 + row * 0.08
                    self.draw.rectangle(
                        (x * self.w, y * self.h, (x + 0.032) * self.w, (y + 0.04) * self.h), fill=window
                    )
        self.below(0.77, self.lit((85, 88, 98)))

    def meadow(self) -> None:
        """Rolling green with flowers."""
        u = self.rng.uniform
        y = u(0.57, 0.6)
        self.shape([(0, y), (0.3, y - 0.05), (0.7, y + 0.04), (1, y - 0.02), (1, 1), (0, 1)], self.lit((90, 170, 70)))
        self.shape([(0, y + 0.15), (0.5, y + 0.07), (1, y + 0.14), (1, 1), (0, 1)], self.lit(_GROUNDS["meadow"]))
        petals: tuple[Colour, ...] = ((240, 90, 120), (250, 220, 80), (245, 245, 250))
        for index in range(9):
            self.disc(u(0.02, 0.98), u(0.8, 0.97), 0.016, self.lit(petals[index % 3], 2))

    def snow(self) -> None:
        """White hills with two dark firs."""
        u = self.rng.uniform
        y = u(0.56, 0.59)
        self.shape(
            [(0, y + 0.02), (0.3, y - 0.05), (0.7, y + 0.05), (1, y - 0.03), (1, 1), (0, 1)],
            self.lit((212, 226, 242), 3),
        )
        for x in (u(0.1, 0.16), u(0.86, 0.92)):
            self.shape([(x, 0.38), (x + 0.1, 0.72), (x - 0.1, 0.72)], self.lit((35, 95, 70)))
        self.shape([(0, y + 0.14), (0.5, y + 0.08), (1, y + 0.15), (1, 1), (0, 1)], self.lit(_GROUNDS["snow"], 3))
