"""How people stand, and what those who run a horde can do about it: over the wire, and at once."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf import duration_pb2
from grpc import aio

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as generation_service
from horde.api.standing.v1 import standing_service_pb2 as pb
from horde.api.worker.v1 import worker_service_pb2 as worker_pb2
from horde.api.worker.v1.worker_pb2 import Worker
from horde.gateway.core.restrictions import worker_id_of
from horde.gateway.doors.enforcing import POLL_SECONDS
from horde.gateway.store.memory import MemoryIdentityStore
from horde.internal.scheduler.v1 import owner_service_pb2 as owner_pb2
from horde.services.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import ManualClock, assert_raises_reason, fields_of
from horde.testkit.waiting import until, until_told

Credentials = list[tuple[str, str]]
Spec = Callable[..., generation_pb2.GenerationSpec]
HOUR = duration_pb2.Duration(seconds=3600)


@pytest_asyncio.fixture
async def store() -> MemoryIdentityStore:
    return MemoryIdentityStore()


@pytest_asyncio.fixture
async def mesh(tmp_path: Path, store: MemoryIdentityStore) -> AsyncIterator[Bench]:
    async with bench(tmp_path, store=store) as ready:
        yield ready


async def id_of(mesh: Bench, who: Credentials) -> str:
    return str((await mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=who)).account.account_id)


def ban(**target: str) -> pb.RestrictRequest:
    return restriction(pb.RESTRICTION_KIND_BAN, **target)


def pause(**target: str) -> pb.RestrictRequest:
    return restriction(pb.RESTRICTION_KIND_PAUSE, **target)


def restriction(kind: Any, **target: str) -> pb.RestrictRequest:
    request = pb.RestrictRequest(request_id=str(uuid.uuid4()), kind=kind, reason="It floods.", lasts=HOUR)
    for name, value in target.items():
        setattr(request.target, name, value)
    return request


async def restrict(mesh: Bench, request: pb.RestrictRequest) -> pb.Restriction:
    answer = await mesh.standings.Restrict(request, metadata=mesh.operator)
    made: pb.Restriction = answer.restriction
    return made


async def ask(mesh: Bench, who: Credentials, spec: generation_pb2.GenerationSpec) -> generation_pb2.Generation:
    request = generation_service.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec)
    generation: generation_pb2.Generation = (await mesh.generations.CreateGeneration(request, metadata=who)).generation
    return generation


async def attach(mesh: Bench, who: Credentials, name: str = "rig") -> Any:
    stream = mesh.workers.Attach(metadata=who)
    await stream.write(worker_pb2.AttachRequest(hello=worker_pb2.Hello(worker_name=name)))
    return stream


async def read_on(stream: Any) -> None:
    while await stream.read() is not aio.EOF:
        pass


async def test_people_see_their_own_record_in_plain_words(mesh: Bench, anna: Credentials, bert: Credentials) -> None:
    account_id = await id_of(mesh, anna)
    owner = owner_pb2.GetOwnerResponse(paid_images=3, proven_images=10, strikes=2, contradicted=1)
    owner.resting.add(worker_name="rig").until.seconds = 1_800_000_000
    mesh.owners.owners[account_id] = owner
    strike = pb.Strike(strike_id="s1", worker_name="rig", reason=pb.STRIKE_REASON_STALLED)
    strike.at.seconds = 1_790_000_000
    mesh.owners.strikes[account_id] = [strike]
    standing = (await mesh.standings.GetStanding(pb.GetStandingRequest(), metadata=anna)).standing
    assert (standing.account_id, standing.trusted, standing.strikes) == (account_id, False, 2)
    assert {each.kind for each in standing.missing} == {
        pb.TRUST_CONDITION_KIND_AGE_DAYS,
        pb.TRUST_CONDITION_KIND_EARNED_MKUDOS,
    }
    text = " ".join(standing.sentences)
    for part in ("2 strikes", "the last on 2026-09-21", "rig", "rests until 2027-01-15", "7 days old", "5000 kudos"):
        assert part in text
    listed = await mesh.standings.ListStrikes(pb.ListStrikesRequest(), metadata=anna)
    assert list(listed.strikes) == [strike]
    for call, request in (
        (mesh.standings.GetStanding, pb.GetStandingRequest(account_id=account_id)),
        (mesh.standings.ListStrikes, pb.ListStrikesRequest(account_id=account_id)),
    ):
        with assert_raises_reason(PermissionDenied, "ROLE_MISSING"):
            await call(request, metadata=bert)
        await call(request, metadata=mesh.operator)
    with assert_raises_reason(NotFound, "ACCOUNT_NOT_FOUND"):
        unknown = pb.GetStandingRequest(account_id=str(uuid.uuid4()))
        await mesh.standings.GetStanding(unknown, metadata=mesh.operator)


async def test_a_ban_ends_what_runs_with_its_reason_and_leaves_only_the_record(
    mesh: Bench, anna: Credentials, bert: Credentials, spec: Spec
) -> None:
    account_id = await id_of(mesh, anna)
    generation = await ask(mesh, anna, spec())
    watch = mesh.generations.WatchGeneration(
        generation_service.WatchGenerationRequest(generation_id=generation.generation_id), metadata=anna
    )
    await watch.read()
    made = await restrict(mesh, ban(requester_account_id=account_id))
    refusal = {"restriction_id": made.restriction_id}
    with assert_raises_reason(PermissionDenied, "RESTRICTED", refusal) as caught:
        await watch.read()
    assert "It floods." in str(caught.value)
    for call in (
        ask(mesh, anna, spec()),
        mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=anna),
    ):
        with assert_raises_reason(PermissionDenied, "RESTRICTED"):
            await call
    standing = (await mesh.standings.GetStanding(pb.GetStandingRequest(), metadata=anna)).standing
    assert [each.restriction_id for each in standing.restrictions] == [made.restriction_id]
    assert "banned" in standing.sentences[0]
    await ask(mesh, bert, spec())
    appeal = pb.AppealRestrictionRequest(restriction_id=made.restriction_id, note="It was my cat.")
    answer = await mesh.standings.AppealRestriction(appeal, metadata=anna)
    assert answer.restriction.appeal_note == "It was my cat."
    with assert_raises_reason(NotFound, "RESTRICTION_NOT_FOUND"):
        await mesh.standings.AppealRestriction(appeal, metadata=bert)
    listed = await mesh.standings.ListRestrictions(pb.ListRestrictionsRequest(appealed=True), metadata=mesh.operator)
    assert [each.appeal_note for each in listed.restrictions] == ["It was my cat."]
    lift = pb.LiftRestrictionRequest(restriction_id=made.restriction_id, reason="Cats happen.")
    for _ in range(2):
        lifted = await mesh.standings.LiftRestriction(lift, metadata=mesh.operator)
        assert lifted.restriction.HasField("lifted_at")
    await ask(mesh, anna, spec())


async def test_a_paused_requester_sees_what_is_his_and_asks_for_nothing(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    generation = await ask(mesh, anna, spec())
    await restrict(mesh, pause(requester_account_id=await id_of(mesh, anna)))
    with assert_raises_reason(PermissionDenied, "RESTRICTED"):
        await ask(mesh, anna, spec())
    got = generation_service.GetGenerationRequest(generation_id=generation.generation_id)
    await mesh.generations.GetGeneration(got, metadata=anna)


@pytest.mark.parametrize("whom", ["worker_id", "owner_account_id", "network"])
async def test_a_banned_workers_session_ends_and_does_not_come_back(mesh: Bench, anna: Credentials, whom: str) -> None:
    account_id = await id_of(mesh, anna)
    names = {
        "worker_id": worker_id_of(account_id, "rig"),
        "owner_account_id": account_id,
        "network": "127.0.0.0/24",
    }
    stream = await attach(mesh, anna)
    await until(lambda: len(mesh.gateway.relay) == 1)
    operator = mesh.operator
    made = await restrict(mesh, ban(**{whom: names[whom]}))
    with assert_raises_reason(PermissionDenied, "RESTRICTED"):
        await read_on(stream)
    with assert_raises_reason(PermissionDenied, "RESTRICTED"):
        await read_on(await attach(mesh, anna))
    if whom == "network":
        with assert_raises_reason(PermissionDenied, "RESTRICTED"):
            await mesh.models.ListModels(_list_models())
        mesh.gateway.enforcement._in_force.put(
            _lifted(mesh, made.restriction_id), mesh.gateway.enforcement._clock.now()
        )
    else:
        lift = pb.LiftRestrictionRequest(restriction_id=made.restriction_id, reason="enough")
        await mesh.standings.LiftRestriction(lift, metadata=operator)
    third = await attach(mesh, anna)
    await until(lambda: len(mesh.gateway.relay) == 1)
    third.cancel()


def _list_models() -> Any:
    from horde.api.model.v1 import model_service_pb2

    return model_service_pb2.ListModelsRequest()


def _lifted(mesh: Bench, restriction_id: str) -> Any:
    from dataclasses import replace

    enforcement = mesh.gateway.enforcement
    return replace(enforcement._in_force._by_id[restriction_id], lifted_at=enforcement._clock.now())


async def test_a_paused_worker_gets_no_new_jobs_until_it_is_lifted(mesh: Bench, anna: Credentials) -> None:
    stream = await attach(mesh, anna)
    await until(lambda: bool(mesh.scheduler.relays and mesh.scheduler.relays[-1].heard))
    relay = mesh.scheduler.relays[-1]
    relay.say(1, worker_pb2.AttachResponse(welcome=worker_pb2.Welcome(session_id="s")))
    await stream.read()
    restatement = worker_pb2.Restatement(demand=worker_pb2.Demand(slots=3))
    await stream.write(worker_pb2.AttachRequest(restatement=restatement))

    def slots() -> list[int]:
        told = [message.worker for message in relay.heard if message.HasField("worker")]
        return [
            message.demand.slots if message.HasField("demand") else message.restatement.demand.slots for message in told
        ]

    await until(lambda: slots() == [3])
    made = await restrict(mesh, pause(owner_account_id=await id_of(mesh, anna)))
    await until(lambda: slots() == [3, 0])
    await stream.write(worker_pb2.AttachRequest(demand=worker_pb2.Demand(slots=2)))
    await until(lambda: slots() == [3, 0, 0])
    lift = pb.LiftRestrictionRequest(restriction_id=made.restriction_id, reason="enough")
    await mesh.standings.LiftRestriction(lift, metadata=mesh.operator)
    await until(lambda: slots() == [3, 0, 0, 2])
    stream.cancel()


async def test_another_gateway_hears_of_it_within_five_seconds_and_of_its_end(
    tmp_path: Path, store: MemoryIdentityStore, mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    clock = ManualClock(mesh.gateway.enforcement._clock.now())
    folder = tmp_path / "another"
    folder.mkdir()
    (folder / "pepper").write_bytes((tmp_path / "pepper").read_bytes())
    (folder / "pepper").chmod(0o600)
    async with bench(folder, store=store, clock=clock) as other:
        await ask(other, anna, spec())
        made = await restrict(mesh, ban(requester_account_id=await id_of(mesh, anna)))
        enforcement = other.gateway.enforcement

        async def heard() -> bool:
            # Again and again, for it may not have begun to wait for its next look.
            await clock.advance(POLL_SECONDS)
            return len(enforcement._in_force) == 1

        await until_told(heard)
        with assert_raises_reason(PermissionDenied, "RESTRICTED"):
            await ask(other, anna, spec())
        assert POLL_SECONDS < 5
        await clock.advance(made.until.seconds - clock.now().timestamp() + 1)
        await ask(other, anna, spec())


async def test_trust_by_decree_goes_to_the_ledger_with_its_reason_and_is_recorded(
    mesh: Bench, store: MemoryIdentityStore, anna: Credentials
) -> None:
    account_id = await id_of(mesh, anna)
    request = pb.SetTrustRequest(account_id=account_id, trusted=True, reason="I know her.")
    standing = (await mesh.standings.SetTrust(request, metadata=mesh.operator)).standing
    assert (standing.trusted, standing.by_decree) == (True, True)
    (event,) = [event for event in mesh.ledger.events if event.HasField("set_standing")]
    assert event.set_standing.reason == "I know her."
    decision = store.decisions[-1]
    assert (decision.action, decision.subject, decision.reason) == ("set trust", account_id, "I know her.")
    with assert_raises_reason(PermissionDenied, "ROLE_MISSING"):
        await mesh.standings.SetTrust(request, metadata=anna)


async def test_an_amnesty_is_for_a_week_at_most_and_recorded(mesh: Bench, store: MemoryIdentityStore) -> None:
    request = pb.GrantAmnestyRequest(reason="The router was away.")
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await mesh.standings.GrantAmnesty(request, metadata=mesh.operator)
    assert fields_of(caught.value) == ["until"]
    getattr(request, "from").seconds = 1_000
    request.until.seconds = 1_000 + 7 * 86_400
    answer = await mesh.standings.GrantAmnesty(request, metadata=mesh.operator)
    assert (answer.strikes, answer.owners) == (3, 2)
    assert mesh.owners.forgiven[0].because == "The router was away."
    assert store.decisions[-1].action == "amnesty"


async def test_a_restriction_must_make_sense_and_its_request_id_is_of_one(mesh: Bench, anna: Credentials) -> None:
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await mesh.standings.Restrict(pb.RestrictRequest(), metadata=mesh.operator)
    assert set(fields_of(caught.value)) == {"request_id", "target", "kind", "reason"}
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD"):
        await mesh.standings.Restrict(ban(network="192.0.2.1/24"), metadata=mesh.operator)
    request = pause(owner_account_id=await id_of(mesh, anna))
    first = await restrict(mesh, request)
    assert await restrict(mesh, request) == first
    request.reason = "another"
    with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": "reason"}):
        await restrict(mesh, request)
    with assert_raises_reason(PermissionDenied, "ROLE_MISSING"):
        await mesh.standings.Restrict(request, metadata=anna)


async def test_restrictions_come_in_pages(mesh: Bench) -> None:
    made = [(await restrict(mesh, pause(network=f"192.0.2.{number}"))).restriction_id for number in range(3)]
    first = await mesh.standings.ListRestrictions(pb.ListRestrictionsRequest(page_size=2), metadata=mesh.operator)
    rest = pb.ListRestrictionsRequest(page_size=2, page_token=first.next_page_token)
    second = await mesh.standings.ListRestrictions(rest, metadata=mesh.operator)
    assert [each.restriction_id for each in (*first.restrictions, *second.restrictions)] == made[::-1]
    assert not second.next_page_token
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD"):
        await mesh.standings.ListRestrictions(pb.ListRestrictionsRequest(page_token="?"), metadata=mesh.operator)


async def test_an_owners_webhooks_are_told_of_what_holds_for_his_workers_also_when_they_were_away(
    mesh: Bench, anna: Credentials
) -> None:
    owner, told = await id_of(mesh, anna), mesh.told_webhooks
    told.away = True
    of_owner = await restrict(mesh, pause(owner_account_id=owner))
    worker_id = worker_id_of(owner, "rig")
    mesh.scheduler.workers[worker_id] = Worker(worker_id=worker_id, owner_account_id=owner)
    of_worker = await restrict(mesh, ban(worker_id=worker_id))
    await restrict(mesh, pause(network="192.0.2.1"))
    await restrict(mesh, pause(requester_account_id=owner))
    told.away = False
    about = await restrict(mesh, pause(owner_account_id=str(uuid.uuid4())))
    await until(lambda: len(told.told) >= 3)
    assert {(each.owner_account_id, each.restriction.restriction_id) for each in told.told} == {
        (owner, of_owner.restriction_id),
        (owner, of_worker.restriction_id),
        (about.target.owner_account_id, about.restriction_id),
    }


async def decided(mesh: Bench, subject: str = "") -> list[pb.Decision]:
    """Page by page, two on each."""
    request, found = pb.ListDecisionsRequest(subject=subject, page_size=2), []
    while True:
        page = await mesh.standings.ListDecisions(request, metadata=mesh.operator)
        found += page.decisions
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def test_operators_see_what_was_decided_by_whom_and_why(mesh: Bench, anna: Credentials) -> None:
    account_id, operator = await id_of(mesh, anna), await id_of(mesh, mesh.operator)
    made = await restrict(mesh, pause(requester_account_id=account_id))
    note = pb.AppealRestrictionRequest(restriction_id=made.restriction_id, note="It was not me.")
    await mesh.standings.AppealRestriction(note, metadata=anna)
    lift = pb.LiftRestrictionRequest(restriction_id=made.restriction_id, reason="So it seems.")
    await mesh.standings.LiftRestriction(lift, metadata=mesh.operator)
    trust = pb.SetTrustRequest(account_id=account_id, trusted=True, reason="I know her.")
    await mesh.standings.SetTrust(trust, metadata=mesh.operator)
    await restrict(mesh, ban(network="192.0.2.7"))
    about_her = {
        (decision.action, decision.by_account_id, decision.subject, decision.reason)
        for decision in await decided(mesh, account_id)
    }
    assert about_her == {
        (pb.DECISION_ACTION_PAUSE, operator, made.restriction_id, "It floods."),
        (pb.DECISION_ACTION_APPEAL, account_id, made.restriction_id, "It was not me."),
        (pb.DECISION_ACTION_LIFT, operator, made.restriction_id, "So it seems."),
        (pb.DECISION_ACTION_SET_TRUST, operator, account_id, "I know her."),
    }
    everything = await decided(mesh)
    assert len(everything) == 5
    assert [decision.at.ToDatetime() for decision in everything] == sorted(
        (decision.at.ToDatetime() for decision in everything), reverse=True
    )
    (banned,) = await decided(mesh, "192.0.2.7/32")
    assert (banned.action, banned.detail) == (pb.DECISION_ACTION_BAN, "network 192.0.2.7/32")


async def test_only_operators_see_what_was_decided_and_pages_must_be_such(mesh: Bench, anna: Credentials) -> None:
    with assert_raises_reason(PermissionDenied, "ROLE_MISSING"):
        await mesh.standings.ListDecisions(pb.ListDecisionsRequest(), metadata=anna)
    for request in (pb.ListDecisionsRequest(page_token="?"), pb.ListDecisionsRequest(page_token="bm93IHg=")):
        with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
            await mesh.standings.ListDecisions(request, metadata=mesh.operator)
        assert fields_of(caught.value) == ["page_token"]
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await mesh.standings.ListDecisions(pb.ListDecisionsRequest(subject="x" * 65), metadata=mesh.operator)
    assert fields_of(caught.value) == ["subject"]
