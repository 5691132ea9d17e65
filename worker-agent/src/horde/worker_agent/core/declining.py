"""What the worker's owner does not paint: a list of texts and expressions, held against each prompt before it is begun.

A line is a text, found however it is written (case, accents, letters that look alike), or an expression in RE2's syntax
between two slashes. Empty lines and those that begin with # say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from horde.services.folding import expression, fold, within

Declines = Callable[[str], str]
"""Says by which rule a prompt is declined; empty: it is not."""


def declines(lines: Iterable[str]) -> Declines:
    """The rules of a list. Raises ValueError, which names the line."""
    texts: list[tuple[int, str]] = []
    expressions: list[tuple[int, Callable[[str], bool]]] = []
    for number, line in enumerate(lines, 1):
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        if len(rule) > 1 and rule.startswith("/") and rule.endswith("/"):
            try:
                expressions.append((number, expression(rule[1:-1])))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
        elif folded := fold(rule):
            texts.append((number, folded))
        else:
            raise ValueError(f"line {number}: has no letter and no digit")

    def declined(prompt: str) -> str:
        folded = fold(prompt)
        met = [number for number, text in texts if within(text, folded)]
        met += [number for number, meets in expressions if meets(prompt)]
        return f"the worker's owner does not paint this (rule {min(met)})" if met else ""

    return declined


def paints_all(prompt: str) -> str:
    """No rule at all."""
    return ""
