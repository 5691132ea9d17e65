"""What stands in the contract and here must be the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from horde.api.job.v1 import job_pb2 as job
from horde.api.ledger.v1 import ledger_pb2 as pb
from horde.internal.ledger.v1 import ledger_service_pb2 as api
from horde.ledger.core import operations, prices
from horde.ledger.core.accounts import AccountKind
from horde.ledger.core.entries import EscrowReason, TransferCode
from horde.ledger.core.errors import InvalidField, SelfGift
from horde.ledger.core.operations import Event, JobEnding
from horde.ledger.core.permissions import METHODS, OPERATIONS
from horde.ledger.core.validation import check
from horde.ledger.doors.service import Balance, BalancesRead
from horde.ledger.doors.wire import balances_message, event_of
from horde.ledger.settings import LedgerSettings
from horde.testkit.ledger import (
    awarded,
    closed,
    corrected,
    gift,
    held,
    opened,
    price,
    rated,
    released,
    settled,
    slashed,
    slashed_for,
    some_id,
    standing,
    uptime,
)
from horde.testkit.ledger_wire import event_message
from horde.testkit.loopback import fields_of


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [
        (AccountKind, pb.LedgerAccountKind, "LEDGER_ACCOUNT_KIND_"),
        (TransferCode, pb.TransferCode, "TRANSFER_CODE_"),
        (operations.EventKind, pb.EventKind, "EVENT_KIND_"),
        (EscrowReason, pb.EscrowReason, "ESCROW_REASON_"),
        (JobEnding, job.JobEnding, "JOB_ENDING_"),
        (prices.SurchargeReason, job.SurchargeReason, "SURCHARGE_REASON_"),
        (prices.MultiplierReason, job.MultiplierReason, "MULTIPLIER_REASON_"),
    ],
)
def test_enums_have_the_contracts_numbers(ours: type, theirs: object, prefix: str) -> None:
    contract = {name.removeprefix(prefix): number for name, number in theirs.items()}  # type: ignore[attr-defined]
    mine = {"UNSPECIFIED" if our.name == "NONE" else our.name: our.value for our in ours}  # type: ignore[attr-defined]
    assert {"UNSPECIFIED": 0} | mine == contract


def test_every_method_and_operation_has_its_callers() -> None:
    methods = {method.name for method in api.DESCRIPTOR.services_by_name["LedgerService"].methods}
    assert {method.rpartition("/")[2] for method in METHODS} == methods
    assert {kind.__name__ for kind in OPERATIONS} == {
        getattr(field.message_type, "name", "") for field in api.Event.DESCRIPTOR.oneofs_by_name["operation"].fields
    }


FULL = dataclasses.replace(price(10_400, surcharge=7), base_mkudos=8_000, multipliers=((3, 1_300),))


@pytest.mark.parametrize(
    "event",
    [
        opened("ann"), awarded("ann", 5), gift("ann", "bob", 5, note="hi"), held("g", "ann", FULL, 2),
        held("g", "anonymous"), settled("g", "bob", FULL), released("g"), uptime("bob", 5, 3), standing("bob", 2),
        standing("bob", trusted=False), corrected(settled("g", "bob")), uptime("bob", 5, 3, permille=300, sharers=12),
        held("g", "anonymous", address="ab01"), rated("ann", "i", 5), slashed("bob", 5), slashed_for("g", "bob"),
        closed("ann"),
    ],
)  # fmt: skip
def test_events_cross_the_wire_as_they_are(event: Event) -> None:
    check(event)
    assert event_of(api.Event.FromString(event_message(event).SerializeToString())) == event


def test_a_balance_is_told_with_every_field() -> None:
    balance = Balance(AccountKind.SPEND, "ann", 5, 6, -1, 7, owner_trusted=True)
    (said,) = balances_message(BalancesRead(9, 0, [balance])).balances
    assert {field.name: getattr(said, field.name) for field, _ in said.ListFields() if field.name != "account"} == {
        "posted_mkudos": 5, "held_mkudos": 6, "floor_mkudos": -1, "available_mkudos": 7, "sequence": 9,
        "owner_trusted": True,
    }  # fmt: skip
    assert (int(said.account.kind), said.account.account_id) == (int(AccountKind.SPEND), "ann")


def other(event: Event, **changes: object) -> Event:
    return Event(event.event_id, dataclasses.replace(event.operation, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (Event("x", awarded("ann", 5).operation), ["event_id"]),
        (Event(some_id("x").upper(), awarded("ann", 5).operation), ["event_id"]),
        (awarded("ann", 0), ["award.amount_mkudos"]),
        (awarded("ann", 10**12 + 1), ["award.amount_mkudos"]),
        (awarded("anonymous", 5), ["award.account_id"]),
        (awarded("a/b", -(2**63)), ["award.account_id", "award.amount_mkudos"]),
        (other(awarded("ann", 5), note=""), ["award.reason"]),
        (gift("ann", "b" * 65, 5), ["gift.to_account_id"]),
        (gift("ann", "bob", 5, note="x" * 501), ["gift.message"]),
        (other(settled("g", "bob"), owner_id=""), ["settle.owner_account_id"]),
        (other(settled("g", "bob"), ending=0), ["settle.ending"]),
        (other(settled("g", "bob"), ending=3), ["settle.ending"]),
        (other(settled("g", "bob"), ending=77, earned_mkudos=-1), ["settle.ending", "settle.earned_mkudos"]),
        (other(settled("g", "bob"), hold_id=some_id("x")), ["settle.hold_id"]),
        (Event(some_id("x"), settled("g", "bob").operation), ["event_id"]),
        (other(settled("g", "bob", ending=JobEnding.CENSORED), tax_mkudos=1), ["settle.tax_mkudos"]),
        (other(released("g"), ending=1), ["release.ending"]),
        (other(held("g", "ann"), holds=[]), ["place_holds.holds"]),
        (held("g", "ann", count=257), ["place_holds.holds"]),
        (held("g", "ann", price(0, 0)), ["place_holds.holds[0].parts.total_mkudos"]),
        (other(held("g", "ann"), anonymous_digest="ab"), ["place_holds.payer.anonymous_digest"]),
        (other(held("g", "anonymous"), anonymous_digest=""), ["place_holds.payer.anonymous_digest"]),
        (held("g", "ann", dataclasses.replace(FULL, total_mkudos=1)), ["place_holds.holds[0].parts.total_mkudos"]),
        (other(uptime("bob", 5), bucket=6), ["event_id"]),
        (uptime("bob", -1), ["reward_uptime.bucket"]),
        (uptime("bob", 5, models=0), ["reward_uptime.models"]),
        (uptime("bob", 5, permille=1001), ["reward_uptime.offered_permille"]),
        (uptime("bob", 5, sharers=-1), ["reward_uptime.sharers"]),
        (held("g", "anonymous", address="ab0123"), ["place_holds.address_digest"]),
        (rated("anonymous", "i"), ["reward_rating.account_id"]),
        (rated("ann", "i", 0), ["reward_rating.amount_mkudos"]),
        (other(rated("ann", "i"), rating_id="x"), ["reward_rating.rating_id"]),
        (Event(some_id("x"), rated("ann", "i").operation), ["event_id"]),
        (slashed("bob", 0), ["slash.amount_mkudos"]),
        (other(slashed_for("g", "bob"), job_id="x"), ["slash.job_id"]),
        (Event(some_id("x"), slashed_for("g", "bob").operation), ["event_id"]),
        (standing("bob", 1001), ["set_standing.strikes_delta"]),
        (opened("ann", 0), ["open_account.opened_at"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_every_field(event: Event, fields: list[str]) -> None:
    with pytest.raises(InvalidField) as refused:
        check(event)
    assert fields_of(refused.value) == fields


def test_nobody_gives_to_himself() -> None:
    with pytest.raises(SelfGift):
        check(gift("ann", "ann", 5_000))


def test_settings_make_the_economy() -> None:
    settings = LedgerSettings(anonymous_budget_per_day_mkudos=5, database_url="postgresql://x/y")
    assert settings.economy().anonymous_budget_per_day_mkudos == 5
    assert settings.statistics() == "postgresql://x/y"


def test_the_folder_of_the_ledger_is_for_nobody_else_to_read(tmp_path: Path) -> None:
    for make in (LedgerSettings.url, LedgerSettings.statistics):
        settings = LedgerSettings(state_dir=tmp_path / make.__name__)
        make(settings)
        assert settings.state_dir.stat().st_mode & 0o777 == 0o700
