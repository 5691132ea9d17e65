"""A picture in a terminal, as well as that one can: by kitty's or iTerm2's own way, or as half blocks."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from horde.cli.commands.output import Output

KITTY: Final = frozenset({"kitty", "ghostty"})
ITERM: Final = frozenset({"iTerm.app", "WezTerm"})
CHUNK: Final = 4096
"""Characters of a picture that kitty takes at once."""
COLUMNS: Final = 64
"""How wide half blocks are."""
MAX_SIDE: Final = 768
"""Pixels: more than fits beside the words of a terminal."""


def escapes(content: bytes, environment: Mapping[str, str]) -> str | None:
    """What draws the picture in this terminal; None where it knows no pictures, or the bytes are none."""
    program, term = environment.get("TERM_PROGRAM", ""), environment.get("TERM", "")
    kitty = "KITTY_WINDOW_ID" in environment or "kitty" in term or program in KITTY
    if not kitty and program not in ITERM:
        return None
    png = _png(content)
    if png is None:
        return None
    encoded = base64.b64encode(png).decode()
    return "".join(_kitty(encoded)) if kitty else f"\x1b]1337;File=inline=1;size={len(png)}:{encoded}\x07"


def show(out: Output, content: bytes, environment: Mapping[str, str]) -> bool:
    """Show the picture, if somebody looks at a terminal. Whether it was shown."""
    console = out.console()
    if out.as_json or not console.is_terminal:
        return False
    if (drawn := escapes(content, environment)) is not None:
        console.file.write(f"{drawn}\n")
        console.file.flush()
        return True
    from horde.cli.commands.blocks import picture

    blocks = picture(content, min(COLUMNS, console.width))
    if blocks is None:
        return False
    console.print(blocks)
    return True


def _kitty(encoded: str) -> Iterator[str]:
    chunks = [encoded[start : start + CHUNK] for start in range(0, len(encoded), CHUNK)]
    for place, chunk in enumerate(chunks):
        begins = "f=100,a=T," if place == 0 else ""
        yield f"\x1b_G{begins}m={int(place + 1 < len(chunks))};{chunk}\x1b\\"


def _png(content: bytes) -> bytes | None:
    try:
        from PIL import Image

        with Image.open(io.BytesIO(content)) as opened:
            image = opened.convert("RGB")
        image.thumbnail((MAX_SIDE, MAX_SIDE))
        made = io.BytesIO()
        image.save(made, "PNG")
        return made.getvalue()
    except (ImportError, OSError, ValueError, SyntaxError):
        # What Pillow raises for bytes that it cannot read.
        return None
