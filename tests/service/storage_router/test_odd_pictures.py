"""What people send: files of many cameras and programs, taken as a viewer shows them, or refused with a plain word."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from PIL import Image

from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.services.errors import ServiceError
from horde.storage_router.core import keys
from horde.storage_router.core.errors import DigestMismatch, NotAnImage, ProtocolViolation, TooLarge
from horde.storage_router.core.pictures import Change
from horde.storage_router.core.records import InputRecord
from horde.storage_router.decoding import DecoderPool
from horde.storage_router.doors.permits import AUDIENCE
from horde.testkit.loopback import ManualClock
from horde.testkit.odd_pictures import (
    GREY,
    HEIGHT,
    RED,
    WIDTH,
    exif,
    half_transparent,
    iso_file,
    png_16_bits,
    portrait,
    scene,
    wide_gamut,
    write,
)
from horde.testkit.storage_router import LIFETIME, Kit, kit, paint

WHITE = (255, 255, 255)
AS_IT_IS = Change.NONE
ORIENTED = Change.ORIENTED | Change.STRIPPED


@dataclass(frozen=True)
class Taken:
    """What must come of a file: what was changed, and the colours of its upper left and lower right."""

    make: Callable[[], bytes]
    changes: Change
    first: tuple[int, int, int] = RED
    last: tuple[int, int, int] = GREY


@dataclass(frozen=True)
class Refused:
    """A file that is not taken: the error, and words of it."""

    make: Callable[[], bytes]
    words: str
    error: type[ServiceError] = NotAnImage


TABLE: dict[str, Taken | Refused] = {
    # cameras and phones
    "a compact camera, level": Taken(lambda: write(scene(), exif=exif(maker="Canon")), Change.STRIPPED),
    "a phone held upright": Taken(portrait(6, "Apple"), ORIENTED),
    "a phone held upright, the other way": Taken(portrait(8, "Google"), ORIENTED),
    "an action camera, upside down": Taken(portrait(3, "GoPro"), ORIENTED),
    "a front camera that mirrors": Taken(portrait(2, "samsung"), ORIENTED),
    "a scanner that mirrors and turns": Taken(portrait(5, "EPSON"), ORIENTED),
    "a drone, mirrored upside down": Taken(portrait(4, "DJI"), ORIENTED),
    "a repro stand, across": Taken(portrait(7, "PHASE ONE"), ORIENTED),
    "a camera that adds a large preview (MPF)": Taken(
        lambda: write(scene(), "MPO", save_all=True, append_images=[scene().resize((48, 32))]),
        Change.FIRST_FRAME | Change.STRIPPED,
    ),
    "a phone's motion photo": Taken(lambda: write(scene()) + iso_file(b"mp42") + bytes(9_000), Change.STRIPPED),
    "a phone with wide colours": Taken(
        lambda: write(scene(), icc_profile=wide_gamut(), subsampling=0),
        Change.COLOUR_CONVERTED | Change.STRIPPED,
        first=(20, 230, 20),
    ),
    "a camera's own sRGB profile": Taken(
        lambda: write(scene(), icc_profile=_srgb()),
        Change.STRIPPED,
    ),
    "a reporter's camera with a comment": Taken(lambda: write(scene(), comment=b"for the desk"), Change.STRIPPED),
    # programs
    "a layout program's CMYK": Taken(lambda: write(scene("CMYK")), Change.COLOUR_CONVERTED),
    "a web export, progressive": Taken(lambda: write(scene(), progressive=True), AS_IT_IS),
    "a grey JPEG": Taken(lambda: write(scene("L")), AS_IT_IS, first=(83,) * 3),
    "a download that lost its last two bytes": Taken(lambda: write(scene())[:-2], Change.NONE),
    "a progressive one that did": Taken(lambda: write(scene(), progressive=True)[:-2], Change.NONE),
    "a text editor's newline behind a JPEG": Taken(lambda: write(scene()) + b"\n", Change.STRIPPED),
    "a newline behind a PNG": Taken(lambda: write(scene(), "PNG") + b"\n", Change.STRIPPED),
    "a painting program's transparency": Taken(lambda: write(half_transparent(), "PNG"), Change.FLATTENED, last=WHITE),
    "a sticker": Taken(
        lambda: write(half_transparent(), "WEBP", lossless=True), Change.FLATTENED | Change.REENCODED, last=WHITE
    ),
    "a screenshot with an alpha channel": Taken(lambda: write(scene("RGBA"), "PNG"), Change.NONE),
    "a screenshot in a palette": Taken(lambda: write(scene().quantize(8), "PNG"), AS_IT_IS),
    "a retouching program's 16 bits": Taken(lambda: png_16_bits(2), Change.COLOUR_CONVERTED),
    "a scan in 16 bits of grey": Taken(
        lambda: png_16_bits(0), Change.COLOUR_CONVERTED, first=(230,) * 3, last=(120,) * 3
    ),
    "a mask of one bit": Taken(
        lambda: write(scene("L").point(lambda v: 255 * (v > 100), "1"), "PNG"), AS_IT_IS, (0,) * 3, WHITE
    ),
    "a PNG that remembers how it was turned": Taken(lambda: write(scene(orientation=6), "PNG", exif=exif(6)), ORIENTED),
    "a PNG with its prompt in it": Taken(lambda: write(scene(), "PNG", pnginfo=_text("a red door")), Change.STRIPPED),
    "an animated PNG": Taken(
        lambda: write(scene(), "PNG", save_all=True, append_images=[scene().rotate(180)]),
        Change.FIRST_FRAME,
    ),
    "a plain WebP": Taken(lambda: write(scene(), "WEBP", lossless=True), AS_IT_IS),
    "a WebP that remembers how it was turned": Taken(
        lambda: write(scene(orientation=8), "WEBP", quality=95, exif=exif(8)), ORIENTED | Change.REENCODED
    ),
    "a reaction (GIF)": Taken(
        lambda: write(scene(), "GIF", save_all=True, append_images=[scene().rotate(180)]),
        Change.FIRST_FRAME | Change.REENCODED,
    ),
    "a logo (GIF)": Taken(lambda: write(scene().quantize(4), "GIF"), Change.REENCODED),
    "a browser's AVIF": Taken(lambda: write(scene(), "AVIF", quality=95), Change.REENCODED),
    "a painting program's BMP": Taken(lambda: write(scene(), "BMP"), Change.REENCODED),
    "a profile that is none": Taken(lambda: write(scene(), icc_profile=b"junk" * 50), Change.STRIPPED),
    # what is not taken
    "a phone's HEIC": Refused(lambda: iso_file(b"heic"), "HEIC"),
    "a phone's video": Refused(lambda: iso_file(b"isom").replace(b"mif1", b"mp42"), "video"),
    "a camera's raw file": Refused(lambda: b"II*\0" + bytes(500), "raw"),
    "a scan as TIFF": Refused(lambda: write(scene(), "TIFF"), "TIFF"),
    "JPEG XL": Refused(lambda: b"\xff\x0a" + bytes(100), "JPEG XL"),
    "JPEG 2000": Refused(lambda: write(scene(), "JPEG2000"), "JPEG 2000"),
    "a Photoshop file": Refused(lambda: b"8BPS\0\1" + bytes(100), "Photoshop"),
    "a drawing (SVG)": Refused(lambda: b'<?xml version="1.0"?><svg/>', "SVG"),
    "a PDF": Refused(lambda: b"%PDF-1.7\n", "PDF"),
    "a web page that says not found": Refused(lambda: b"<!doctype html><title>404</title>", "does not begin like one"),
    "nothing": Refused(lambda: b"", "empty"),
    "a download that lost its lower half": Refused(
        lambda: paint("JPEG", 128, 128, seed=1)[:-1500], "cannot be decoded"
    ),
    "a PNG that lost its lower half": Refused(lambda: paint("PNG", 128, 128, seed=1)[:-1500], "cannot be decoded"),
    "a picture with too many pixels": Refused(
        lambda: write(Image.new("L", (5_000, 3_000)), "PNG"), "pixels", error=TooLarge
    ),
    "a moving picture with too many pixels": Refused(
        lambda: write(Image.new("L", (5_000, 3_000)), "GIF"), "pixels", error=TooLarge
    ),
}


def _srgb() -> bytes:
    from PIL import ImageCms

    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def _text(text: str) -> object:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", text)
    return info


async def fetch(router: Kit, input_id: str, sent: bytes) -> bytes:
    """The input as the holder of a lease gets it."""
    claims = {
        "act": "get_input",
        "input_id": input_id,
        "sha256": hashlib.sha256(sent).hexdigest(),
        "requester": "alice",
    }
    header, kept = await router.download(router.scheduler.sign(AUDIENCE, claims, LIFETIME, router.clock.now()))
    assert header.sha256 == hashlib.sha256(kept).digest()
    return kept


def check(case: Taken, sent: bytes, kept: bytes, record: InputRecord) -> None:
    """What is kept is the scene as a viewer shows it, and nothing else."""
    assert record.changes == case.changes
    with Image.open(io.BytesIO(kept)) as image:
        assert image.format in ("PNG", "JPEG", "WEBP")
        assert image.size == (WIDTH, HEIGHT) == (record.content.width, record.content.height)
        assert not {"exif", "icc_profile", "xmp", "comment"} & image.info.keys()
        assert not getattr(image, "text", None)
        assert image.mode in ("RGB", "L", "P", "1")
        seen = image.convert("RGB")
    for at, colour in (((8, 8), case.first), ((WIDTH - 8, HEIGHT - 8), case.last)):
        got = seen.getpixel(at)
        assert isinstance(got, tuple)
        assert all(abs(a - b) <= 12 for a, b in zip(got, colour, strict=True)), (at, got, colour)


async def test_what_people_send_is_taken_as_they_see_it_or_refused_as_the_table_says() -> None:
    assert sum(isinstance(case, Taken) for case in TABLE.values()) > 30
    wrong: dict[str, object] = {}
    async with (
        DecoderPool(1, 1 << 23, 512 << 20, 60.0, 16 << 20) as pool,
        kit(ManualClock(), normaliser=pool) as router,
    ):
        for number, (name, case) in enumerate(TABLE.items()):
            input_id, sent = f"input-{number}", case.make()
            try:
                stored = await router.put_input(router.input_ticket(input_id), sent)
                assert isinstance(case, Taken), "it was taken"
                assert stored.sha256 == hashlib.sha256(sent).digest()
                assert (stored.width, stored.height) == (WIDTH, HEIGHT)
                found = await router.private.head(keys.input_image("alice", input_id))
                assert found is not None
                check(case, sent, await fetch(router, input_id, sent), InputRecord.from_metadata(found.metadata))
                assert await router.put_input(router.input_ticket(input_id), sent) == stored
            except ServiceError as error:
                if not (isinstance(case, Refused) and type(error) is case.error and case.words in error.message):
                    wrong[name] = error
            except AssertionError as error:
                wrong[name] = str(error)[:300]
        assert pool.started == 1
    assert wrong == {}


async def test_hidden_colours_under_transparency_are_gone() -> None:
    async with (
        DecoderPool(1, 1 << 22, 512 << 20, 60.0, 16 << 20) as pool,
        kit(ManualClock(), normaliser=pool) as router,
    ):
        sent = write(half_transparent(), "PNG")
        await router.put_input(router.input_ticket("input-1"), sent)
        with Image.open(io.BytesIO(await fetch(router, "input-1", sent))) as image:
            assert image.mode == "RGB"
            colours = {colour for _, colour in image.getcolors() or ()}
        assert (10, 250, 10) not in colours
        assert WHITE in colours


async def test_a_plain_file_is_kept_byte_for_byte() -> None:
    async with (
        DecoderPool(1, 1 << 22, 512 << 20, 60.0, 16 << 20) as pool,
        kit(ManualClock(), normaliser=pool) as router,
    ):
        for format in ("PNG", "JPEG", "WEBP"):
            await router.put_input(router.input_ticket(format), paint(format))
            assert await fetch(router, format, paint(format)) == paint(format)


async def test_one_that_grows_past_every_bound_when_it_is_unpacked_is_too_large() -> None:
    noise = Image.effect_noise((1_000, 1_000), 90).convert("RGB")
    async with DecoderPool(1, 1 << 22, 512 << 20, 60.0, 1 << 20) as pool, kit(ManualClock(), normaliser=pool) as router:
        with pytest.raises(TooLarge):
            await router.put_input(router.input_ticket("input-1"), write(noise, "WEBP", lossless=True, exif=exif(6)))
        await router.put_input(router.input_ticket("input-2"), paint("PNG"))


async def test_a_small_input_in_one_message_is_the_same_input_and_says_what_was_changed() -> None:
    sent = portrait(6, "Apple")()
    async with (
        DecoderPool(1, 1 << 22, 512 << 20, 60.0, 16 << 20) as pool,
        kit(ManualClock(), normaliser=pool) as router,
    ):
        ticket = router.input_ticket("input-1", max_bytes=16 << 20)
        request = storage.PutSmallInputRequest(ticket=ticket, data=sent, sha256=hashlib.sha256(sent).digest())
        stored = (await router.door.PutSmallInput(request)).input
        assert list(stored.changes) == [storage.INPUT_CHANGE_ORIENTED, storage.INPUT_CHANGE_STRIPPED]
        assert (stored.width, stored.height, stored.sha256) == (WIDTH, HEIGHT, hashlib.sha256(sent).digest())
        assert await router.put_input(ticket, sent) == stored
        with pytest.raises(ProtocolViolation):
            request.data = bytes((2 << 20) + 1)
            await router.door.PutSmallInput(request)
        with pytest.raises(DigestMismatch):
            await router.door.PutSmallInput(storage.PutSmallInputRequest(ticket=ticket, data=sent, sha256=bytes(32)))
