"""The child process that decodes strangers' pictures. Run as a file, alone: it imports nothing of the mesh.

It reads from standard input, for each picture, a head and the bytes, and answers on standard output with two lengths, a
text and some bytes. It is asked for one of three things. CHECK: does every pixel decode? NORMALISE: the picture as a
viewer shows it, as a plain file. SKETCH: brightness and colours of it, small. It bounds itself before it reads the
first byte: memory, processor time for each picture, no files, no core dumps.
"""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import sys
import zlib
from typing import Any

HEAD = struct.Struct(">c?4sIII")
"""What is asked, whether the file itself may be kept, its format, width, height (of CHECK) and length."""
ANSWER = struct.Struct(">HI")
"""Lengths of the text and of the bytes. The text is empty, or says why not, or is the JSON of what was normalised."""
CHECK, NORMALISE, SKETCH = b"C", b"N", b"S"
SKETCH_SIDES = (64, 16, 16)
"""Cells each way of brightness, blue and red (`core/likeness.py`)."""

ORIENTED, COLOUR_CONVERTED, FLATTENED, FIRST_FRAME, STRIPPED, REENCODED = 1, 2, 4, 8, 16, 32
"""What was done to a picture: the values of `pictures.Change`."""
GROUND = (255, 255, 255)
"""What transparent parts are put on: the white of a page, where people see pictures most."""
JPEG_QUALITY = 95
# fmt: off
PLAIN_INFO = frozenset(
    {"adobe", "adobe_transform", "aspect", "background", "bbox", "blend", "chromaticity", "compression",
     "default_image", "disposal", "dpi", "duration", "extension", "gamma", "interlace", "jfif",
     "jfif_density", "jfif_unit", "jfif_version", "loop", "progression", "progressive", "sizes", "srgb",
     "timestamp", "transparency", "version"}
)
# fmt: on
"""What a decoder tells of a file that is nothing about the picture or whoever made it."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Where each pass of an interlaced PNG begins, and how far apart its pixels are."""
CPU_SECONDS = 15
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


def sketch(kind: str, width: int, height: int, data: bytes) -> tuple[str, bytes]:
    """Means over square cells of brightness, blue and red, one byte a cell; or why not."""
    from PIL import Image

    if why := decode(kind, width, height, data):
        return why, b""
    with Image.open(io.BytesIO(data), formats=(kind,)) as image:
        flat, _ = flatten(image)
        channels = flat.convert("RGB").convert("YCbCr").split()
    sizes = [(side, side) for side in SKETCH_SIDES]
    return "", b"".join(
        channel.resize(size, Image.Resampling.BOX).tobytes() for channel, size in zip(channels, sizes, strict=True)
    )


class Refused(Exception):
    """Why a picture cannot be normalised."""


def normalise(kind: str, data: bytes, max_pixels: int, may_keep: bool) -> tuple[dict[str, object], bytes]:
    """The picture as a viewer shows it: facts about it, and a plain file, which is empty if the one given is plain.

    `may_keep`: whether the file, if nothing has to be done, may stay as it is.
    """
    from PIL import Image

    changes = COLOUR_CONVERTED if kind == "PNG" and data[24:25] == b"\x10" else 0  # its upper eight of 16 bits
    with Image.open(io.BytesIO(data), formats=(kind,)) as opened:
        if opened.size[0] * opened.size[1] > max_pixels:
            raise Refused(f"more than {max_pixels} pixels")
        if getattr(opened, "n_frames", 1) != 1:
            changes |= FIRST_FRAME
            opened.seek(0)
        lossy = kind in ("JPEG", "AVIF") or (kind == "WEBP" and b"VP8 " in data[12:64])
        image, whole = load(opened, kind, data)
        if not is_bare(opened) or (whole and goes_on(kind, data)):
            changes |= STRIPPED
        elif may_keep and not changes and is_opaque(opened) and opened.mode in ("1", "L", "P", "RGB"):
            return {"changes": 0}, b""
        # Flattened before it is turned: so there are never more than two large images at once.
        for step in (flatten, convert_colours, orient):
            image, change = step(image)
            changes |= change
            if image is not opened:
                opened.close()
        image.info.clear()
        out = io.BytesIO()
        if lossy:
            image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        else:
            image.save(out, "PNG", compress_level=1)
    # An alpha channel in which nothing is transparent, a palette, an end that was missing: gone, and nothing to tell.
    changes |= 0 if kind == ("JPEG" if lossy else "PNG") else REENCODED
    return {"changes": changes}, out.getvalue()


def load(image: Any, kind: str, data: bytes) -> tuple[Any, bool]:
    """The image with every pixel decoded, and whether the file was whole. A JPEG may lack its end, but no pixel."""
    from PIL import Image

    try:
        image.load()
    except OSError:
        if kind != "JPEG":
            raise
        found = []
        for more in (b"\xff\xd9", b"\x5a\xa5" * 4096 + b"\xff\xd9"):
            with Image.open(io.BytesIO(data + more), formats=(kind,)) as again:
                again.load()
                found.append(again.copy())
        # If a pixel is missing, what follows is taken for it: with other bytes behind it the picture is another one.
        if found[0].tobytes() != found[1].tobytes():
            raise
        return found[0], False
    return image, True


