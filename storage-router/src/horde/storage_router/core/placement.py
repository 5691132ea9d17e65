"""Where an image goes: the sharing table of the design as one pure function.

The gateway has its own copy and freezes the answer; the router computes it again from the signed facts. Both are tested
against `protos/vectors/placement.json`. A mismatch is a defect or an attack, and stores nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from horde.storage_router.core.errors import PlacementMismatch


class Placement(Enum):
    """Which bucket; the value is the word in tokens."""

    PRIVATE = "PRIVATE"
    SHARED = "SHARED"


@dataclass(frozen=True, slots=True)
class PlacementFacts:
    """All that decides a placement, and which text the requester agreed to."""

    anonymous: bool
    asked: bool
    has_input: bool
    consent_text_version: str = ""


def place(facts: PlacementFacts) -> Placement:
    """The placement that the facts give. Somebody's photo may be in an input, so an input outweighs everything."""
    if facts.has_input:
        return Placement.PRIVATE
    if facts.anonymous or facts.asked:
        return Placement.SHARED
    return Placement.PRIVATE


def check_placement(signed: Placement, facts: PlacementFacts) -> None:
    """Raise PlacementMismatch unless the facts give what was signed."""
    computed = place(facts)
    if computed is not signed:
        raise PlacementMismatch(metadata={"signed": signed.value, "computed": computed.value})
