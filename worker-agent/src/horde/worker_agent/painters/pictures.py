"""Encoding: WebP for images, small JPEGs for previews. Nothing but pixels goes in: no EXIF, no profile, no text.

Pillow is imported inside, so that an agent that paints from its pool of ready pictures never loads it twice over.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from horde.worker_agent.painters.port import MAX_PREVIEW_BYTES

if TYPE_CHECKING:
    from PIL.Image import Image

PREVIEW_SIDE = 256
"""The longer side of a preview, pixels."""
MAX_INPUT_PIXELS = 8192 * 8192
"""Of a source image or mask; looked at before anything is decoded."""


def encode_webp(image: Image, *, quality: int, effort: int = 4) -> bytes:
    """A lossy WebP with nothing in it but the pixels; `effort` 0 to 6 trades time for size."""
    plain = image.convert("RGB")
    plain.info.clear()
    out = io.BytesIO()
    plain.save(out, "WEBP", quality=quality, method=effort, exif=b"", icc_profile=b"", xmp=b"")
    return out.getvalue()


def decode_input(content: bytes, mode: str, size: tuple[int, int]) -> Image:
    """A stranger's picture, cut and scaled to a size. Raises ValueError or OSError for what is none, or too large."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as opened:
        if opened.width * opened.height > MAX_INPUT_PIXELS:
            raise ValueError(f"more than {MAX_INPUT_PIXELS} pixels")
        upright = ImageOps.exif_transpose(opened)
        return ImageOps.fit(upright.convert(mode), size, Image.Resampling.LANCZOS)


def encode_preview(image: Image) -> bytes:
    """A JPEG of at most MAX_PREVIEW_BYTES."""
    small = image.convert("RGB")
    small.info.clear()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    for quality in (70, 40, 15):
        out = io.BytesIO()
        small.save(out, "JPEG", quality=quality)
        if out.tell() <= MAX_PREVIEW_BYTES:
            break
    return out.getvalue()
