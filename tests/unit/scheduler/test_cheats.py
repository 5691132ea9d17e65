"""The short form of `make cheats`: who cheats is caught, who is honest is not, with pictures of simple forms."""

from __future__ import annotations

from random import Random

import pytest
from PIL import Image, ImageDraw, ImageFilter
from tests.unit.scheduler.cheats import (
    COARSE,
    EXACT,
    FEWER,
    MODEL,
    PROMPT,
    Album,
    Mesh,
    Painter,
    Picture,
    honest_mesh,
    schemes,
)

from horde.scheduler.core.checks import CREDIT

JOBS = 8


def forms(seed: int) -> Picture:
    """Some forms on a ground."""
    chance = Random(seed)
    picture = Image.new("RGB", (64, 64), tuple(chance.randbytes(3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(6):
        x, y, size = chance.randrange(56), chance.randrange(56), chance.randrange(8, 40)
        draw.ellipse((x, y, x + size, y + size), fill=tuple(chance.randbytes(3)))
    return picture.filter(ImageFilter.GaussianBlur(1))


@pytest.fixture(scope="module")
def album() -> Album:
    exact = [forms(number) for number in range(JOBS)]
    blurred = [picture.filter(ImageFilter.GaussianBlur(3)) for picture in exact]
    return Album(
        {
            EXACT: exact,
            COARSE: [picture.point(lambda value: value // 2 * 2) for picture in exact],
            FEWER: blurred,
            PROMPT: [forms(number + 100) for number in range(JOBS)],
            MODEL: [Image.blend(one, forms(number + 200), 0.35) for number, one in enumerate(exact)],
        }
    )


@pytest.fixture(scope="module")
def mesh(album: Album) -> tuple[Mesh, list[Painter]]:
    """A mesh in which 1,500 honest jobs were painted."""
    mesh, painters = honest_mesh(album, seed=1, owners=9)
    for number in range(1_500):
        mesh.asks(painters[number % len(painters)])
    return mesh, painters


def test_nobody_honest_is_punished_whatever_he_paints_on(mesh: tuple[Mesh, list[Painter]]) -> None:
    world, painters = mesh
    assert [world.standing(painter).caught for painter in painters] == [0] * len(painters)
    assert all(world.standing(painter).proven for painter in painters)
    assert not [verdict for verdict, _ in world.table.verdicts if verdict == "slash"]


def test_all_looks_together_are_a_small_part_of_all_work(mesh: tuple[Mesh, list[Painter]]) -> None:
    world, painters = mesh
    checks = world.table.board.checks
    # All are new yet, and what was saved up before they came is for them; without it:
    checks.credit = CREDIT / 2
    work, checked = checks.work, checks.checked
    for number in range(1_000):
        world.asks(painters[number % len(painters)])
    assert (checks.checked - checked) / (checks.work - work + checks.checked - checked) <= 0.03


@pytest.mark.parametrize(
    ("scheme", "most"),
    [
        ("blank", 3),
        ("random", 3),
        ("other prompt", 3),
        ("fewer steps", 8),
        ("another model", 8),
        ("one of ten blank", 400),
    ],
)
def test_who_cheats_is_caught(mesh: tuple[Mesh, list[Painter]], album: Album, scheme: str, most: int) -> None:
    world, _ = mesh
    cheat, every = schemes(album)[scheme]
    caught = world.caught_after(world.joins(scheme, "cuda-8.6 float32", cheat, every), most)
    assert caught is not None
    assert caught <= most
