"""Weights in a prompt: `(words:1.3)` counts for more, `(words:0.6)` for less. Other notations are named, not guessed.

Words in plain brackets are plain words, as in any text. A weight is read only where it cannot be meant otherwise: above
0, at most 2, and of something with a letter in it, so `(16:9)` stays what it is. Weights may lie in each other; then
they multiply. In a prompt with weights `\\(` and `\\)` are brackets of the words themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_WEIGHT = 2.0

_WEIGHT = re.compile(r":\s*(\d*\.?\d+)\s*$")
_MARK = re.compile(r"\\[()\\]|[()]")
_OTHER_NOTATIONS = re.compile(
    r"""
    \(\([^()]*\)\)                 # ((words))
    | \[[^][]*[|:][^][]*\]         # [from:to:0.5], [one|other]
    | \[\[?[^][]+\]\]?             # [words]
    | <[a-z]+:[^<>]+>              # <lora:name:0.8>
    | \w+(?:\+\+|--)(?!\w)         # words++
    | \b(?:BREAK|AND)\b
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Emphasised:
    """A prompt in parts, each with its weight."""

    parts: tuple[tuple[str, float], ...]
    not_understood: tuple[str, ...] = ()
    """Notations of other programs that are read as plain words."""

    @property
    def text(self) -> str:
        """The words alone."""
        return "".join(words for words, _ in self.parts)

    @property
    def weighted(self) -> bool:
        return any(weight != 1.0 for _, weight in self.parts)


def read(prompt: str) -> Emphasised:
    """A prompt's parts. One without weights is one part, and exactly as it was written."""
    strange = tuple(found.group(0) for found in _OTHER_NOTATIONS.finditer(prompt))
    if ":" not in prompt or "(" not in prompt:
        return Emphasised(((prompt, 1.0),), strange)
    parts, weighted = _parts(prompt)
    return Emphasised(_joined(parts) if weighted else ((prompt, 1.0),), strange)


def _parts(prompt: str) -> tuple[list[tuple[str, float]], bool]:
    """Every part, and whether any has a weight."""
    parts: list[tuple[str, float]] = []
    opened: list[int] = []
    weighted = False
    at = 0
    for mark in _MARK.finditer(prompt):
        if mark.start() > at:
            parts.append((prompt[at : mark.start()], 1.0))
        at = mark.end()
        sign = mark.group(0)
        if sign == "(":
            opened.append(len(parts))
            parts.append(("(", 1.0))
        elif sign == ")" and opened and (inside := _weighted(parts[(first := opened.pop()) + 1 :])):
            parts[first:] = inside
            weighted = True
        else:
            parts.append((sign[-1], 1.0))
    if at < len(prompt):
        parts.append((prompt[at:], 1.0))
    return parts, weighted


def _weighted(inside: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The parts between two brackets with the weight that they end with; none if they end with none."""
    if not inside or (found := _WEIGHT.search(inside[-1][0])) is None:
        return []
    factor = float(found.group(1))
    inside = [*inside[:-1], (inside[-1][0][: found.start()], inside[-1][1])]
    if not 0 < factor <= MOST_WEIGHT or not any(letter.isalpha() for words, _ in inside for letter in words):
        return []
    return [(words, weight * factor) for words, weight in inside]


def _joined(parts: list[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """Neighbours of one weight made one, and nothing empty."""
    joined: list[tuple[str, float]] = []
    for words, weight in parts:
        if joined and joined[-1][1] == weight:
            joined[-1] = (joined[-1][0] + words, weight)
        elif words:
            joined.append((words, weight))
    return tuple(joined)
