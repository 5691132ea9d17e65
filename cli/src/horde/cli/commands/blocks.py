"""A picture in a terminal that can show colours: each character is two pixels, one over the other."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.text import Text

HALF_BLOCK: Final = "▀"
COLUMNS: Final = 32
"""How wide a preview is, in characters."""


def picture(content: bytes, columns: int = COLUMNS) -> Text | None:
    """The picture as half blocks, or None for bytes that are none or where Pillow is missing."""
    from rich.text import Text

    try:
        from PIL import Image

        with Image.open(io.BytesIO(content)) as opened:
            opened.draft("RGB", (columns * 2, columns * 2))
            image = opened.convert("RGB")
            rows = max(1, round(columns * image.height / image.width / 2))
            image = image.resize((columns, rows * 2))
    except (ImportError, OSError, ValueError, SyntaxError):
        # What Pillow raises for bytes that it cannot read; a preview is not worth an error.
        return None
    pixels = image.tobytes()
    text = Text()
    for row in range(rows):
        for column in range(columns):
            upper = _hex(pixels, columns, column, 2 * row)
            lower = _hex(pixels, columns, column, 2 * row + 1)
            text.append(HALF_BLOCK, style=f"{upper} on {lower}")
        text.append("\n")
    text.rstrip()
    return text


def _hex(pixels: bytes, columns: int, column: int, row: int) -> str:
    at = 3 * (row * columns + column)
    return f"#{pixels[at : at + 3].hex()}"
