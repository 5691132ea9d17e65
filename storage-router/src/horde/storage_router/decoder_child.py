"""The child process that decodes strangers' pictures. Run as a file, alone: it imports nothing of the mesh.

It reads from standard input, for each picture, a head (format, width, height, length) and the bytes, and answers on
standard output with the length of a text and the text: empty if the picture decoded, else why not. It bounds itself
before it reads the first byte: memory, processor time for each picture, no files, no core dumps.
"""

from __future__ import annotations

import io
import os
import resource
import struct
import sys
import zlib

HEAD = struct.Struct(">4sIII")
ANSWER = struct.Struct(">H")
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Where each pass of an interlaced PNG begins, and how far apart its pixels are."""
CPU_SECONDS = 10
"""For one picture; beyond it the kernel ends the process."""


def bound(memory_bytes: int) -> None:
    """Give up what is not needed. A file that is open stays open; nothing new can be opened or written."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def bound_next() -> None:
    """Give the next picture its own share of time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def check_png_body(data: bytes) -> str:
    """A PNG's body must inflate to exactly its picture: decoders stop there, and would not see what else is packed."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    expected = 0
    for x, y, step_x, step_y in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -((x - width) // step_x), -((y - height) // step_y)
        expected += rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0
    inflater, got, position = zlib.decompressobj(), 0, 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"IDAT":
            rest = data[position + 8 : position + 8 + length]
            while rest and got <= expected and not inflater.eof:
                got += len(inflater.decompress(rest, 1 << 20))
                rest = inflater.unconsumed_tail
            if rest or inflater.unused_data:
                return "its body holds more than its picture"
        position += 12 + length
    return "" if got == expected and inflater.eof else "its body is not as long as its picture"


def decode(kind: str, width: int, height: int, data: bytes) -> str:
    """Decode every pixel; empty if that worked."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            if image.size != (width, height):
                return "its body has another size than its header"
            if getattr(image, "n_frames", 1) != 1:
                return "it is animated"
            if kind == "PNG" and (why := check_png_body(data)):
                return why
            image.load()
    except MemoryError:
        return "decoding it takes too much memory"
    except Exception as error:  # noqa: BLE001 - whatever a decoder trips over, the picture is bad
        return f"it cannot be decoded ({type(error).__name__})"
    return ""


def warm_up() -> None:
    """Load every file that decoding needs, while files can still be opened."""
    from PIL import Image

    for kind in ("PNG", "JPEG", "WEBP"):
        out = io.BytesIO()
        Image.new("RGB", (8, 8)).save(out, kind)
        assert decode(kind, 8, 8, out.getvalue()) == ""


def main() -> None:
    """Serve until standard input ends."""
    from PIL import Image, ImageFile

    max_pixels, memory_bytes = int(sys.argv[1]), int(sys.argv[2])
    Image.MAX_IMAGE_PIXELS = max_pixels
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    warm_up()
    bound(memory_bytes)
    source, sink = sys.stdin.buffer, sys.stdout.fileno()
    while head := source.read(HEAD.size):
        kind, width, height, length = HEAD.unpack(head)
        data = source.read(length)
        bound_next()
        text = decode(kind.rstrip(b" ").decode(), width, height, data).encode()
        os.write(sink, ANSWER.pack(len(text)) + text)


if __name__ == "__main__":
    main()
