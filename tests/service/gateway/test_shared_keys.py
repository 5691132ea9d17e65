"""Shared keys over a real socket: their life, their bounds and budgets, and what their holders see."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as generation_service
from horde.api.job.v1 import job_pb2
from horde.gateway.core.credentials import ALPHABET
from horde.services.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import ManualClock, assert_raises_reason, fields_of
from horde.testkit.waiting import HANG_SECONDS

Credentials = list[tuple[str, str]]
Spec = Callable[..., generation_pb2.GenerationSpec]
PRICE = 13_827
"""What the picture of the fixture costs, tax included, in milli-kudos; checked below."""


def drawn() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(22))


def bearer(key: str) -> Credentials:
    return [("authorization", f"Bearer {key}")]


def new(**fields: Any) -> pb.CreateSharedKeyRequest:
    request = {"request_id": str(uuid.uuid4()), "label": "for Clara", "key": drawn(), **fields}
    return pb.CreateSharedKeyRequest(**request)


async def share(mesh: Bench, who: Credentials, **fields: Any) -> tuple[Credentials, pb.SharedKey]:
    request = new(**fields)
    answer = await mesh.accounts.CreateSharedKey(request, metadata=who)
    return bearer(request.key), answer.key


async def look(mesh: Bench, holder: Credentials) -> pb.SharedKey:
    answer: pb.GetSharedKeyResponse = await mesh.accounts.GetSharedKey(pb.GetSharedKeyRequest(), metadata=holder)
    return answer.key


async def make(
    mesh: Bench, who: Credentials, spec: generation_pb2.GenerationSpec, request_id: str = ""
) -> generation_pb2.Generation:
    request = generation_service.CreateGenerationRequest(request_id=request_id or str(uuid.uuid4()), spec=spec)
    answer: generation_service.CreateGenerationResponse = await mesh.generations.CreateGeneration(request, metadata=who)
    return answer.generation


async def quote(mesh: Bench, who: Credentials, spec: generation_pb2.GenerationSpec) -> generation_pb2.Quote:
    request = generation_service.QuoteGenerationRequest(spec=spec)
    answer: generation_service.QuoteGenerationResponse = await mesh.generations.QuoteGeneration(request, metadata=who)
    return answer.quote


def finish(mesh: Bench, generation: generation_pb2.Generation, charged: int, subsidised: int = 0) -> None:
    """End the first picture, as the ledger charged it."""
    mesh.scheduler.end(generation.generation_id, 0)
    known = mesh.scheduler.generations[generation.generation_id].generation
    known.images[0].settlement.charged_mkudos = charged
    known.images[0].settlement.from_subsidy_mkudos = subsidised


@pytest_asyncio.fixture
async def timed(tmp_path: Path) -> AsyncIterator[tuple[Bench, ManualClock]]:
    clock = ManualClock()
    async with bench(tmp_path, clock=clock) as mesh:
        yield mesh, clock


async def test_a_shared_key_is_shown_as_it_was_asked_for(mesh: Bench, anna: Credentials) -> None:
    bounds = pb.SharedKeyBounds(max_pixels=512 * 512, max_steps=50, max_count=2, models=["paintbox"])
    request = new(budget_mkudos=0, bounds=bounds)
    request.lasts.FromSeconds(3600)
    key = (await mesh.accounts.CreateSharedKey(request, metadata=anna)).key
    assert (key.label, key.budget_mkudos, key.spent_mkudos, key.bounds) == ("for Clara", 0, 0, bounds)
    assert key.HasField("budget_mkudos")
    assert key.expires_at.seconds - key.created_at.seconds == 3600
    assert key.shared_key_id not in request.key
    listed = await mesh.accounts.ListSharedKeys(pb.ListSharedKeysRequest(), metadata=anna)
    assert list(listed.keys) == [key]
    assert (await look(mesh, bearer(request.key))).shared_key_id == key.shared_key_id


async def test_a_lost_answer_loses_no_key(mesh: Bench, anna: Credentials, bert: Credentials) -> None:
    request = new(budget_mkudos=5)
    first = await mesh.accounts.CreateSharedKey(request, metadata=anna)
    assert await mesh.accounts.CreateSharedKey(request, metadata=anna) == first
    change = pb.UpdateSharedKeyRequest(shared_key_id=first.key.shared_key_id, label="renamed")
    change.update_mask.paths.append("label")
    await mesh.accounts.UpdateSharedKey(change, metadata=anna)
    # What was changed since makes the repeat no other request.
    assert (await mesh.accounts.CreateSharedKey(request, metadata=anna)).key.label == "renamed"
    for field, value in (("label", "x"), ("key", drawn()), ("budget_mkudos", 6)):
        other = pb.CreateSharedKeyRequest()
        other.CopyFrom(request)
        setattr(other, field, value)
        with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": field}):
            await mesh.accounts.CreateSharedKey(other, metadata=anna)
    # The key of one cannot be made another's.
    with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": "key"}):
        await mesh.accounts.CreateSharedKey(new(key=request.key), metadata=bert)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"request_id": "x"}, ["request_id"]),
        ({"key": ""}, ["key"]),
        ({"key": "a" * 22}, ["key"]),
        ({"key": "horde_abc_def"}, ["key"]),
        ({"label": "x" * 65}, ["label"]),
        ({"label": "two\nlines", "budget_mkudos": -1}, ["label", "budget_mkudos"]),
        ({"bounds": {"max_steps": -1, "models": ["", "ok"]}}, ["bounds.max_steps", "bounds.models[0]"]),
        ({"bounds": {"models": ["m"] * 33}}, ["bounds.models"]),
        ({"lasts": {"seconds": 59}}, ["lasts"]),
        ({"lasts": {"seconds": 400 * 24 * 3600 * 10}}, ["lasts"]),
    ],
)
async def test_a_bad_request_names_every_field(
    mesh: Bench, anna: Credentials, fields: dict[str, Any], wrong: list[str]
) -> None:
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await mesh.accounts.CreateSharedKey(new(**fields), metadata=anna)
    assert fields_of(caught.value) == wrong
    assert not (await mesh.accounts.ListSharedKeys(pb.ListSharedKeysRequest(), metadata=anna)).keys


async def test_an_account_has_at_most_32_that_are_good(mesh: Bench, anna: Credentials) -> None:
    for _ in range(32):
        _, key = await share(mesh, anna)
    with assert_raises_reason(ResourceExhausted, "TOO_MANY_API_KEYS", {"limit": "32"}):
        await share(mesh, anna)
    await mesh.accounts.RevokeSharedKey(pb.RevokeSharedKeyRequest(shared_key_id=key.shared_key_id), metadata=anna)
    await share(mesh, anna)


async def test_others_keys_are_as_those_that_do_not_exist(mesh: Bench, anna: Credentials, bert: Credentials) -> None:
    holder, key = await share(mesh, anna)
    change = pb.UpdateSharedKeyRequest(shared_key_id=key.shared_key_id)
    change.update_mask.paths.append("label")
    calls = [
        (mesh.accounts.GetSharedKey, pb.GetSharedKeyRequest(shared_key_id=key.shared_key_id)),
        (mesh.accounts.UpdateSharedKey, change),
        (mesh.accounts.RevokeSharedKey, pb.RevokeSharedKeyRequest(shared_key_id=key.shared_key_id)),
    ]
    for call, request in calls:
        with assert_raises_reason(NotFound, "SHARED_KEY_NOT_FOUND", {"shared_key_id": key.shared_key_id}):
            await call(request, metadata=bert)
    other, _ = await share(mesh, anna)
    with assert_raises_reason(NotFound, "SHARED_KEY_NOT_FOUND"):
        await mesh.accounts.GetSharedKey(pb.GetSharedKeyRequest(shared_key_id=key.shared_key_id), metadata=other)
    with assert_raises_reason(NotFound, "SHARED_KEY_NOT_FOUND"):
        await mesh.accounts.GetSharedKey(pb.GetSharedKeyRequest(), metadata=anna)
    assert not (await look(mesh, holder)).revoked


async def test_a_holder_is_no_account(mesh: Bench, anna: Credentials) -> None:
    holder, key = await share(mesh, anna)
    for call, request in (
        (mesh.accounts.GetAccount, pb.GetAccountRequest()),
        (mesh.accounts.ListSharedKeys, pb.ListSharedKeysRequest()),
        (mesh.accounts.CreateSharedKey, new()),
        (mesh.accounts.RevokeSharedKey, pb.RevokeSharedKeyRequest(shared_key_id=key.shared_key_id)),
        (mesh.accounts.CreateApiKey, pb.CreateApiKeyRequest()),
        (mesh.accounts.UpdateAccount, pb.UpdateAccountRequest()),
    ):
        with assert_raises_reason(PermissionDenied, "ACCOUNT_REQUIRED"):
            await call(request, metadata=holder)


async def test_a_revoked_key_is_useless_at_once_and_what_was_accepted_goes_on(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    holder, key = await share(mesh, anna)
    made = await make(mesh, holder, spec())
    request = pb.RevokeSharedKeyRequest(shared_key_id=key.shared_key_id)
    for _ in range(2):
        assert (await mesh.accounts.RevokeSharedKey(request, metadata=anna)).key.revoked
    with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
        await quote(mesh, holder, spec())
    assert not mesh.scheduler.generations[made.generation_id].generation.finished


async def test_an_expired_key_says_when_and_its_owner_can_make_it_last(
    timed: tuple[Bench, ManualClock], spec: Spec
) -> None:
    mesh, clock = timed
    holder, key = await share(mesh, mesh.operator, lasts={"seconds": 60})
    clock.jump(59)
    await quote(mesh, holder, spec())
    # Although it was believed a second ago.
    clock.jump(1.01)
    expired_at = key.expires_at.ToDatetime().strftime("%Y-%m-%dT%H:%M:%SZ")
    with assert_raises_reason(Unauthenticated, "SHARED_KEY_EXPIRED", {"expired_at": expired_at}):
        await quote(mesh, holder, spec())
    change = pb.UpdateSharedKeyRequest(shared_key_id=key.shared_key_id)
    change.update_mask.paths.append("lasts")
    change.lasts.FromSeconds(3600)
    await mesh.accounts.UpdateSharedKey(change, metadata=mesh.operator)
    await quote(mesh, holder, spec())


@pytest.mark.parametrize(
    ("bounds", "image", "fields", "said"),
    [
        ({"max_pixels": 512 * 512 - 1}, {}, {}, ("max_pixels", 512 * 512 - 1, 512 * 512)),
        ({"max_steps": 49}, {}, {}, ("max_steps", 49, 50)),
        ({"max_count": 1}, {}, {"count": 2}, ("max_count", 1, 2)),
        ({"max_total_mkudos": PRICE}, {}, {"count": 2}, ("max_total_mkudos", PRICE, 2 * PRICE)),
        ({"models": ["other", "third"]}, {}, {}, ("models", "other, third", "paintbox")),
    ],
)
async def test_more_than_a_bound_permits_is_refused_with_the_bound(
    mesh: Bench,
    anna: Credentials,
    spec: Spec,
    bounds: dict[str, Any],
    image: dict[str, object],
    fields: dict[str, Any],
    said: tuple[str, object, object],
) -> None:
    holder, _ = await share(mesh, anna, bounds=bounds)
    metadata = {"bound": said[0], "limit": str(said[1]), "asked": str(said[2])}
    for ask in (quote, make):
        with assert_raises_reason(FailedPrecondition, "SHARED_KEY_BOUND", metadata):
            await ask(mesh, holder, spec(image, **fields))
    assert not mesh.scheduler.submissions
    # What is exactly as much as permitted is permitted, and the owner is not bound.
    await quote(mesh, anna, spec(image, **fields))


async def test_a_budget_is_held_then_spent_and_no_more_than_that(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    holder, key = await share(mesh, anna, budget_mkudos=2 * PRICE)
    told = await quote(mesh, holder, spec())
    assert (told.total_mkudos, told.available_mkudos) == (PRICE, 2 * PRICE)
    first = await make(mesh, holder, spec())
    assert (await look(mesh, holder)).spent_mkudos == PRICE
    await make(mesh, holder, spec())
    metadata = {"left_mkudos": "0", "needed_mkudos": str(PRICE)}
    for ask in (quote, make):
        with assert_raises_reason(FailedPrecondition, "SHARED_KEY_BUDGET_SPENT", metadata):
            await ask(mesh, holder, spec())
    finish(mesh, first, charged=300, subsidised=30)
    # It is seen at once that the first cost less than was held.
    metadata = {"left_mkudos": str(PRICE - 330), "needed_mkudos": str(PRICE)}
    with assert_raises_reason(FailedPrecondition, "SHARED_KEY_BUDGET_SPENT", metadata):
        await make(mesh, holder, spec())
    change = pb.UpdateSharedKeyRequest(shared_key_id=key.shared_key_id)
    change.update_mask.paths.append("budget_mkudos")
    assert not (await mesh.accounts.UpdateSharedKey(change, metadata=anna)).key.HasField("budget_mkudos")
    await make(mesh, holder, spec())
    assert (await look(mesh, holder)).spent_mkudos == 2 * PRICE + 330


async def test_of_holders_at_once_no_more_spend_than_the_budget_has(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    holder, _ = await share(mesh, anna, budget_mkudos=3 * PRICE)
    answers = await asyncio.gather(*(make(mesh, holder, spec()) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(answer, generation_pb2.Generation) for answer in answers) == 3
    assert len(mesh.scheduler.generations) == 3


async def test_only_so_many_may_be_open_at_once(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    holder, _ = await share(mesh, anna, bounds={"max_open_generations": 1})
    first = await make(mesh, holder, spec())
    metadata = {"bound": "max_open_generations", "limit": "1", "asked": "2"}
    with assert_raises_reason(FailedPrecondition, "SHARED_KEY_BOUND", metadata):
        await make(mesh, holder, spec())
    finish(mesh, first, charged=PRICE)
    await make(mesh, holder, spec())


class Broke(FailedPrecondition):
    """No kudos."""

    domain = "horde.api.ledger.v1"
    reason = "INSUFFICIENT_KUDOS"


async def test_what_is_refused_takes_nothing_of_the_budget(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    holder, _ = await share(mesh, anna, budget_mkudos=PRICE)
    mesh.scheduler.refusals[""] = Broke(metadata={"available_mkudos": "0", "needed_mkudos": str(PRICE)})
    with assert_raises_reason(FailedPrecondition, "INSUFFICIENT_KUDOS"):
        await make(mesh, holder, spec())
    assert (await look(mesh, holder)).spent_mkudos == 0


async def test_a_repeat_after_a_lost_answer_is_paid_once(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    holder, key = await share(mesh, anna, budget_mkudos=PRICE, bounds={"max_steps": 50})
    request_id = str(uuid.uuid4())
    mesh.scheduler.away = True
    request = generation_service.CreateGenerationRequest(request_id=request_id, spec=spec())
    with pytest.raises((Unavailable, DeadlineExceeded)):
        await mesh.generations.CreateGeneration(request, metadata=holder, timeout=0.9)
    mesh.scheduler.away = False
    first = await make(mesh, holder, spec(), request_id)
    # Accepted once, it stays accepted: whatever became of the key's bounds and budget.
    change = pb.UpdateSharedKeyRequest(shared_key_id=key.shared_key_id, budget_mkudos=0)
    change.bounds.max_steps = 1
    change.update_mask.paths.extend(["budget_mkudos", "bounds"])
    await mesh.accounts.UpdateSharedKey(change, metadata=anna)
    assert (await make(mesh, holder, spec(), request_id)).generation_id == first.generation_id
    with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT"):
        await make(mesh, holder, spec({"steps": 40}), request_id)
    assert (await look(mesh, holder)).spent_mkudos == PRICE
    with assert_raises_reason(FailedPrecondition, "SHARED_KEY_BOUND"):
        await make(mesh, holder, spec())


async def test_holders_see_what_was_asked_for_with_their_key_alone_and_the_owner_sees_with_which(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    holder, key = await share(mesh, anna)
    other, _ = await share(mesh, anna)
    request_id = str(uuid.uuid4())
    mine = [await make(mesh, who, spec(), request_id) for who in (holder, other, anna)]
    assert len({generation.generation_id for generation in mine}) == 3
    text = f"{mesh.scheduler.submissions[0].requester.account_id}:{key.shared_key_id}/{request_id}"
    assert mine[0].generation_id == str(uuid.uuid5(uuid.UUID("6f1a3a1e-2d0c-5c6e-9b57-0b6c8f6d4a11"), text))
    name = mine[0].generation_id
    for who in (holder, anna):
        found = await mesh.generations.GetGeneration(
            generation_service.GetGenerationRequest(generation_id=name), metadata=who
        )
        assert found.generation.shared_key_id == (key.shared_key_id if who is anna else "")
    for call, request in (
        (mesh.generations.GetGeneration, generation_service.GetGenerationRequest(generation_id=name)),
        (mesh.generations.CancelGeneration, generation_service.CancelGenerationRequest(generation_id=name)),
        (
            mesh.generations.WithdrawImages,
            generation_service.WithdrawImagesRequest(generation_id=name, job_ids=[str(uuid.uuid4())]),
        ),
    ):
        with assert_raises_reason(NotFound, "GENERATION_NOT_FOUND", {"generation_id": name}):
            await call(request, metadata=other)
    with assert_raises_reason(NotFound, "GENERATION_NOT_FOUND"):
        watch = generation_service.WatchGenerationRequest(generation_id=mine[2].generation_id)
        await mesh.generations.WatchGeneration(watch, metadata=holder).read()
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD"):
        await mesh.generations.GetGeneration(
            generation_service.GetGenerationRequest(generation_id="x"), metadata=holder
        )
    cancelled = await mesh.generations.CancelGeneration(
        generation_service.CancelGenerationRequest(generation_id=name), metadata=holder
    )
    assert cancelled.generation.images[0].ending == job_pb2.JOB_ENDING_CANCELLED


async def test_a_holders_list_comes_in_pages(mesh: Bench, anna: Credentials, bert: Credentials, spec: Spec) -> None:
    holder, key = await share(mesh, anna)
    await make(mesh, anna, spec())
    made = [(await make(mesh, holder, spec())).generation_id for _ in range(5)]
    found: list[str] = []
    request = generation_service.ListGenerationsRequest(page_size=2)
    while True:
        page = await mesh.generations.ListGenerations(request, metadata=holder)
        assert len(page.generations) <= 2
        found += [generation.generation_id for generation in page.generations]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert found == made[::-1]
    # The same for the owner, and for nobody else.
    of_key = generation_service.ListGenerationsRequest(shared_key_id=key.shared_key_id)
    page = await mesh.generations.ListGenerations(of_key, metadata=anna)
    assert [(generation.generation_id, generation.shared_key_id) for generation in page.generations] == [
        (each, key.shared_key_id) for each in found
    ]
    assert not (await mesh.generations.ListGenerations(of_key, metadata=bert)).generations
    # What a list is to hold is the scheduler's to say, and it is told.
    of_key.model = "other"
    mesh.scheduler.list_questions.clear()
    await mesh.generations.ListGenerations(of_key, metadata=anna)
    assert mesh.scheduler.list_questions == [of_key] * 5
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        of_key.model = "../x"
        await mesh.generations.ListGenerations(of_key, metadata=anna)
    assert fields_of(caught.value) == ["model"]
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        request.page_token = str(uuid.uuid4())
        await mesh.generations.ListGenerations(request, metadata=holder)
    assert fields_of(caught.value) == ["page_token"]


async def test_what_nobody_asks_about_is_settled_and_what_never_came_to_be_is_given_back(
    timed: tuple[Bench, ManualClock], spec: Spec
) -> None:
    mesh, clock = timed
    holder, key = await share(mesh, mesh.operator, budget_mkudos=10 * PRICE)
    first = await make(mesh, holder, spec())
    vain = await make(mesh, holder, spec())
    finish(mesh, first, charged=7)
    del mesh.scheduler.generations[vain.generation_id]
    store = mesh.gateway.allowances._store

    async def spent() -> int:
        found = await store.shared_key(key.shared_key_id)
        assert found is not None
        return found.spent_mkudos

    assert await spent() == 2 * PRICE
    await mesh.gateway.allowances.settle()
    # What is missing is believed to be on its way, for ten minutes.
    assert await spent() == PRICE + 7
    async with asyncio.timeout(HANG_SECONDS):
        while await spent() != 7:
            clock.jump(31)
            await asyncio.sleep(0.01)
