"""What is counted in a release. Parts are counted each by itself and added up; nothing here grows with the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

COUNTED: Final = (
    "model",
    "sampler",
    "steps",
    "pixels",
    "prompt_words",
    "source_format",
    "user_type",
    "moderation",
    "day",
)
"""What images are counted by."""
OTHERS: Final = "(others)"
MAX_VALUES: Final = 500
"""Values of one kind that are counted by themselves; the rarest go together."""


@dataclass(slots=True)
class Statistics:
    """Counts of images. Added up in any order they give the same."""

    images: int = 0
    bytes: int = 0
    near_duplicates: int = 0
    by: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in COUNTED})
    left_out: Counter[str] = field(default_factory=Counter)

    def count(self, row: Mapping[str, Any]) -> None:
        """Count an image by its row."""
        self.images += 1
        self.bytes += row["bytes"]
        self.near_duplicates += row["near_duplicate_of"] is not None
        values = {
            "model": row["model"],
            "sampler": row["sampler"] or "(the model's own)",
            "steps": _below(row["steps"]),
            "pixels": _below(row["width"] * row["height"]),
            "prompt_words": _below(len(row["prompt"].split())),
            "source_format": row["source_format"],
            "user_type": row["user_type"],
            "moderation": row["moderation"] or "(not looked at)",
            "day": row["created_at"].date().isoformat(),
        }
        for name, value in values.items():
            self.by[name][str(value)] += 1

    def add(self, other: Statistics) -> None:
        """Add what another has counted."""
        self.images += other.images
        self.bytes += other.bytes
        self.near_duplicates += other.near_duplicates
        self.left_out.update(other.left_out)
        for name, counts in other.by.items():
            self.by[name].update(counts)

    def to_json(self) -> dict[str, Any]:
        """As plain data, sorted."""
        return {
            "images": self.images,
            "bytes": self.bytes,
            "near_duplicates": self.near_duplicates,
            "by": {name: dict(sorted(counts.items())) for name, counts in self.by.items()},
            "left_out": dict(sorted(self.left_out.items())),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Statistics:
        by = {name: Counter(data["by"].get(name, {})) for name in COUNTED}
        return cls(data["images"], data["bytes"], data["near_duplicates"], by, Counter(data["left_out"]))


def shorten(counts: Mapping[str, int], most: int = MAX_VALUES) -> dict[str, int]:
    """The most frequent values, the others together."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = dict(ranked[:most])
    if rest := sum(count for _, count in ranked[most:]):
        shown[OTHERS] = rest
    return shown


def label(value: str) -> str:
    """A value for people: `32 to 63` of `<0000064`."""
    if not (value.startswith("<") and value[1:].isdigit()):
        return value
    limit = int(value[1:])
    least, most = limit // 2, limit - 1
    return f"{most:,}" if most <= least else f"{least:,} to {most:,}"


def _below(number: int) -> str:
    """A power of two that the number lies below, as text that sorts: `<0000064`."""
    return f"<{1 << number.bit_length():07}"
