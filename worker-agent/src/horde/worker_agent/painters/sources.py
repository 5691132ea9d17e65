"""Pictures that a job starts from, brought to the size that is painted.

They are taken as a viewer shows them: turned as their orientation says, transparency laid on white. FILL, the default,
scales until the size is covered and cuts at the middle; FIT keeps all and fills what remains from the edges; STRETCH
changes the shape.
"""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING, Any

from horde.worker_agent.core.jobs import Deviation, DeviationKind, ResizeMode

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_INPUT_PIXELS = 8192 * 8192
"""Of a source image or mask; looked at before anything is decoded."""
FORMATS = ("PNG", "JPEG", "WEBP")
SAME_SHAPE = 0.01
"""Ratios of sides that are nearer than this are one shape: scaling rounds to whole pixels."""


def decode_input(content: bytes, mode: str) -> Image:
    """A stranger's picture, upright and on white. Raises ValueError or OSError for what is none, or too large."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        if opened.width * opened.height > MAX_INPUT_PIXELS:
            raise ValueError(f"more than {MAX_INPUT_PIXELS} pixels")
        upright = ImageOps.exif_transpose(opened)
        if not upright.has_transparency_data:
            return upright.convert(mode)
        # The colours under what is transparent are nobody's business: an editor may have left a face there.
        layer = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert(mode)


def resized(image: Image, size: tuple[int, int], mode: ResizeMode) -> Image:
    """The picture at a size."""
    from PIL import Image, ImageOps

    if mode is ResizeMode.STRETCH:
        return image.resize(size, Image.Resampling.LANCZOS)
    if mode is ResizeMode.FIT:
        inside = ImageOps.contain(image, size, Image.Resampling.LANCZOS)
        return _bordered(inside, size)
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def reshaping(image: Image, size: tuple[int, int], mode: ResizeMode, field: str = "source_image") -> Deviation | None:
    """What bringing this picture to a size does to it, if it leaves something out or changes its shape."""
    if mode is ResizeMode.FIT or abs(image.width * size[1] / (image.height * size[0]) - 1) < SAME_SHAPE:
        return None
    how = "stretched to" if mode is ResizeMode.STRETCH else "cut at the middle to the shape of"
    asked = f"{image.width}x{image.height}"
    return Deviation(DeviationKind.REINTERPRETED, field, asked, f"{how} {size[0]}x{size[1]}")


def _bordered(image: Image, size: tuple[int, int]) -> Image:
    """The picture in the middle of a size, its edges drawn out to the borders."""
    from PIL import Image

    numpy: Any = import_module("numpy")
    left, top = (size[0] - image.width) // 2, (size[1] - image.height) // 2
    margins = [(top, size[1] - image.height - top), (left, size[0] - image.width - left)]
    pixels = numpy.asarray(image)
    return Image.fromarray(numpy.pad(pixels, margins + [(0, 0)] * (pixels.ndim - 2), mode="edge"))
