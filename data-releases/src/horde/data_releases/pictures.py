"""What is done to each picture: its digest is checked, it is decoded, hashed by likeness, and given its provenance."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import imagehash
from PIL import Image

from horde.data_releases.core.embedding import embed
from horde.data_releases.core.provenance import make_xmp
from horde.data_releases.core.records import RELEASED_FORMAT, SharedRecord

MAX_PIXELS = 8192 * 8192


class Damaged(ValueError):
    """The bytes are not those of the record, or no picture."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture as it will be released."""

    data: bytes
    sha256: str
    phash: int


def prepare(record: SharedRecord, data: bytes) -> Prepared:
    """Check, hash and mark a picture. Raises Damaged. The pixels stay what they are."""
    if hashlib.sha256(data).hexdigest() != record.sha256 or record.width * record.height > MAX_PIXELS:
        raise Damaged
    try:
        with Image.open(io.BytesIO(data), formats=[record.format]) as picture:
            # Of the header alone: nothing is decoded yet.
            if picture.size != (record.width, record.height):
                raise Damaged
            likeness = imagehash.phash(picture)
            webp = data if record.format == RELEASED_FORMAT else _to_webp(picture)
        released = embed(webp, record.width, record.height, make_xmp(record))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Damaged(str(error)) from error
    return Prepared(released, hashlib.sha256(released).hexdigest(), int(str(likeness), 16))


def _to_webp(picture: Image.Image) -> bytes:
    """Pixel for pixel. What shards hold must be of one kind: loaders take the kinds of the first samples for all's."""
    plain = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    out = io.BytesIO()
    profile = picture.info.get("icc_profile", b"")
    plain.save(out, "WEBP", lossless=True, exact=True, method=2, icc_profile=profile, exif=b"", xmp=b"")
    return out.getvalue()
