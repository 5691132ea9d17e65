"""Copy the few drawings that training uses out of an unpacked `@iconify-json/fluent-emoji-flat` npm package.

The copies are kept in this repository (art/), so this is only run to add a drawing.
"""

from __future__ import annotations

import json
from pathlib import Path

ART = Path(__file__).parent / "art"
EMOJI = {
    "apple": "red-apple", "tree": "evergreen-tree", "house": "house", "sailboat": "sailboat", "rocket": "rocket",
    "fish": "tropical-fish", "mushroom": "mushroom", "car": "automobile", "cat": "cat-face",
    "pumpkin": "jack-o-lantern",
    "umbrella": "umbrella", "duck": "duck", "dog": "dog-face", "flower": "tulip", "penguin": "penguin",
    "castle": "castle", "whale": "spouting-whale", "frog": "frog", "robot": "robot", "balloon": "balloon",
}  # fmt: skip


def copy_art(package: Path) -> None:
    """Write one SVG for each object from the package's icons.json."""
    icons = json.loads((package / "icons.json").read_text(encoding="utf-8"))["icons"]
    for name, emoji in EMOJI.items():
        body = icons[emoji]["body"]
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="32" height="32">{body}</svg>\n'
        (ART / f"{name}.svg").write_text(svg, encoding="utf-8")
