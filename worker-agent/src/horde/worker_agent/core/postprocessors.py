"""What changes a finished picture, and the files that each post-processor needs. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from horde.worker_agent.core.jobs import Feature

UPSCALES: Mapping[str, int] = {"UPSCALE_2X": 2, "UPSCALE_4X": 4}
"""By post-processor, how many times as wide and as high the picture becomes."""
NEEDS: Mapping[str, frozenset[str]] = {
    "UPSCALE_2X": frozenset({"upscaler"}),
    "UPSCALE_4X": frozenset({"upscaler"}),
    "FACE_REPAIR": frozenset({"face-finder", "face-repair"}),
    "STRIP_BACKGROUND": frozenset({"background"}),
}
"""By post-processor, the models that it takes."""
KINDS: Mapping[str, str] = {
    "upscaler": ".safetensors",
    "face-repair": ".safetensors",
    "face-finder": ".onnx",
    "background": ".onnx",
}
"""What the models are called, and what their files end with: neither kind of file runs anything when it is opened."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ToolFile:
    """The model of a post-processor, and the only content that it may have."""

    kind: str
    path: Path
    sha256: str


def tool_files(text: str) -> tuple[ToolFile, ...]:
    """The files of a setting `KIND=FILE#SHA256,…`. Raises ValueError."""
    found: dict[str, ToolFile] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, _, rest = part.partition("=")
        place, _, sha256 = rest.rpartition("#")
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
        if kind in found:
            raise ValueError(f"{kind} is named twice")
        if not place or not _SHA256.fullmatch(sha256):
            raise ValueError(f"{part!r} is not {kind}=FILE#SHA256, with 64 hexadecimal digits")
        if not place.endswith(KINDS[kind]):
            raise ValueError(f"{place}: for {kind} only {KINDS[kind]} is taken; other kinds may run something")
        found[kind] = ToolFile(kind, Path(place).expanduser(), sha256)
    return tuple(found.values())


def done_with(kinds: Collection[str]) -> frozenset[str]:
    """The post-processors whose models are all among these."""
    return frozenset(name for name, needed in NEEDS.items() if needed <= set(kinds))


def features(kinds: Collection[str]) -> frozenset[Feature]:
    """What may be offered with these models: each feature is all of its post-processors or nothing."""
    done, found = done_with(kinds), set()
    if done >= UPSCALES.keys():
        found.add(Feature.UPSCALING)
    if done >= NEEDS.keys() - UPSCALES.keys():
        found.add(Feature.POST_PROCESSING)
    return frozenset(found)
