"""How far a request is, as AI Horde's clients hear it: whole numbers, and no wait of nothing while waiting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

METADATA_TYPES = {"loras": "lora", "textual_inversions": "ti", "source_image": "source_image", "mask": "source_mask"}
OTHER_TYPE = "source_image"
"""Of what has no type there: a client that knows seven types refuses the whole answer for an eighth, and of the seven
this one is read by nobody but people, who find the text in `ref`."""
POLL_SECONDS = 2
"""What is said of what is being painted: nobody knows better, and clients ask again after about this long."""
MOST_WAIT = 3_600


@dataclass(frozen=True)
class ImageFacts:
    """One image of a request, as far as its progress goes."""

    ended: bool
    shown: bool = False
    """It is done, or it was painted and withheld."""
    failed: bool = False
    working: bool = False
    """A worker has it, or its end is being carried out."""
    attempt: int = 0
    ahead: int = 0
    done_seconds: float | None = None
    """When it may be finished, of what waits."""
    possible: bool = True
    cost_mkudos: int = 0


def progress(images: Sequence[ImageFacts]) -> dict[str, Any]:
    """The fields of `check`."""
    finished = sum(image.shown for image in images)
    waiting = [image for image in images if not image.ended and not image.working]
    done = all(image.ended for image in images)
    known = [image.done_seconds for image in waiting if image.done_seconds is not None]
    wait = math.ceil(max(known, default=0.0)) if waiting else POLL_SECONDS
    return {
        "finished": finished,
        "processing": sum(image.working for image in images),
        "restarted": sum(image.attempt > 1 and not image.ended for image in images),
        "waiting": len(waiting),
        "done": done,
        "faulted": done and any(image.failed for image in images),
        "wait_time": 0 if done else min(max(wait, 1), MOST_WAIT),
        "queue_position": min((image.ahead + 1 for image in waiting), default=0),
        "kudos": sum(image.cost_mkudos for image in images) / 1_000,
        "is_possible": all(image.possible for image in waiting),
    }


@dataclass(frozen=True)
class DeviationFacts:
    """One thing that a worker did not do exactly as asked."""

    field: str
    asked: str
    done: str
    omitted: bool


def metadata(deviations: Sequence[DeviationFacts], *, censored: str = "") -> list[dict[str, str]]:
    """`gen_metadata`, of the types that every client knows."""
    entries = []
    if censored:
        entries.append({"type": "censorship", "value": "csam" if "csam" in censored.lower() else "nsfw"})
    for deviation in deviations:
        root = deviation.field.partition("[")[0].removeprefix("image.")
        kind = METADATA_TYPES.get(root, OTHER_TYPE)
        if kind in ("lora", "ti") and deviation.omitted:
            entries.append(
                {"type": kind, "value": "download_failed", "ref": (deviation.asked or deviation.field)[:255]}
            )
        else:
            did = f"{deviation.asked} became {deviation.done}" if deviation.asked else deviation.done
            words = (
                f"{deviation.field}: {did}" if deviation.done else f"{deviation.field}: {deviation.asked} was left out"
            )
            entries.append({"type": kind, "value": "see_ref", "ref": words[:255]})
    return entries
