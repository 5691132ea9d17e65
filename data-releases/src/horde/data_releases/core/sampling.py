"""Which images stand for a release on its contact sheet: as many different prompts as there is room for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SAMPLED: Final = ("sha256", "prompt", "shard", "tar_offset", "bytes")
"""The columns that images are chosen and read by."""


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """An image that may stand for others, and where it is. The one with the smaller digest stands first."""

    sha256: str
    prompt: str
    shard: str
    tar_offset: int
    bytes: int


class Sampler:
    """Chooses from rows that come in any order; keeps no more of them than it may choose."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of_prompt: dict[str, Sample] = {}
        self._first: list[Sample] = []

    def offer(self, row: Mapping[str, Any]) -> None:
        """An image by its row."""
        sample = Sample(*(row[name] for name in SAMPLED))
        known = self._of_prompt.get(sample.prompt)
        if known is None or sample < known:
            self._of_prompt[sample.prompt] = sample
            if len(self._of_prompt) > self._most:
                del self._of_prompt[max(self._of_prompt.values()).prompt]
        self._first = sorted([*self._first, sample])[: self._most]

    def chosen(self) -> list[Sample]:
        """The first image of each prompt; where there are too few prompts, others of theirs behind them."""
        unlike = sorted(self._of_prompt.values())
        others = [sample for sample in self._first if sample not in unlike]
        return [*unlike, *others][: self._most]
