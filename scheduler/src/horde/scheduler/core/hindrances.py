"""Why a worker is given nothing, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Something that keeps jobs from a worker as such."""

    reason: int
    """`fitting.WhyNot`."""
    model: str = ""
    """Only for this one; empty: for all."""
    ends_in: float | None = None
    """Seconds; None: until something changes."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """Jobs that wait for somebody else, and why."""

    reason: int
    jobs: int
    model: str
    """With which most of them are."""


@dataclass(frozen=True, slots=True)
class Report:
    """Both, the most frequent cause first."""

    causes: tuple[Cause, ...] = ()
    hindrances: tuple[Hindrance, ...] = ()
