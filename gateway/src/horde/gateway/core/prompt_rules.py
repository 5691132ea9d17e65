"""Holding prompts against rules: block lists by expression and by text that looks alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from horde.gateway.core.prompt_filters import FilterKind, PromptFilter
from horde.services.folding import expression, fold, within

Meets = Callable[[str, str], bool]
"""Whether a prompt meets a rule: the prompt as it came, and folded."""


def compiled(kind: FilterKind, pattern: str) -> Meets:
    """How a rule compares; raises ValueError for a pattern that cannot be."""
    if kind is FilterKind.EXPRESSION:
        meets = expression(pattern)
        return lambda prompt, folded: meets(prompt)
    part = fold(pattern)
    if not part:
        raise ValueError("has no letter and no digit")
    return lambda prompt, folded: within(part, folded)


class PromptRules:
    """Some rules, ready to be held against prompts."""

    def __init__(self, filters: Iterable[PromptFilter] = ()) -> None:
        self._rules = [(rule, compiled(rule.kind, rule.pattern)) for rule in filters]

    def __len__(self) -> int:
        return len(self._rules)

    def met_by(self, prompt: str) -> list[PromptFilter]:
        """The rules that a prompt meets, oldest first."""
        if not self._rules:
            return []
        folded = fold(prompt)
        return [rule for rule, meets in self._rules if meets(prompt, folded)]
