"""Where an image goes: the sharing rules, as one pure function.

A private byte in a shared bucket is the worst bug this system can have. So this is all there is to decide it, the
storage router decides again by its own copy, and both are held to `protos/vectors/placement.json`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

TAX_SHARED_MKUDOS = 1_000
TAX_PRIVATE_MKUDOS = 3_000


class Placement(Enum):
    """Where an image goes; frozen at accept."""

    PRIVATE = "PRIVATE"
    SHARED = "SHARED"


class PlacementNotice(Enum):
    """What the requester is told about the placement, where it is not simply what was asked for."""

    NOT_SHARED_HAS_INPUT = "NOT_SHARED_HAS_INPUT"
    SHARED_ANONYMOUS = "SHARED_ANONYMOUS"
    SHARED_ASKED = "SHARED_ASKED"


@dataclass(frozen=True, slots=True)
class PlacementFacts:
    """All that decides a placement. `has_input`: a source image, a mask or a control image is used."""

    anonymous: bool
    asked: bool
    has_input: bool


@dataclass(frozen=True, slots=True)
class PlacementDecision:
    """Where each image goes, what the horde takes for it, and what to tell the requester."""

    placement: Placement
    tax_mkudos: int
    notices: tuple[PlacementNotice, ...]


def decide_placement(facts: PlacementFacts) -> PlacementDecision:
    """The sharing table: what uses somebody's picture stays private, anonymous shares, and who asks to share does."""
    if facts.has_input:
        return PlacementDecision(Placement.PRIVATE, TAX_PRIVATE_MKUDOS, (PlacementNotice.NOT_SHARED_HAS_INPUT,))
    if facts.anonymous:
        return PlacementDecision(Placement.SHARED, TAX_SHARED_MKUDOS, (PlacementNotice.SHARED_ANONYMOUS,))
    if facts.asked:
        return PlacementDecision(Placement.SHARED, TAX_SHARED_MKUDOS, (PlacementNotice.SHARED_ASKED,))
    return PlacementDecision(Placement.PRIVATE, TAX_PRIVATE_MKUDOS, ())
