"""The ledger over a real socket: who may call, what crosses the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from horde.api.job.v1 import job_pb2 as job
from horde.api.ledger.v1 import ledger_pb2 as pb
from horde.internal.ledger.v1 import ledger_service_pb2 as api
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from horde.ledger.core import errors, identifiers
from horde.ledger.core.economy import Economy
from horde.ledger.core.errors import EventConflict, InsufficientKudos, InvalidField
from horde.ledger.core.permissions import METHODS
from horde.ledger.doors.service import LedgerService
from horde.ledger.doors.servicer import ledger_registration
from horde.ledger.store.sql import sql_store
from horde.ledger.store.statistics_sql import sql_statistics
from horde.ledger.writer import Writer
from horde.services.errors import PermissionDenied, Unauthenticated
from horde.services.identity import AllowList
from horde.services.status import from_status
from horde.testkit.ledger import WORKER, job_of, some_id
from horde.testkit.loopback import Loopback, ManualClock, fields_of, loopback


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Loopback]:
    clock, economy = ManualClock(), Economy(floor_age_s=0)
    async with (
        sql_store(f"sqlite:///{tmp_path / 'l.db'}") as store,
        sql_statistics(f"sqlite:///{tmp_path / 's.db'}") as statistics,
        Writer(store, economy, clock) as writer,
    ):
        service = LedgerService(writer, store, economy, clock, statistics)
        async with loopback(
            [ledger_registration(service)],
            caller="scheduler",
            allow=AllowList(METHODS),
            errors=errors.ALL,
            farewell=writer.farewell,
        ) as made:
            yield made


def holds(payer: str = "ann", generation: str = "g") -> api.Event:
    generation_id, job_id = some_id(generation), job_of(generation)
    parts = job.PriceParts(table_version="t", price_mkudos=10_000, tax_mkudos=3_000, total_mkudos=13_000)
    hold = api.Hold(hold_id=identifiers.hold_id(job_id), job_id=job_id, parts=parts)
    place = api.PlaceHolds(generation_id=generation_id, payer=job.Requester(account_id=payer), holds=[hold])
    return api.Event(event_id=identifiers.holds_event_id(generation_id), place_holds=place)


def settle(owner: str = "bob", generation: str = "g") -> api.Event:
    job_id = job_of(generation)
    operation = api.Settle(
        hold_id=identifiers.hold_id(job_id),
        job_id=job_id,
        ending=job.JOB_ENDING_DONE,
        owner_account_id=owner,
        earned_mkudos=10_000,
        tax_mkudos=3_000,
        worker_id=WORKER,
        model="paintbox",
    )
    return api.Event(event_id=identifiers.settle_event_id(job_id), settle=operation)


def release(reason: str = "") -> api.Event:
    job_id = job_of("g")
    operation = api.Release(
        hold_id=identifiers.hold_id(job_id), job_id=job_id, ending=job.JOB_ENDING_EXPIRED, reason=reason
    )
    return api.Event(event_id=identifiers.settle_event_id(job_id), release=operation)


def slash(job_id: str = "") -> api.Event:
    operation = api.Slash(account_id="bob", amount_mkudos=5, reason="junk", job_id=job_id)
    return api.Event(event_id=identifiers.slash_event_id(job_id) if job_id else some_id("slash"), slash=operation)


def award(amount: int = 100_000) -> api.Event:
    operation = api.Award(account_id="ann", amount_mkudos=amount, awarded_by="op", reason="why")
    return api.Event(event_id=some_id("award"), award=operation)


async def test_a_job_is_held_paid_and_stated(mesh: Loopback) -> None:
    scheduler: Any = LedgerServiceStub(mesh.channel)
    async with mesh.dial("gateway") as channel:
        gateway: Any = LedgerServiceStub(channel)
        await gateway.Apply(api.ApplyRequest(events=[award()]))
        answered = await scheduler.Apply(api.ApplyRequest(events=[holds(), settle(), settle()]))
        assert [outcome.repeated_event for outcome in answered.outcomes] == [False, False, True]
        entry = answered.outcomes[1].entry
        assert entry.transfers[0].transfer_id == identifiers.transfer_id(entry.event_id, 0)
        assert entry.transfers[0].credit == pb.AccountRef(kind=pb.LEDGER_ACCOUNT_KIND_SPEND, account_id="bob")
        assert entry.settlement.charged_mkudos == 13_000
        page = await gateway.ListEntries(api.ListEntriesRequest(account_id="bob", min_sequence=entry.sequence))
        assert list(page.entries) == [entry]
        balances = await gateway.GetBalances(
            api.GetBalancesRequest(
                accounts=[
                    pb.AccountRef(kind=pb.LEDGER_ACCOUNT_KIND_SPEND, account_id="ann"),
                    pb.AccountRef(kind=pb.LEDGER_ACCOUNT_KIND_TAX_BURN),
                ]
            )
        )
        assert [balance.posted_mkudos for balance in balances.balances] == [87_000, 3_000]
        assert balances.sum_of_all_mkudos == 0
        audit = await gateway.Audit(api.AuditRequest())
        assert not audit.HasField("first_finding")
        assert audit.entries == 3
        proof = await gateway.ProveEntry(api.ProveEntryRequest(event_id=entry.event_id))
        assert proof.entry == entry


async def test_errors_cross_the_wire_as_themselves(mesh: Loopback) -> None:
    scheduler: Any = LedgerServiceStub(mesh.channel)
    poor = holds("poor", "much")
    for _ in range(5):
        poor.place_holds.holds.append(poor.place_holds.holds[0])
    answered = await scheduler.Apply(
        api.ApplyRequest(events=[poor, api.Event(event_id=some_id("x")), holds(), holds("cat"), settle("")])
    )
    first, second, third, fourth, fifth = answered.outcomes
    error = from_status(first.error, errors.ALL)
    assert isinstance(error, InvalidField)
    assert fields_of(error) == ["place_holds.holds"]
    assert isinstance(from_status(second.error, errors.ALL), InvalidField)
    assert third.HasField("entry")
    conflict = from_status(fourth.error, errors.ALL)
    assert isinstance(conflict, EventConflict)
    assert conflict.metadata == {"field": "place_holds.payer.account_id"}
    assert fields_of(from_status(fifth.error, errors.ALL)) == ["settle.owner_account_id"]
    for generation in "abcd":
        (outcome,) = (await scheduler.Apply(api.ApplyRequest(events=[holds("ann", generation)]))).outcomes
    assert isinstance(from_status(outcome.error, errors.ALL), InsufficientKudos)


async def test_every_reason_of_the_contract_has_its_class() -> None:
    reasons = {name.removeprefix("LEDGER_ERROR_REASON_") for name in list(pb.LedgerErrorReason.keys())}
    assert reasons - {"UNSPECIFIED"} == {error.reason for error in errors.ALL}


@pytest.mark.parametrize(
    ("caller", "event", "allowed"),
    [
        ("scheduler", holds(), True),
        ("gateway", award(), True),
        ("operator", award(), True),
        ("gateway", settle(), False),
        ("gateway", holds(), False),
        ("scheduler", award(), False),
        ("scheduler", slash(), False),
        ("operator", slash(), True),
        ("operator", release(), False),
        ("scheduler", release("why"), False),
        ("gateway", release("why"), False),
        ("scheduler", api.Event(event_id=some_id("x"), gift=api.Gift()), False),
        ("storage-router", settle(), False),
        ("worker-agent", award(), False),
    ],
)
async def test_each_caller_has_its_own_operations(mesh: Loopback, caller: str, event: api.Event, allowed: bool) -> None:
    async with mesh.dial(caller, errors=errors.ALL) as channel:
        stub: Any = LedgerServiceStub(channel)
        call = stub.Apply(api.ApplyRequest(events=[event]))
        if allowed:
            assert (await call).outcomes[0].HasField("entry")
        else:
            with pytest.raises(PermissionDenied):
                await call


async def test_the_scheduler_slashes_for_a_job_that_was_paid(mesh: Loopback) -> None:
    async with mesh.dial("scheduler", errors=errors.ALL) as channel:
        stub: Any = LedgerServiceStub(channel)
        asked = api.ApplyRequest(events=[holds(), slash(job_of("g")), settle()])
        held, early, paid = (await stub.Apply(asked)).outcomes
        assert isinstance(from_status(early.error, errors.ALL), errors.EntryNotFound)
        assert held.HasField("entry")
        assert paid.HasField("entry")
        (burned,) = (await stub.Apply(api.ApplyRequest(events=[slash(job_of("g"))]))).outcomes
        assert (burned.entry.job_id, burned.entry.transfers[0].amount_mkudos) == (job_of("g"), 5)


async def test_whose_share_is_spent_is_told_when_it_is_back(mesh: Loopback) -> None:
    async with mesh.dial("scheduler", errors=errors.ALL) as channel:
        stub: Any = LedgerServiceStub(channel)
        event = holds("anonymous", "anonymous")
        event.place_holds.payer.anonymous_digest = b"\1" * 32
        event.place_holds.address_digest = b"ab"
        parts = event.place_holds.holds[0].parts
        parts.price_mkudos, parts.total_mkudos = 19_749_000, 19_752_000
        (outcome,) = (await stub.Apply(api.ApplyRequest(events=[event]))).outcomes
        error = from_status(outcome.error, errors.ALL)
        assert isinstance(error, errors.BudgetSpent)
        assert error.metadata["share"] == "token"
        assert error.retry_after is not None
        assert 0 < error.retry_after.total_seconds() <= 86_400


@pytest.mark.parametrize("method", [method.rpartition("/")[2] for method in METHODS])
async def test_without_the_key_nothing_can_be_called(mesh: Loopback, method: str) -> None:
    async with mesh.dial(None) as channel:
        call = getattr(LedgerServiceStub(channel), method)(getattr(api, method + "Request")())
        with pytest.raises((Unauthenticated, PermissionDenied)):
            if method == "FollowEntries":
                await call.read()
            else:
                await call


async def test_the_feed_ends_politely_when_the_ledger_stops(tmp_path: Path) -> None:
    clock, economy = ManualClock(), Economy(floor_age_s=0)
    async with (
        sql_store(f"sqlite:///{tmp_path / 'l.db'}") as store,
        sql_statistics(f"sqlite:///{tmp_path / 's.db'}") as statistics,
        Writer(store, economy, clock) as writer,
    ):
        registration = ledger_registration(LedgerService(writer, store, economy, clock, statistics))
        async with loopback([registration], caller="gateway", allow=AllowList(METHODS), farewell=writer.farewell) as it:
            stub: Any = LedgerServiceStub(it.channel)
            await stub.Apply(api.ApplyRequest(events=[award()]))
            feed = aiter(stub.FollowEntries(api.FollowEntriesRequest()))
            first = await anext(feed)
            assert [entry.kind for entry in first.entries] == [pb.EVENT_KIND_AWARD]
            await writer.farewell()
            assert [message async for message in feed] == []


async def test_bounds_of_a_call(mesh: Loopback) -> None:
    scheduler: Any = LedgerServiceStub(mesh.channel)
    for call in (
        scheduler.Apply(api.ApplyRequest()),
        scheduler.Apply(api.ApplyRequest(events=[holds()] * 257)),
        scheduler.GetBalances(api.GetBalancesRequest()),
        scheduler.GetBalances(api.GetBalancesRequest(accounts=[pb.AccountRef()])),
        scheduler.GetEntries(api.GetEntriesRequest(event_ids=["x"] * 257)),
    ):
        with pytest.raises(InvalidField):
            await call


async def test_how_an_account_stands_and_what_trust_needs(mesh: Loopback) -> None:
    scheduler: Any = LedgerServiceStub(mesh.channel)
    async with mesh.dial("gateway") as channel:
        gateway: Any = LedgerServiceStub(channel)
        unknown = await gateway.GetOwner(api.GetOwnerRequest(account_id="bob"))
        assert not unknown.HasField("opened_at")
        assert (unknown.trusted_from_mkudos, unknown.trusted_from_age.seconds) == (5_000_000, 7 * 86_400)
        await gateway.Apply(api.ApplyRequest(events=[award()]))
        await scheduler.Apply(api.ApplyRequest(events=[holds(), settle()]))
        known = await gateway.GetOwner(api.GetOwnerRequest(account_id="bob"))
        assert (known.trusted, known.by_decree, known.escrow_mkudos) == (False, False, 5_000)
        decree = api.Event(event_id=some_id("decree"))
        decree.set_standing.account_id, decree.set_standing.trusted, decree.set_standing.reason = (
            "bob",
            True,
            "a friend",
        )
        await gateway.Apply(api.ApplyRequest(events=[decree]))
        decreed = await gateway.GetOwner(api.GetOwnerRequest(account_id="bob"))
        assert (decreed.trusted, decreed.by_decree, decreed.escrow_mkudos) == (True, True, 0)
