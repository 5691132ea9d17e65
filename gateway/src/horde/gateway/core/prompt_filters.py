"""Rules that prompts are held against: what they are. How they compare is `horde.gateway.core.prompt_rules`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

MAX_FILTERS = 1_000


class FilterKind(IntEnum):
    """How a rule compares; numbers of the contract."""

    EXPRESSION = 1
    NORMALISED_TEXT = 2


@dataclass(frozen=True, slots=True)
class PromptFilter:
    """One rule. `message` is what a requester is told; `note` is for moderators. `request_id` is its maker's."""

    filter_id: str
    kind: FilterKind
    pattern: str
    message: str
    note: str
    created_by: str
    created_at: datetime
    request_id: str
