"""Whether the inputs of a generation fit together, once storage has said what they are."""

from __future__ import annotations

from dataclasses import dataclass

from horde.services.errors import FieldViolation


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def size_violations(sizes: dict[str, Size], max_pixels: int, root: str = "spec.job.image") -> list[FieldViolation]:
    """What is wrong with inputs of these sizes, by the name of their fields."""
    found = [
        FieldViolation(f"{root}.{field}", f"is {size}, more than {max_pixels} pixels")
        for field, size in sizes.items()
        if size.width * size.height > max_pixels
    ]
    source, mask = sizes.get("source_image"), sizes.get("mask")
    if source is not None and mask is not None and source != mask:
        found.append(FieldViolation(f"{root}.mask", f"is {mask}; must have the size of the source image, {source}"))
    return found
