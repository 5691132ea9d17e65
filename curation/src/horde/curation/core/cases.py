"""Moderation: how an image stands, and what reports and decisions change about it. Pure.

A report makes an image wait for a moderator, and no more; what waits is in no new data release. One report for child
safety also withholds it from everybody but moderators, as long as what is withheld on somebody's word alone has room
(`may_withhold`): else a few could take everything from everybody by saying so. A decision stands until there is another
one; what a person has found safe needs several reports to be looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from horde.curation.core.images import SharedImage, Verdict

REOPENING_REPORTS: Final = 3
"""Reports since a decision that it was safe, after which somebody looks again."""
MAX_WITHHELD: Final = 1_000
"""Images that are withheld on somebody's word alone, and wait for a moderator."""
MAX_WITHHELD_BY_STRANGERS: Final = 500
"""Of them on the word of anonymous, all together."""
MAX_WITHHELD_BY_ONE: Final = 20
"""On one account's word."""
MAX_WITHHELD_BY_NETWORK: Final = 10
"""On the word of anonymous from one network."""


class Reason(StrEnum):
    """What is wrong with an image."""

    NONE = ""
    CHILD_SAFETY = "child_safety"
    REAL_PERSON = "real_person"
    PRIVATE_DATA = "private_data"
    SEXUAL = "sexual"
    VIOLENT = "violent"
    HATEFUL = "hateful"
    COPYRIGHT = "copyright"
    BROKEN = "broken"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Report:
    """What one person said about an image."""

    report_id: str
    image_id: str
    reporter: str
    """A digest of who it was."""
    reason: Reason
    detail: str
    at: datetime
    stranger: bool = False
    """Anonymous."""
    network: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a moderator decided."""

    verdict: Verdict
    moderator_account_id: str
    at: datetime
    why: str
    reason: Reason = Reason.NONE


@dataclass(frozen=True, slots=True)
class Voice:
    """What one program said about an image."""

    checker: str
    verdict: Verdict
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How an image stands."""

    verdict: Verdict = Verdict.NONE
    withheld: bool = False
    withheld_by: str = ""
    """Who reported it, while it is withheld on that word alone."""
    withheld_network: str = ""
    """From which network, if that was a stranger."""
    opened_at: datetime | None = None
    """Since when it waits, or waited, for a moderator; None: it is no case."""
    decided: bool = False
    """A moderator has decided, and what was said since has not reopened it."""
    urgent: bool = False
    reports: int = 0
    """People who reported it since the last decision."""


@dataclass(frozen=True, slots=True)
class Case:
    """An image in the queue, with what was said of it."""

    image: SharedImage
    standing: Standing
    voices: Sequence[Voice] = ()
    reports: Sequence[Report] = ()
    """The newest first."""
    decisions: Sequence[Decision] = ()
    """The oldest first."""

    @property
    def place(self) -> Place:
        """Where it stands in the queue."""
        opened = self.standing.opened_at or self.image.shared_at
        return Place(self.standing.urgent, self.standing.reports, opened, self.image.image_id)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the queue."""

    urgent: bool
    reports: int
    opened_at: datetime
    image_id: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """How many images are withheld on somebody's word alone: in all, and on whose."""

    all: int = 0
    by_strangers: int = 0
    by_reporter: int = 0
    by_network: int = 0


def may_withhold(report: Report, withheld: Withheld) -> bool:
    """Whether a report may withhold one more image."""
    if withheld.all >= MAX_WITHHELD or withheld.by_reporter >= MAX_WITHHELD_BY_ONE:
        return False
    if not report.stranger:
        return True
    return withheld.by_strangers < MAX_WITHHELD_BY_STRANGERS and withheld.by_network < MAX_WITHHELD_BY_NETWORK


def after_report(standing: Standing, report: Report, withheld: Withheld, *, again: bool) -> Standing:
    """How an image stands after a report; `again`: the same person has reported it since the last decision already."""
    reports = standing.reports + (not again)
    child_safety = report.reason is Reason.CHILD_SAFETY
    reported = replace(
        standing,
        reports=reports,
        opened_at=standing.opened_at or report.at,
        urgent=standing.urgent or child_safety,
    )
    if standing.decided:
        if standing.verdict is Verdict.UNSAFE or reports < REOPENING_REPORTS:
            return reported
        # A person has looked at it: so it waits again, and is not withheld again.
        return replace(reported, verdict=Verdict.UNSURE, opened_at=report.at, decided=False)
    reported = replace(reported, verdict=Verdict.UNSAFE if standing.verdict is Verdict.UNSAFE else Verdict.UNSURE)
    if child_safety and not standing.withheld and may_withhold(report, withheld):
        network = report.network if report.stranger else ""
        reported = replace(reported, withheld=True, withheld_by=report.reporter, withheld_network=network)
    return reported


def after_decision(standing: Standing, decision: Decision) -> Standing:
    """How an image stands after a decision."""
    unsafe = decision.verdict is Verdict.UNSAFE
    # Whoever names no reason has not said that the worst of them does not hold.
    worst = decision.reason is Reason.CHILD_SAFETY or (decision.reason is Reason.NONE and standing.withheld)
    return Standing(
        verdict=decision.verdict,
        withheld=unsafe and worst,
        opened_at=standing.opened_at or decision.at,
        decided=True,
    )


def same_decision(last: Decision | None, asked: Decision) -> bool:
    """Whether a decision is the last one, said again."""
    return last is not None and replace(asked, at=last.at) == last


def to_file(standing: Standing) -> dict[str, object]:
    """What others read of it beside the image: builders of releases the verdict, the storage router the rest.

    `reported` is no verdict: somebody said so, and nobody has looked.
    """
    waits = standing.verdict is Verdict.UNSURE and standing.reports and not standing.decided
    return {"verdict": "reported" if waits else standing.verdict.value, "withheld": standing.withheld}
