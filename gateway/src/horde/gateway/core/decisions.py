"""What people who run the horde decided: who, when, what and why. Kept as it was, and never changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

APPEAL = "appeal"
"""The one action that is its object's, not a decision's: a note about a restriction. `reason` is the note."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One of them. `subject` is the id of what it is about."""

    decision_id: str
    at: datetime
    by_account_id: str
    action: str
    subject: str
    reason: str
    detail: str = ""
