"""Whether what came out is a picture at all. Not whether it is a good one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


class NoPicture(Exception):
    """What the model computed is no picture; the message says what it is."""


def check_picture(image: Image) -> None:
    """Raise NoPicture for an image of one colour: what not-a-numbers and overflows look like once they are pixels."""
    bands = image.convert("RGB").getextrema()
    if all(low == high for low, high in bands):  # type: ignore[misc]
        colour = ", ".join(str(low) for low, _ in bands)  # type: ignore[misc]
        raise NoPicture(f"the model painted nothing but one colour ({colour})")
