"""Text as the eye reads it, and expressions that always end."""

from __future__ import annotations

import time

import pytest

from horde.services.folding import expression, fold, within


@pytest.mark.parametrize(
    "text",
    ["forbidden word", "FORBIDDEN  Word", "ｆｏｒｂｉｄｄｅｎ word", "fоrbiddеn word", "for\u200bbid\u00adden word",
     "fórbìdden wörd", "f0rb!dden w0rd", "𝒇𝒐𝒓𝒃𝒊𝒅𝒅𝒆𝒏 word", "forbidden-word!", "F.o.r.b.i.d.d.e.n w-o-r-d"],
)  # fmt: skip
def test_what_looks_alike_is_the_same(text: str) -> None:
    assert within(fold("forbidden word"), fold(f"a fox and a {text}, in the rain"))


@pytest.mark.parametrize("text", ["a forbiddenword", "forbidden swords", "a word that is forbidden", ""])
def test_what_is_another_word_is_not(text: str) -> None:
    assert not within(fold("forbidden word"), fold(text))


def test_an_empty_text_is_in_nothing() -> None:
    assert not within(fold("\u200b"), fold("anything"))


def test_a_hostile_expression_ends_at_once_or_is_refused() -> None:
    began = time.process_time()
    meets = expression(r"(a|aa|a?)+b")
    assert not meets("a" * 20_000)
    assert time.process_time() - began < 1.0
    for pattern in (r"((a{100}){100}){100}", r"(?=look)ahead", r"(a)\1", "(", "x" * 1_001):
        with pytest.raises(ValueError, match=r"."):
            expression(pattern)


def test_expressions_do_not_mind_case() -> None:
    assert expression(r"\bfox(es)?\b")("Two FOXES")
    assert not expression(r"\bfox\b")("foxtrot")
