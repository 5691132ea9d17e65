"""Looks at a picture without decoding it: is it one, is it whole, is it single, how large is it.

Limits come before anything: bytes first, then the size that the header states, then the walk over the whole file, which
must end exactly where the picture ends. A file that is also something else, or has something after its end, is refused;
so are moving and multi-picture files, more than 8 bits a channel, and CMYK. What only a decoder can find (a damaged
body) is `decoding.py`'s part. Nothing here allocates more than MAX_INFLATED_BYTES.
"""

from __future__ import annotations

from horde.storage_router.core import inspection_jpeg, inspection_png, inspection_webp
from horde.storage_router.core.errors import NotAnImage, TooLarge
from horde.storage_router.core.pictures import ImageFormat, Limits, Picture


def inspect(data: bytes, limits: Limits) -> Picture:
    """What picture this is. Raises NotAnImage or TooLarge."""
    if len(data) > limits.max_bytes:
        raise TooLarge.over(limits.max_bytes, "bytes")
    if data.startswith(inspection_png.MAGIC):
        return Picture(ImageFormat.PNG, *inspection_png.measure(data, limits))
    if data.startswith(inspection_jpeg.MAGIC):
        return Picture(ImageFormat.JPEG, *inspection_jpeg.measure(data, limits))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Picture(ImageFormat.WEBP, *inspection_webp.measure(data, limits))
    raise NotAnImage.because("it is empty" if not data else "it does not begin like one")
