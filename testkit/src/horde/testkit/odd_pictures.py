"""Pictures as cameras, phones and programs write them, made here: no file of anybody's is needed.

Each shows the same scene: as a viewer shows it, a red corner at the upper left, the rest of it grey. What is odd about
it is in the file, not in the scene.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageCms

WIDTH, HEIGHT = 96, 64
RED, GREY = (230, 20, 20), (120, 120, 120)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What undoes each Exif orientation: how a camera that was held that way stores the scene."""
_ORIENTATION, _MAKER, _GPS = 0x0112, 0x010F, 0x8825


def scene(mode: str = "RGB", orientation: int = 1) -> Image.Image:
    """The scene, stored for this Exif orientation."""
    image = Image.new("RGB", (WIDTH, HEIGHT), GREY)
    image.paste(RED, (0, 0, WIDTH // 2, HEIGHT // 2))
    image = image.convert(mode)
    return image if orientation == 1 else image.transpose(_TURNS[orientation])


def write(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    """The file."""
    out = io.BytesIO()
    image.save(out, format, **({"quality": 92} if format == "JPEG" else {}) | options)
    return out.getvalue()


def exif(orientation: int = 1, maker: str = "", *, place: bool = False) -> Image.Exif:
    """What a camera writes beside the picture."""
    data = Image.Exif()
    if orientation != 1:
        data[_ORIENTATION] = orientation
    if maker:
        data[_MAKER] = maker
    if place:
        data[_GPS] = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)}
    return data


def wide_gamut() -> bytes:
    """A profile of other colours than sRGB, for RGB: its red and green primaries are changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    entries = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = (slice(entries[name] + 4, entries[name] + 12) for name in (b"rXYZ", b"gXYZ"))
    profile[red], profile[green] = profile[green], profile[red]
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))


def half_transparent() -> Image.Image:
    """The scene with its lower half transparent; under it another colour is hidden."""
    image = scene("RGBA")
    image.paste((10, 250, 10, 0), (0, HEIGHT // 2, WIDTH, HEIGHT))
    return image


def png_16_bits(colour: int) -> bytes:
    """A PNG with 16 bits a channel, grey (0) or RGB (2)."""
    rows = []
    for y in range(HEIGHT):
        row = b"\0"
        for x in range(WIDTH):
            rgb = RED if x < WIDTH // 2 and y < HEIGHT // 2 else GREY
            row += struct.pack(">3H", *(value * 257 for value in rgb)) if colour else struct.pack(">H", rgb[0] * 257)
        rows.append(row)
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def iso_file(brand: bytes) -> bytes:
    """The beginning of a file of the ISO family."""
    return struct.pack(">I", 24) + b"ftyp" + brand + b"\0\0\0\0mif1" + brand + bytes(200)


def portrait(orientation: int, maker: str) -> Callable[[], bytes]:
    """A photo of a camera that was turned."""
    return lambda: write(scene(orientation=orientation), exif=exif(orientation, maker, place=True))
