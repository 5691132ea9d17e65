"""How a picture was made, written into its file without touching a pixel: XMP, as PNG, JPEG and WebP carry it. Pure.

The bytes are then no longer those that the mesh recorded; the digest of those stands in what is written.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape

from google.protobuf.json_format import MessageToDict

if TYPE_CHECKING:
    from horde.api.generation.v1.generation_pb2 import Generation, Image

MAX_JPEG_SEGMENT: Final = 65_533
_XMP: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description><rdf:Alt>'
    '<rdf:li xml:lang="x-default">{prompt}</rdf:li>'
    "</rdf:Alt></dc:description><dc:source>{facts}</dc:source></rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="w"?>'
)
_JPEG_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_VP8X_XMP, _VP8X_ALPHA = 0x04, 0x10


def facts_of(generation: Generation, image: Image) -> dict[str, Any]:
    """What somebody needs to make the picture again, with the names of the contract."""
    spec = MessageToDict(generation.spec.job.image, preserving_proto_field_name=True)
    return {
        "generation_id": generation.generation_id,
        "job_id": image.job_id,
        "model": generation.spec.job.model,
        "image": {**spec, "seed": str(image.seed)},
        "making": MessageToDict(image.making, preserving_proto_field_name=True),
        "deviations": [MessageToDict(deviation, preserving_proto_field_name=True) for deviation in image.deviations],
        "worker_name": image.worker_name,
        "sha256": image.sha256.hex(),
    }


def inscribed(content: bytes, generation: Generation, image: Image) -> bytes:
    """The picture with how it was made; as it is, where its form has no place for that."""
    facts = json.dumps(facts_of(generation, image), ensure_ascii=False)
    prompt = generation.spec.job.image.prompt
    packet = _XMP.format(prompt=escape(prompt), facts=escape(facts)).encode()
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        # Behind the header chunk, which has 25 bytes after the signature.
        return content[:33] + _png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet) + content[33:]
    if content.startswith(b"\xff\xd8") and len(packet) + len(_JPEG_XMP) + 2 <= MAX_JPEG_SEGMENT:
        segment = _JPEG_XMP + packet
        return content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content, packet)
    return content


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _webp(content: bytes, packet: bytes) -> bytes:
    chunks = content[12:]
    if chunks[:4] == b"VP8X":
        chunks = chunks[:8] + bytes([chunks[8] | _VP8X_XMP]) + chunks[9:]
    else:
        # A file of one chunk becomes an extended one: only that may carry more.
        from PIL import Image as Pillow

        with Pillow.open(io.BytesIO(content)) as opened:
            width, height, alpha = *opened.size, "A" in opened.mode
        flags = _VP8X_XMP | (_VP8X_ALPHA if alpha else 0)
        sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        chunks = _riff(b"VP8X", bytes([flags, 0, 0, 0]) + sides) + chunks
    chunks += _riff(b"XMP ", packet)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def _riff(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
