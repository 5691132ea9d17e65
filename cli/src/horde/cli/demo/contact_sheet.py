"""All pictures on one sheet, each with a few words below it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

TILE: Final = 256
"""Pixels of each picture's side on the sheet."""
MARGIN: Final = 16
LINE: Final = 18
COLUMNS: Final = 4
PAPER: Final = (250, 248, 242)
INK: Final = (40, 40, 40)


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture and its words, line by line."""

    content: bytes
    words: Sequence[str]


def draw_sheet(tiles: Sequence[Tile], path: Path) -> None:
    """Write the sheet as a PNG."""
    lines = max(len(tile.words) for tile in tiles)
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    cell_width, cell_height = TILE + MARGIN, TILE + lines * LINE + 2 * MARGIN
    sheet = Image.new("RGB", (columns * cell_width + MARGIN, rows * cell_height + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for number, tile in enumerate(tiles):
        left = MARGIN + number % columns * cell_width
        top = MARGIN + number // columns * cell_height
        with Image.open(io.BytesIO(tile.content)) as opened:
            picture = opened.convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS)
        sheet.paste(picture, (left, top))
        for line, words in enumerate(tile.words):
            draw.text((left, top + TILE + 4 + line * LINE), _fitting(words, font), fill=INK, font=font)
    sheet.save(path)


def _fitting(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    fits = words
    while fits and font.getlength(fits) > TILE:
        fits = fits[:-2].rstrip() + "…" if len(fits) > 2 else ""
    return fits
