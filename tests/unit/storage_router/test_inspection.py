"""The look at a picture's structure: what passes, what does not, and that nothing is allocated for what does not."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from horde.services.errors import ServiceError
from horde.storage_router.core.errors import NotAnImage, TooLarge, WrongDimensions
from horde.storage_router.core.inspection import inspect
from horde.storage_router.core.pictures import ImageFormat, Limits, Picture
from horde.testkit.storage_router import paint

LIMITS = Limits(max_bytes=4 << 20, max_pixels=4096 * 4096)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def save(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def ihdr(
    width: int = 8, height: int = 8, depth: int = 8, colour: int = 2, rest: tuple[int, int, int] = (0, 0, 0)
) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, *rest))


IDAT = chunk(b"IDAT", zlib.compress(bytes(8 * 25)))
IEND = chunk(b"IEND", b"")


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP"
    for kind, content in chunks:
        body += kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def vp8x(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def body_of(webp: bytes) -> tuple[bytes, bytes]:
    """The one chunk of a simple WebP."""
    length = int.from_bytes(webp[16:20], "little")
    return webp[12:16], webp[20 : 20 + length]


RGB = Image.new("RGB", (40, 24), (200, 30, 90))
RGBA = Image.new("RGBA", (40, 24), (200, 30, 90, 100))

GOOD: dict[str, tuple[bytes, ImageFormat]] = {
    "png rgb": (save(RGB, "PNG"), ImageFormat.PNG),
    "png rgba": (save(RGBA, "PNG"), ImageFormat.PNG),
    "png grey": (save(RGB.convert("L"), "PNG"), ImageFormat.PNG),
    "png bilevel": (save(RGB.convert("1"), "PNG"), ImageFormat.PNG),
    "png palette": (save(RGB.convert("P"), "PNG"), ImageFormat.PNG),
    "jpeg": (save(RGB, "JPEG"), ImageFormat.JPEG),
    "jpeg progressive": (save(RGB, "JPEG", progressive=True), ImageFormat.JPEG),
    "jpeg grey": (save(RGB.convert("L"), "JPEG"), ImageFormat.JPEG),
    "jpeg with exif": (save(RGB, "JPEG", exif=Image.Exif().tobytes()), ImageFormat.JPEG),
    "jpeg with restarts": (save(RGB, "JPEG", restart_marker_blocks=1), ImageFormat.JPEG),
    "webp lossy": (save(RGB, "WEBP"), ImageFormat.WEBP),
    "webp lossless": (save(RGB, "WEBP", lossless=True), ImageFormat.WEBP),
    "webp with alpha": (save(RGBA, "WEBP"), ImageFormat.WEBP),
    "webp lossless with alpha": (save(RGBA, "WEBP", lossless=True), ImageFormat.WEBP),
    "webp with exif": (save(RGB, "WEBP", exif=b"Exif\0\0" + bytes(31)), ImageFormat.WEBP),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_whole_picture_passes(name: str) -> None:
    data, format = GOOD[name]
    assert inspect(data, LIMITS) == Picture(format, 40, 24)


@pytest.mark.parametrize("name", GOOD)
def test_a_picture_that_is_cut_off_anywhere_does_not(name: str) -> None:
    data, _ = GOOD[name]
    for length in range(len(data)):
        with pytest.raises(NotAnImage):
            inspect(data[:length], LIMITS)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("tail", [b"\0", b"PK\x03\x04 and a whole archive", b"<script>", GOOD["png rgb"][0]])
def test_nothing_may_follow_the_end(name: str, tail: bytes) -> None:
    with pytest.raises(NotAnImage):
        inspect(GOOD[name][0] + tail, LIMITS)


@pytest.mark.parametrize("name", GOOD)
def test_limits_of_bytes_and_pixels_hold(name: str) -> None:
    data, _ = GOOD[name]
    with pytest.raises(TooLarge) as caught:
        inspect(data, Limits(len(data) - 1, 1 << 30))
    assert caught.value.metadata == {"limit": str(len(data) - 1), "unit": "bytes"}
    with pytest.raises(TooLarge) as caught:
        inspect(data, Limits(1 << 30, 40 * 24 - 1))
    assert caught.value.metadata["unit"] == "pixels"


def test_the_size_must_be_exact() -> None:
    with pytest.raises(WrongDimensions) as caught:
        Picture(ImageFormat.PNG, 40, 24).check_size(24, 40)
    assert caught.value.metadata == {"expected": "24x40", "got": "40x24"}


FRAMES = [Image.new("RGB", (40, 24), (shade, 0, 0)) for shade in (0, 100, 200)]
JPEG = GOOD["jpeg"][0]
SIMPLE_WEBP = GOOD["webp lossy"][0]

BAD: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "text": lambda: b"not an image",
    "gif": lambda: save(RGB, "GIF"),
    "bmp": lambda: save(RGB, "BMP"),
    "tiff": lambda: save(RGB, "TIFF"),
    "svg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "html before a png": lambda: b"<html>" + GOOD["png rgb"][0],
    "animated png": lambda: save(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]),
    "animated webp": lambda: save(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]),
    "multi-picture jpeg": lambda: save(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:]),
    "cmyk jpeg": lambda: save(RGB.convert("CMYK"), "JPEG"),
    "16 bit png": lambda: save(Image.new("I;16", (40, 24)), "PNG"),
    "png without area": lambda: SIGNATURE + ihdr(0, 8) + IDAT + IEND,
    "png of an unknown colour type": lambda: SIGNATURE + ihdr(colour=5) + IDAT + IEND,
    "png of an unknown compression": lambda: SIGNATURE + ihdr(rest=(1, 0, 0)) + IDAT + IEND,
    "png with a wrong checksum": lambda: SIGNATURE + ihdr() + IDAT[:-1] + b"\0" + IEND,
    "png without body": lambda: SIGNATURE + ihdr() + IEND,
    "png without palette": lambda: SIGNATURE + ihdr(colour=3) + IDAT + IEND,
    "png with a second header": lambda: SIGNATURE + ihdr() + ihdr() + IDAT + IEND,
    "png with a body in pieces": lambda: SIGNATURE + ihdr() + IDAT + chunk(b"tEXt", b"a\0b") + IDAT + IEND,
    "png with an unknown critical chunk": lambda: SIGNATURE + ihdr() + chunk(b"EVIL", b"") + IDAT + IEND,
    "png with something in its end": lambda: SIGNATURE + ihdr() + IDAT + chunk(b"IEND", b"x"),
    "png with damaged text": lambda: SIGNATURE + ihdr() + chunk(b"zTXt", b"a\0\0nonsense") + IDAT + IEND,
    "png with a body too short for its size": lambda: SIGNATURE + ihdr(4096, 4096) + IDAT + IEND,
    "jpeg without body": lambda: b"\xff\xd8\xff\xd9",
    "jpeg with two frames": lambda: JPEG[: JPEG.index(b"\xff\xda")] + JPEG[JPEG.index(b"\xff\xc0") :],
    "jpeg with arithmetic coding": lambda: JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1),
    "jpeg of 12 bits": lambda: JPEG.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c", 1),
    "jpeg without height": lambda: JPEG.replace(b"\x00\x11\x08\x00\x18", b"\x00\x11\x08\x00\x00", 1),
    "jpeg with a segment of no length": lambda: b"\xff\xd8\xff\xe0\x00\x00" + JPEG[2:],
    "webp with a wrong length": lambda: SIMPLE_WEBP[:4] + b"\x08\0\0\0" + SIMPLE_WEBP[8:],
    "webp without chunks": lambda: riff(),
    "webp with two bodies": lambda: riff(vp8x(40, 24), body_of(SIMPLE_WEBP), body_of(SIMPLE_WEBP)),
    "webp with a body smaller than its canvas": lambda: riff(vp8x(400, 24), body_of(SIMPLE_WEBP)),
    "webp that says it is animated": lambda: riff(vp8x(40, 24, 2), body_of(SIMPLE_WEBP)),
    "webp with an unknown chunk": lambda: riff(vp8x(40, 24), body_of(SIMPLE_WEBP), (b"EVIL", b"")),
    "simple webp with something behind": lambda: riff(body_of(SIMPLE_WEBP), (b"EXIF", b"x")),
    "webp without a key frame": lambda: riff((b"VP8 ", b"\x01" + body_of(SIMPLE_WEBP)[1][1:])),
    "webp whose partition is longer than it": lambda: riff((b"VP8 ", body_of(SIMPLE_WEBP)[1][:20])),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_a_whole_single_picture_is_refused(name: str) -> None:
    with pytest.raises(NotAnImage) as caught:
        inspect(BAD[name](), LIMITS)
    assert caught.value.metadata["why"]


BOMBS: dict[str, Callable[[], bytes]] = {
    "png of 100,000 x 100,000": lambda: SIGNATURE + ihdr(100_000, 100_000) + IDAT + IEND,
    "png whose body inflates a thousandfold": lambda: (
        SIGNATURE + ihdr(30_000, 30_000, 1, 0) + chunk(b"IDAT", zlib.compress(bytes(112_500_000 // 8))) + IEND
    ),
    "png with compressed text that inflates to 64 MB": lambda: (
        SIGNATURE + ihdr() + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(64_000_000))) + IDAT + IEND
    ),
    "png with international text that inflates to 64 MB": lambda: (
        SIGNATURE + ihdr() + chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(64_000_000))) + IDAT + IEND
    ),
    "png with a profile that inflates to 64 MB": lambda: (
        SIGNATURE + ihdr() + chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(64_000_000))) + IDAT + IEND
    ),
    "png with 2 MB of text": lambda: SIGNATURE + ihdr() + chunk(b"tEXt", b"a\0" + bytes(2_000_000)) + IDAT + IEND,
    "png with a hundred texts": lambda: SIGNATURE + ihdr() + chunk(b"tEXt", b"a\0b") * 100 + IDAT + IEND,
    "png with 20,000 chunks": lambda: SIGNATURE + ihdr() + chunk(b"IDAT", b"") * 20_000 + IEND,
    "jpeg of 65,500 x 65,500": lambda: JPEG.replace(b"\x08\x00\x18\x00\x28", b"\x08\xff\xdc\xff\xdc", 1),
    "jpeg with a hundred scans": lambda: (
        (progressive := GOOD["jpeg progressive"][0])[: (at := progressive.rindex(b"\xff\xda"))]
        + progressive[at:-2] * 100
        + b"\xff\xd9"
    ),
    "jpeg with 2 MB of comments": lambda: JPEG[:2] + (b"\xff\xfe\xff\xff" + bytes(65_533)) * 32 + JPEG[2:],
    "webp of 16,383 x 16,383": lambda: riff(
        (b"VP8 ", body_of(SIMPLE_WEBP)[1][:6] + b"\xff\x3f\xff\x3f" + body_of(SIMPLE_WEBP)[1][10:])
    ),
    "webp with a canvas of 16 million squared": lambda: riff(vp8x(1 << 24, 1 << 24), body_of(SIMPLE_WEBP)),
    "webp with 2 MB of metadata": lambda: riff(vp8x(40, 24), (b"EXIF", bytes(2_000_000)), body_of(SIMPLE_WEBP)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_without_memory_for_it(name: str) -> None:
    bomb = BOMBS[name]()
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            inspect(bomb, LIMITS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_the_biggest_mask_of_one_colour_is_no_bomb() -> None:
    mask = save(Image.new("L", (4096, 4096), 255), "PNG")
    assert inspect(mask, LIMITS) == Picture(ImageFormat.PNG, 4096, 4096)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.randoms(use_true_random=False))
def test_whatever_is_changed_the_answer_is_a_picture_or_a_refusal(name: str, noise: random.Random) -> None:
    data = bytearray(GOOD[name][0])
    for _ in range(noise.randint(1, 4)):
        data[noise.randrange(len(data))] = noise.randrange(256)
    try:
        found = inspect(bytes(data), LIMITS)
    except ServiceError as error:
        assert isinstance(error, (NotAnImage, TooLarge))  # noqa: PT017
    else:
        assert found.width * found.height <= LIMITS.max_pixels


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([SIGNATURE, b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBP"]), st.binary(max_size=200))
def test_noise_behind_a_good_beginning_is_refused(beginning: bytes, noise: bytes) -> None:
    with pytest.raises((NotAnImage, TooLarge)):
        inspect(beginning + noise, LIMITS)


def test_pictures_of_the_kit_differ_by_seed() -> None:
    assert paint(seed=1) != paint(seed=2)
