"""The child process that redraws strangers' previews. Run as a file, alone: it imports nothing of the mesh.

For each it reads a length and bytes from standard input, and answers on standard output with a length and a JPEG of its
own making, or a length of 0 where they are no small picture. What a watcher sees was never a stranger's bytes. It
bounds itself before it reads the first one: memory, processor time for each picture, no files, no core dumps.
"""

from __future__ import annotations

import io
import os
import resource
import struct
import sys

LENGTH = struct.Struct(">I")
MAX_SIDE = 512
"""Pixels; a larger picture is none of a preview's."""
SHOWN_SIDE = 256
MAX_OUT_BYTES = 32 * 1024
QUALITIES = (80, 60, 40)
FORMATS = ("JPEG", "PNG", "WEBP")
MEMORY_BYTES = 512 * 1024 * 1024
CPU_SECONDS = 2
"""For one picture; beyond it the kernel ends the process."""


def redrawn(data: bytes) -> bytes:
    """The picture as a small JPEG; nothing if it is none."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                return b""
            image.load()
            small = image.convert("RGB")
        small.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        for quality in QUALITIES:
            out = io.BytesIO()
            small.save(out, "JPEG", quality=quality)
            if out.tell() <= MAX_OUT_BYTES:
                return out.getvalue()
    except Exception:  # noqa: BLE001 - whatever a decoder trips over, it is no picture
        return b""
    return b""


def warm_up() -> None:
    """Load every file that decoding needs, while files can still be opened."""
    from PIL import Image

    for kind in FORMATS:
        out = io.BytesIO()
        Image.new("RGB", (8, 8)).save(out, kind)
        assert redrawn(out.getvalue())


def bound() -> None:
    """Give up what is not needed."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def bound_next() -> None:
    """Give the next picture its own share of time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(
        resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS, resource.RLIM_INFINITY)
    )


def main() -> None:
    """Serve until standard input ends."""
    from PIL import Image

    os.nice(10)
    Image.MAX_IMAGE_PIXELS = MAX_SIDE * MAX_SIDE
    warm_up()
    bound()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(LENGTH.size):
        data = source.read(LENGTH.unpack(head)[0])
        bound_next()
        out = redrawn(data)
        sink.write(LENGTH.pack(len(out)) + out)
        sink.flush()


if __name__ == "__main__":
    main()
