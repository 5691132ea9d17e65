"""Weights in prompts: what is read as one, and what stays a word."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from horde.worker_agent.core.breaker import FAULTS_IN_A_ROW, FIRST_SECONDS, LONGEST_SECONDS, Breaker
from horde.worker_agent.core.emphasis import read


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a red star", [("a red star", 1.0)]),
        ("a (red:1.3) star", [("a ", 1.0), ("red", 1.3), (" star", 1.0)]),
        ("(a cat:0.6)", [("a cat", 0.6)]),
        ("(a (red:1.5) cat:0.5)", [("a ", 0.5), ("red", 0.75), (" cat", 0.5)]),
        ("(red, (blue) sky:1.2)", [("red, (blue) sky", 1.2)]),
        (r"(a \(real\) cat:1.2)", [("a (real) cat", 1.2)]),
        # What could be meant otherwise is what it says.
        ("a photo (1990)", [("a photo (1990)", 1.0)]),
        ("aspect (16:9)", [("aspect (16:9)", 1.0)]),
        ("at 10:30 (or so)", [("at 10:30 (or so)", 1.0)]),
        ("(cat:7)", [("(cat:7)", 1.0)]),
        ("(cat:0)", [("(cat:0)", 1.0)]),
        ("((cat:1.2", [("((cat:1.2", 1.0)]),
        (r"\(cat:1.2\)", [(r"\(cat:1.2\)", 1.0)]),
        (")(", [(")(", 1.0)]),
    ],
)
def test_a_weight_is_read_where_nothing_else_can_be_meant(prompt: str, parts: list[tuple[str, float]]) -> None:
    found = read(prompt).parts
    assert [words for words, _ in found] == [words for words, _ in parts]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in parts])


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("a ((red)) star", ("((red))",)),
        ("[from:to:0.5] and [one|other]", ("[from:to:0.5]", "[one|other]")),
        ("<lora:ink:0.8> a cat", ("<lora:ink:0.8>",)),
        ("a cat++ and a dog--", ("cat++", "dog--")),
        ("red BREAK blue", ("BREAK",)),
        ("a (red) star, break of day, C++ and -- and", ("C++",)),
        ("a cat", ()),
    ],
)
def test_notations_of_other_programs_are_named(prompt: str, named: tuple[str, ...]) -> None:
    assert read(prompt).not_understood == named


@given(st.text(max_size=60))
def test_a_prompt_without_weights_stays_as_it_was_written(prompt: str) -> None:
    found = read(prompt)
    assert found.weighted or found.parts == ((prompt, 1.0),)


@given(st.text("a(:)1.2\\ ", max_size=40))
def test_reading_loses_no_word(prompt: str) -> None:
    assert [letter for letter in read(prompt).text if letter == "a"] == [letter for letter in prompt if letter == "a"]


def test_a_model_is_withdrawn_after_faults_in_a_row_for_longer_each_time() -> None:
    breaker = Breaker()
    waits = [breaker.failed(now=0.0) for _ in range(FAULTS_IN_A_ROW)]
    assert waits == [0.0, 0.0, FIRST_SECONDS]
    assert not breaker.offered(FIRST_SECONDS - 1)
    assert breaker.offered(FIRST_SECONDS)
    assert breaker.failed(FIRST_SECONDS) == 2 * FIRST_SECONDS
    assert max(breaker.failed(0.0) for _ in range(20)) == LONGEST_SECONDS


def test_one_picture_makes_the_record_clean() -> None:
    breaker = Breaker()
    for _ in range(FAULTS_IN_A_ROW):
        breaker.failed(now=0.0)
    breaker.succeeded()
    assert breaker.offered(0.0)
    assert breaker.failed(0.0) == 0.0