def is_bare(image: Any) -> bool:
    """Whether the file holds nothing but the picture."""
    if image.info.keys() - PLAIN_INFO or getattr(image, "text", None) or getattr(image, "private_chunks", None):
        return False
    return all(name in ("APP0", "APP14") for name, _ in getattr(image, "applist", ()))


def goes_on(kind: str, data: bytes) -> bool:
    """Whether something follows the end of a whole file."""
    if kind == "WEBP":
        return len(data) > int.from_bytes(data[4:8], "little") + 8
    ends = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xae\x42\x60\x82", "GIF": b";"}
    return kind in ends and not data.endswith(ends[kind])


def is_opaque(image: Any) -> bool:
    """Whether there is no channel for transparency, and no colour that means it."""
    return not {"A", "a"} & {*image.getbands()} and "transparency" not in image.info


def orient(image: Any) -> tuple[Any, int]:
    """Turned as its Exif data say."""
    from PIL import ImageOps

    if image.getexif().get(0x0112, 1) == 1:
        return image, 0
    return ImageOps.exif_transpose(image), ORIENTED


def flatten(image: Any) -> tuple[Any, int]:
    """Without a channel for transparency."""
    from PIL import Image

    if is_opaque(image):
        return image, 0
    kept = {name: image.info[name] for name in ("icc_profile", "exif") if name in image.info}
    grey = image.mode in ("LA", "La")
    seen = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = seen.getchannel("A")
    flat = Image.new("RGB", image.size, GROUND)
    flat.paste(seen, mask=alpha)
    flat = flat.convert("L") if grey else flat
    flat.info.update(kept)
    return flat, FLATTENED if alpha.getextrema()[0] < 255 else 0


def convert_colours(image: Any) -> tuple[Any, int]:
    """In sRGB with 8 bits a channel."""
    from PIL import ImageCms

    exif = image.info.get("exif")
    change, converted = 0, image
    if image.mode.startswith(("I", "F")):
        # 16 bits of grey: the upper eight.
        converted = image.convert("I").point(lambda value: value * (1 / 256) + 0).convert("L")
        change = COLOUR_CONVERTED
    elif (profile := image.info.get("icc_profile")) and (seen := through_profile(image, profile)) is not None:
        converted = seen
        named = ImageCms.getProfileDescription(io.BytesIO(profile))
        change = COLOUR_CONVERTED if "srgb" not in named.lower() or image.mode == "CMYK" else 0
    elif image.mode not in ("L", "RGB"):
        converted = image.convert("L" if image.mode == "1" else "RGB")
        change = COLOUR_CONVERTED if image.mode == "CMYK" else 0
    if exif:
        converted.info["exif"] = exif
    return converted, change


def through_profile(image: Any, profile: bytes) -> Any:
    """In sRGB, from a profile's colours. None, as viewers do, if it is none, or of other colours than the file's."""
    from PIL import ImageCms

    try:
        source = image.convert("RGB") if image.mode in ("P", "1") else image
        return ImageCms.profileToProfile(source, io.BytesIO(profile), SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, ValueError, OSError):
        return None


def try_to_normalise(kind: str, data: bytes, max_pixels: int, may_keep: bool) -> tuple[str, bytes]:
    """The answer: JSON and bytes, or why not."""
    try:
        facts, out = normalise(kind, data, max_pixels, may_keep)
    except Refused as error:
        return json.dumps({"too_large": str(error)}), b""
    except MemoryError:
        return "decoding it takes too much memory", b""
    except Exception as error:  # noqa: BLE001 - whatever a decoder trips over, the picture is bad
        return f"it cannot be decoded ({type(error).__name__})", b""
    return json.dumps(facts), out


SRGB: Any = None


def warm_up(max_pixels: int) -> None:
    """Load every file that decoding needs, while files can still be opened."""
    global SRGB
    from PIL import Image, ImageCms

    SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    profile = SRGB.tobytes()
    for kind in ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP"):
        out = io.BytesIO()
        Image.new("RGB", (8, 8)).save(out, kind)
        if kind in ("PNG", "JPEG", "WEBP"):
            assert sketch(kind, 8, 8, out.getvalue())[0] == ""
            out = io.BytesIO()
            Image.new("RGB", (8, 8)).save(out, kind, icc_profile=profile)
        text, _ = try_to_normalise(kind, out.getvalue(), max_pixels, False)
        assert text.startswith("{"), text


def main() -> None:
    """Serve until standard input ends."""
    from PIL import Image, ImageFile

    max_pixels, memory_bytes, nice = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.nice(nice)
    Image.MAX_IMAGE_PIXELS = max_pixels
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    warm_up(max_pixels)
    bound(memory_bytes)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(HEAD.size):
        asked, may_keep, name, width, height, length = HEAD.unpack(head)
        data, kind, out = source.read(length), name.rstrip(b" ").decode(), b""
        bound_next()
        if asked == NORMALISE:
            text, out = try_to_normalise(kind, data, max_pixels, may_keep)
        elif asked == SKETCH:
            text, out = sketch(kind, width, height, data)
        else:
            text = decode(kind, width, height, data)
        encoded = text.encode()
        sink.write(ANSWER.pack(len(encoded), len(out)) + encoded + out)
        sink.flush()


if __name__ == "__main__":
    main()
