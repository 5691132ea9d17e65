"""How an image stands, after whatever is said of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde.curation.core.cases import (
    MAX_WITHHELD,
    MAX_WITHHELD_BY_NETWORK,
    MAX_WITHHELD_BY_ONE,
    MAX_WITHHELD_BY_STRANGERS,
    REOPENING_REPORTS,
    Decision,
    Reason,
    Report,
    Standing,
    Withheld,
    after_decision,
    after_report,
    may_withhold,
    same_decision,
    to_file,
)
from horde.curation.core.images import Verdict

NOW = datetime(2026, 11, 26, 10, tzinfo=UTC)
FREE = Withheld()


def report(reason: Reason = Reason.VIOLENT, reporter: str = "anna", *, stranger: bool = False) -> Report:
    return Report("r", "image", reporter, reason, "", NOW, stranger, "n1" if stranger else "")


def decision(verdict: Verdict, reason: Reason = Reason.NONE) -> Decision:
    return Decision(verdict, "mod", NOW, "looked", reason)


def reported(standing: Standing, *reports: Report, withheld: Withheld = FREE) -> Standing:
    for each in reports:
        standing = after_report(standing, each, withheld, again=False)
    return standing


def test_a_report_makes_an_image_wait_and_takes_it_from_nobody() -> None:
    standing = reported(Standing(), report())
    assert standing == Standing(Verdict.UNSURE, opened_at=NOW, reports=1)
    assert to_file(standing) == {"verdict": "reported", "withheld": False}
    assert after_report(standing, report(), FREE, again=True) == standing


def test_a_report_for_child_safety_withholds_at_once() -> None:
    standing = reported(Standing(), report(Reason.CHILD_SAFETY, "eve", stranger=True))
    assert (standing.withheld, standing.urgent, standing.withheld_by, standing.withheld_network) == (
        True,
        True,
        "eve",
        "n1",
    )
    assert to_file(standing) == {"verdict": "reported", "withheld": True}


@pytest.mark.parametrize(
    ("withheld", "stranger", "allowed"),
    [
        (Withheld(all=MAX_WITHHELD - 1), False, True),
        (Withheld(all=MAX_WITHHELD), False, False),
        (Withheld(by_reporter=MAX_WITHHELD_BY_ONE), False, False),
        (Withheld(all=600, by_strangers=MAX_WITHHELD_BY_STRANGERS), False, True),
        (Withheld(all=600, by_strangers=MAX_WITHHELD_BY_STRANGERS), True, False),
        (Withheld(by_network=MAX_WITHHELD_BY_NETWORK), True, False),
        (Withheld(by_network=MAX_WITHHELD_BY_NETWORK), False, True),
    ],
)
def test_nobody_can_withhold_everything_from_everybody(withheld: Withheld, stranger: bool, allowed: bool) -> None:
    asked = report(Reason.CHILD_SAFETY, stranger=stranger)
    assert may_withhold(asked, withheld) is allowed
    standing = reported(Standing(), asked, withheld=withheld)
    assert standing.withheld is allowed
    # Withheld or not, it is looked at first, and waits.
    assert standing.urgent
    assert standing.verdict is Verdict.UNSURE


def test_a_decision_stands_until_several_say_otherwise() -> None:
    standing = after_decision(reported(Standing(), report(Reason.CHILD_SAFETY)), decision(Verdict.SAFE))
    assert standing == Standing(Verdict.SAFE, opened_at=NOW, decided=True)
    for number in range(REOPENING_REPORTS):
        assert to_file(standing) == {"verdict": "safe", "withheld": False}
        standing = reported(standing, report(Reason.CHILD_SAFETY, f"{number}"))
    # A person has seen it: it waits, and is not withheld on somebody's word again.
    assert to_file(standing) == {"verdict": "reported", "withheld": False}


def test_what_was_found_unsafe_stays_so_whatever_is_reported() -> None:
    standing = after_decision(reported(Standing(), report()), decision(Verdict.UNSAFE))
    assert to_file(reported(standing, *[report()] * 9)) == {"verdict": "unsafe", "withheld": False}
    assert to_file(after_decision(standing, decision(Verdict.SAFE))) == {"verdict": "safe", "withheld": False}


@pytest.mark.parametrize(
    ("told", "decided", "withheld"),
    [
        (Reason.CHILD_SAFETY, decision(Verdict.UNSAFE), True),
        (Reason.CHILD_SAFETY, decision(Verdict.UNSAFE, Reason.SEXUAL), False),
        (Reason.CHILD_SAFETY, decision(Verdict.SAFE), False),
        (Reason.SEXUAL, decision(Verdict.UNSAFE), False),
        (Reason.SEXUAL, decision(Verdict.UNSAFE, Reason.CHILD_SAFETY), True),
    ],
)
def test_what_stays_withheld_is_for_the_moderator_to_say(told: Reason, decided: Decision, withheld: bool) -> None:
    standing = after_decision(reported(Standing(), report(told)), decided)
    assert standing.withheld is withheld
    # It is on nobody's word alone any more, and takes nobody's place.
    assert standing.withheld_by == ""


def test_a_decision_that_is_said_again_is_the_same() -> None:
    first = decision(Verdict.SAFE)
    later = Decision(Verdict.SAFE, "mod", NOW + timedelta(seconds=5), "looked")
    assert same_decision(first, later)
    assert not same_decision(None, later)
    assert not same_decision(first, decision(Verdict.UNSAFE))


@given(st.lists(st.one_of(st.sampled_from(list(Reason)[1:]), st.sampled_from([Verdict.SAFE, Verdict.UNSAFE]))))
def test_whatever_is_said_what_waits_is_a_case_and_what_is_withheld_is_in_no_release(said: list[object]) -> None:
    standing = Standing()
    for word in said:
        if isinstance(word, Reason):
            standing = reported(standing, report(word))
        else:
            assert isinstance(word, Verdict)
            standing = after_decision(standing, decision(word))
        file = to_file(standing)
        assert standing.opened_at is not None
        assert not (standing.withheld and file["verdict"] == "safe")
        assert standing.withheld or not standing.withheld_by
        if standing.verdict is Verdict.UNSURE:
            assert not standing.decided
