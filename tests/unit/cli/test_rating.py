"""What may be typed as a rating, and pictures in terminals that can show them."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from horde.cli.commands.rating import is_answer
from horde.cli.commands.showing import escapes


@pytest.mark.parametrize("line", ["1", "10", "7 0", "7 5", "s", "q"])
def test_a_score_with_or_without_artifacts_or_a_known_word_is_an_answer(line: str) -> None:
    assert is_answer(line)


@pytest.mark.parametrize("line", ["", "0", "11", "5 6", "5 5 5", "-1", "x", "s 5", "５", "7.5"])
def test_nothing_else_is_an_answer(line: str) -> None:
    assert not is_answer(line)


def picture(width: int = 1_000, height: int = 500) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((width, height), 80).convert("RGB").save(out, "WEBP")
    return out.getvalue()


def test_kitty_gets_a_png_in_parts_of_which_the_last_says_so() -> None:
    drawn = escapes(picture(), {"TERM": "xterm-kitty"})
    assert drawn is not None
    parts = [part.removeprefix("\x1b_G") for part in drawn.split("\x1b\\")[:-1]]
    assert parts[0].startswith("f=100,a=T,m=1;")
    assert [part.partition(";")[0][-3:] for part in parts] == [*["m=1"] * (len(parts) - 1), "m=0"]
    png = base64.b64decode("".join(part.partition(";")[2] for part in parts))
    with Image.open(io.BytesIO(png)) as shown:
        assert (shown.format, shown.size) == ("PNG", (768, 384))


def test_iterm_gets_a_png_whose_size_is_said() -> None:
    drawn = escapes(picture(64, 64), {"TERM_PROGRAM": "iTerm.app"})
    assert drawn is not None
    head, _, encoded = drawn.removesuffix("\x07").partition(":")
    assert head == f"\x1b]1337;File=inline=1;size={len(base64.b64decode(encoded))}"


def test_a_terminal_that_knows_no_pictures_and_bytes_that_are_none_draw_nothing() -> None:
    assert escapes(picture(64, 64), {"TERM": "xterm-256color"}) is None
    assert escapes(b"no picture", {"TERM": "xterm-kitty"}) is None
