"""What a file says it is by its first bytes: what inputs may be, and a plain no to what they often are instead."""

from __future__ import annotations

from horde.storage_router.core.errors import NotAnImage

ACCEPTED = "PNG, JPEG, WebP, AVIF, GIF or BMP"

_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"heif", b"mif1", b"msf1"})
_AVIF = frozenset({b"avif", b"avis"})
_REFUSED = {
    b"II*\0": "TIFF or a camera's raw file",
    b"MM\0*": "TIFF or a camera's raw file",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF",
    b"<svg": "SVG",
    b"<?xml": "SVG or other XML",
    b"\0\0\1\0": "an icon",
    b"qoif": "QOI",
    b"\x1aE\xdf\xa3": "a video",
    b"gimp xcf": "a GIMP file",
}


def read_format(data: bytes) -> str:
    """Which of the accepted formats this is, by the decoder's name. Raises NotAnImage."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    if data[4:8] == b"ftyp":
        return _read_brands(data)
    if not data:
        raise NotAnImage.as_input("it is empty")
    for start, name in _REFUSED.items():
        if data.lstrip().startswith(start) or data.startswith(start):
            raise NotAnImage.as_input(f"it is {name}; an input must be {ACCEPTED}")
    raise NotAnImage.as_input(f"it does not begin like one; an input must be {ACCEPTED}")


def _read_brands(data: bytes) -> str:
    """A file of the ISO family: its major brand, or one that it is compatible with."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
    if brands & _AVIF:
        return "AVIF"
    if brands & _HEIC:
        raise NotAnImage.as_input(f"it is HEIC; an input must be {ACCEPTED}")
    raise NotAnImage.as_input(f"it is a video; an input must be {ACCEPTED}")
