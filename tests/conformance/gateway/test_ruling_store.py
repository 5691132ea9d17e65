"""What every store must do with restrictions, filters and decisions: in memory, in SQLite, in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.conformance.gateway.test_identity_store import NOW, store

from horde.gateway.core.decisions import APPEAL, Decision
from horde.gateway.core.prompt_filters import FilterKind, PromptFilter
from horde.gateway.core.restrictions import Restriction, Target, TargetKind
from horde.gateway.store.port import IdentityStore

__all__ = ["store"]

LATER = NOW + timedelta(hours=1)


def restriction(number: int, *, hours: int | None = None) -> Restriction:
    since = NOW + timedelta(seconds=number)
    until = None if hours is None else since + timedelta(hours=hours)
    target = Target(TargetKind.WORKER, f"worker-{number}")
    return Restriction(f"r{number}", target, number % 2 == 0, "because", since, until, "anna", f"request-{number}")


def decision(number: int, hours: int = 0) -> Decision:
    return Decision(f"d{number}", NOW + timedelta(hours=hours), "anna", "restrict", f"r{number}", "because")


async def test_a_restriction_is_kept_once_for_each_request(store: IdentityStore) -> None:
    first = restriction(1)
    assert await store.restrict(first, decision(1)) == (first, True)
    again = replace(first, restriction_id="another", reason="other")
    assert await store.restrict(again, decision(2)) == (first, False)
    assert await store.restriction("r1") == first
    assert await store.restriction("another") is None


async def test_those_in_force_are_found_and_those_that_changed(store: IdentityStore) -> None:
    for number, hours in enumerate((None, 1, 3)):
        await store.restrict(restriction(number, hours=hours), decision(number))
    later = NOW + timedelta(hours=2)
    assert {each.restriction_id for each in await store.restrictions_in_force(later)} == {"r0", "r2"}
    lifted = {"lifted_at": later, "lifted_by": "bert", "lifted_because": "a mistake"}
    changed = await store.change_restriction("r0", lifted, decision(8, hours=2))
    assert changed == replace(restriction(0), **lifted)  # type: ignore[arg-type]
    assert await store.change_restriction("nothing", lifted, decision(9)) is None
    assert {each.restriction_id for each in await store.restrictions_in_force(later)} == {"r2"}
    assert [each.restriction_id for each in await store.restrictions_changed(LATER)] == ["r0"]


async def test_restrictions_come_newest_first_and_page_by_page(store: IdentityStore) -> None:
    for number in range(5):
        await store.restrict(restriction(number), decision(number))
    await store.change_restriction("r3", {"lifted_at": LATER, "lifted_by": "anna"}, decision(7))
    await store.change_restriction("r1", {"appeal_note": "it was not me"}, decision(8))
    page = await store.restrictions(LATER, 2)
    assert [each.restriction_id for each in page] == ["r4", "r2"]
    assert [each.restriction_id for each in await store.restrictions(LATER, 5, page[-1])] == ["r1", "r0"]
    assert [each.restriction_id for each in await store.restrictions(LATER, 2, past=True)] == ["r4", "r3"]
    assert [each.restriction_id for each in await store.restrictions(LATER, 5, appealed=True)] == ["r1"]


async def test_decisions_are_listed_newest_first_page_by_page_and_by_what_they_are_about(store: IdentityStore) -> None:
    await store.restrict(restriction(1), decision(1))
    await store.restrict(restriction(2), decision(2))
    await store.change_restriction("r1", {"lifted_at": LATER, "lifted_by": "anna"}, decision(9, hours=1))
    lifted = replace(decision(1, hours=1), decision_id="d3", action="lift", detail="a mistake")
    await store.decide(lifted)
    assert [kept.decision_id for kept in await store.decided(10)] == ["d9", "d3", "d2", "d1"]
    page = await store.decided(2)
    last = page[-1]
    assert last == lifted
    assert [kept.decision_id for kept in await store.decided(10, (last.at, last.decision_id))] == ["d2", "d1"]
    assert [kept.decision_id for kept in await store.decided(10, subject="r1")] == ["d3", "d1"]
    assert [kept.decision_id for kept in await store.decided(10, subject="worker-1")] == ["d3", "d1"]
    assert await store.decided(10, subject="nobody") == []


async def test_filters_are_kept_once_for_each_request_and_ended(store: IdentityStore) -> None:
    assert await store.filters_changed_at() == 0
    rule = PromptFilter("f1", FilterKind.NORMALISED_TEXT, "bad", "No.", "a note", "anna", NOW, "q1")
    assert await store.create_filter(rule, decision(1)) == (rule, True)
    assert await store.create_filter(replace(rule, filter_id="f2"), decision(2)) == (rule, False)
    before = await store.filters_changed_at()
    assert await store.filters() == [rule]
    await store.delete_filter("f1", decision(3, hours=1))
    await store.delete_filter("f1", decision(4, hours=2))
    assert await store.filters() == []
    assert await store.filters_changed_at() > before
    await store.decide(decision(5))


async def test_an_account_that_ended_leaves_no_appeal_and_nothing_that_is_over(store: IdentityStore) -> None:
    about = replace(restriction(1), target=Target(TargetKind.OWNER, "anna"))
    over = replace(restriction(2, hours=1), target=Target(TargetKind.REQUESTER, "anna"))
    network, others = restriction(3), replace(restriction(4, hours=1), target=Target(TargetKind.OWNER, "bert"))
    for number, made in enumerate((about, over, network, others), 1):
        await store.restrict(made, decision(number))
    for number, (made, who) in enumerate(((about, "anna"), (network, "anna"), (network, "bert"), (others, "bert")), 5):
        appeal = replace(decision(number), by_account_id=who, action=APPEAL, subject=made.restriction_id)
        note = {"appeal_note": f"{who} did not"}
        await store.change_restriction(made.restriction_id, note, replace(appeal, reason=f"{who} did not"))
    for _ in range(2):
        await store.forget_standing("anna", NOW + timedelta(days=30))
    assert await store.restriction(about.restriction_id) == about
    assert await store.restriction(over.restriction_id) is None
    # Somebody else has appealed it since: that stays.
    assert await store.restriction(network.restriction_id) == replace(network, appeal_note="bert did not")
    assert await store.restriction(others.restriction_id) == replace(others, appeal_note="bert did not")
