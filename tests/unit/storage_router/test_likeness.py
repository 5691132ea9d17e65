"""How far pictures are from each other: noise of devices is near, another picture is far."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image, ImageFilter

from horde.storage_router import decoder_child
from horde.storage_router.core.likeness import SKETCH_BYTES, Distance, Sketch, distance


def painted(seed: int, size: tuple[int, int] = (128, 96)) -> Image.Image:
    """Something with forms and colours."""
    noise = random.Random(seed)
    small = Image.frombytes("RGB", (8, 8), noise.randbytes(192))
    return small.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))


def noisy(image: Image.Image, levels: int, seed: int) -> Image.Image:
    """The same, as another machine would paint it."""
    chance = random.Random(seed)
    data = bytes(min(255, max(0, value + chance.randint(-levels, levels))) for value in image.tobytes())
    return Image.frombytes(image.mode, image.size, data)


def sketch(image: Image.Image, kind: str = "PNG") -> Sketch:
    out = io.BytesIO()
    image.save(out, kind)
    why, data = decoder_child.sketch(kind, *image.size, out.getvalue())
    assert why == ""
    return Sketch(data)


def test_a_picture_is_no_way_from_itself() -> None:
    found = distance(sketch(painted(1)), sketch(painted(1)))
    assert (found.structure, found.edges, found.luma, found.chroma) == (0, 0, 0, 0)
    assert found.contrast_one == found.contrast_other > 10_000


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_near_and_another_picture_is_far(seed: int) -> None:
    first = painted(seed)
    near = distance(sketch(first), sketch(noisy(first, 2, seed)))
    assert near.structure <= 4
    assert near.luma < 1_500
    far = distance(sketch(first), sketch(painted(seed + 100)))
    assert 16 <= far.structure <= 48
    assert far.luma > 15_000
    assert far.edges > 80


def test_the_encoding_matters_little() -> None:
    found = distance(sketch(painted(3)), sketch(painted(3), "WEBP"))
    assert found.structure <= 4
    assert found.luma < 3_000


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_any_kind_of_picture_has_a_sketch(mode: str) -> None:
    assert len(sketch(painted(4).convert(mode)).data) == SKETCH_BYTES


def test_one_colour_has_no_contrast() -> None:
    assert sketch(Image.new("RGB", (64, 64), (20, 80, 160))).contrast == 0


def test_a_distance_is_the_same_from_both_sides() -> None:
    one, other = sketch(painted(1)), sketch(painted(2))
    there, back = distance(one, other), distance(other, one)
    assert there == Distance(back.structure, back.edges, back.luma, back.chroma, back.contrast_other, back.contrast_one)


def test_colours_that_are_changed_alone_are_told_by_chroma() -> None:
    first = painted(5).convert("YCbCr")
    y, cb, cr = first.split()
    turned = Image.merge("YCbCr", (y, cr, cb)).convert("RGB")
    found = distance(sketch(first.convert("RGB")), sketch(turned))
    assert found.chroma > 8_000


def test_what_is_no_picture_has_no_sketch() -> None:
    assert decoder_child.sketch("PNG", 8, 8, b"no picture")[0] != ""
    with pytest.raises(ValueError, match="bytes"):
        Sketch(b"short")
