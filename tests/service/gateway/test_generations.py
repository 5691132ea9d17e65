"""Asking for images, over a real socket."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.service.gateway.conftest import open_account

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.job.v1 import job_pb2
from horde.services.clock import SystemClock
from horde.services.errors import AlreadyExists, FailedPrecondition, NotFound, ResourceExhausted, Unavailable
from horde.services.tokens import KeyRing, Verifier
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import assert_raises_reason
from horde.testkit.waiting import HANG_SECONDS

Spec = Callable[..., generation_pb2.GenerationSpec]
Credentials = list[tuple[str, str]]
NOTICE = generation_pb2.NoticeCode


def request(spec: generation_pb2.GenerationSpec, **fields: Any) -> pb.CreateGenerationRequest:
    return pb.CreateGenerationRequest(**{"request_id": str(uuid.uuid4()), "spec": spec, **fields})


async def test_a_quote_names_price_placement_wait_and_what_can_be_paid(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    answer = await mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=spec(count=2)), metadata=anna)
    quote = answer.quote
    assert quote.per_image.price_mkudos == 10_827
    assert quote.per_image.tax_mkudos == 3_000
    assert quote.total_mkudos == 2 * 13_827
    assert quote.placement == job_pb2.PLACEMENT_PRIVATE
    assert quote.wait.eligible_workers == 1
    assert quote.available_mkudos == 50_000
    assert not quote.notices
    assert not mesh.scheduler.submissions


async def test_a_quote_after_a_charge_shows_what_is_left(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    for available in (50_000, 36_173, 22_346):
        mesh.ledger.available = available
        answer = await mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=spec()), metadata=anna)
        assert answer.quote.available_mkudos == available


@pytest.mark.parametrize(("own", "share"), [(0, "all"), (1_000, "a part")])
async def test_a_quote_says_how_much_of_it_the_floor_subsidy_pays(
    own: int, share: str, mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    mesh.ledger.available, mesh.ledger.subsidy = own, 60_000
    answer = await mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=spec()), metadata=anna)
    assert [notice.text for notice in answer.quote.notices] == [
        f"The mesh pays {share} of it: its daily help (the floor subsidy) for who has too few kudos."
    ]


async def test_a_quote_that_nobody_can_do_says_why(mesh: Bench, nobody: Credentials, spec: Spec) -> None:
    mesh.scheduler.wait = generation_pb2.WaitEstimate(
        ineligible=[
            generation_pb2.IneligibleWorkers(reason=generation_pb2.INELIGIBLE_REASON_MODEL, workers=2),
        ]
    )
    answer = await mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=spec()), metadata=nobody)
    assert not answer.quote.HasField("wait")
    assert not answer.quote.HasField("available_mkudos")
    codes = [notice.code for notice in answer.quote.notices]
    assert codes == [NOTICE.NOTICE_CODE_SHARED_ANONYMOUS, NOTICE.NOTICE_CODE_NO_WORKER]
    assert "2 without the model" in answer.quote.notices[1].text


async def test_a_quote_needs_no_neighbour(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    mesh.scheduler.away = mesh.ledger.away = True
    answer = await mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=spec()), metadata=anna)
    assert answer.quote.total_mkudos == 13_827
    assert not answer.quote.HasField("wait")


async def test_what_is_created_reaches_the_scheduler_priced_placed_and_as_it_was_sent(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    asked = request(spec(count=3, share=True))
    answer = await mesh.generations.CreateGeneration(asked, metadata=anna)
    (submission,) = mesh.scheduler.submissions
    assert submission.spec == asked.spec
    assert not submission.spec.job.image.HasField("seed")
    assert submission.quote.placement == job_pb2.PLACEMENT_SHARED
    assert submission.quote.facts == job_pb2.PlacementFacts(asked=True, consent_text_version="2026-11")
    assert submission.quote.total_mkudos == 3 * 11_827
    assert submission.balance_mkudos == 50_000
    assert submission.address_bucket == "127.0.0.0/24"
    assert answer.generation.generation_id == submission.generation_id
    assert len(answer.generation.images) == 3


async def test_ids_follow_from_who_asks_and_the_request_id(mesh: Bench, nobody: Credentials, spec: Spec) -> None:
    asked = request(spec(), request_id="11111111-2222-4333-8444-555555555555")
    answer = await mesh.generations.CreateGeneration(asked, metadata=nobody)
    digest = "be45cb2605bf36bebde684841a28f0fd43c69850a3dce5fedba69928ee3a8991"
    namespace = uuid.UUID("6f1a3a1e-2d0c-5c6e-9b57-0b6c8f6d4a11")
    assert answer.generation.generation_id == str(uuid.uuid5(namespace, f"anonymous:{digest}/{asked.request_id}"))
    (submission,) = mesh.scheduler.submissions
    assert submission.requester.anonymous_digest.hex() == digest
    assert submission.address_bucket == "127.0.0.0/24"


async def test_the_same_request_again_is_the_same_generation(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    asked = request(spec())
    first = await mesh.generations.CreateGeneration(asked, metadata=anna)
    again = await mesh.generations.CreateGeneration(asked, metadata=anna)
    assert first == again
    asked.spec.job.image.steps = 20
    with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": "spec"}):
        await mesh.generations.CreateGeneration(asked, metadata=anna)


async def test_many_creations_travel_together(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    mesh.scheduler.open.clear()
    creations = [asyncio.create_task(_create(mesh, anna, request(spec()))) for _ in range(64)]
    while mesh.gateway.scheduler.waiting_submissions + sum(mesh.scheduler.batches) < 64:
        await asyncio.sleep(0)
    mesh.scheduler.open.set()
    await asyncio.gather(*creations)
    assert sum(mesh.scheduler.batches) == 64
    assert len(mesh.scheduler.batches) <= 4


async def _create(mesh: Bench, who: Credentials, asked: pb.CreateGenerationRequest) -> generation_pb2.Generation:
    answer: pb.CreateGenerationResponse = await mesh.generations.CreateGeneration(asked, metadata=who)
    return answer.generation


async def test_a_price_above_the_maximum_is_refused_unless_it_was_accepted_before(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    asked = request(spec(), max_total_mkudos=13_826)
    with assert_raises_reason(FailedPrecondition, "PRICE_ABOVE_MAXIMUM", {"total_mkudos": "13827"}):
        await mesh.generations.CreateGeneration(asked, metadata=anna)
    assert not mesh.scheduler.submissions
    asked.max_total_mkudos = 13_827
    first = await mesh.generations.CreateGeneration(asked, metadata=anna)
    asked.max_total_mkudos = 1
    assert (await mesh.generations.CreateGeneration(asked, metadata=anna)) == first


class Broke(FailedPrecondition):
    """No kudos."""

    domain = "horde.api.ledger.v1"
    reason = "INSUFFICIENT_KUDOS"


class Gone(FailedPrecondition):
    """What the scheduler hands on of storage's refusal."""

    domain = "horde.api.storage.v1"
    reason = "INPUT_UNUSABLE"


class Full(ResourceExhausted):
    """No room."""

    domain = "horde.internal.scheduler.v1"
    reason = "QUEUE_FULL"


async def test_a_lack_of_kudos_is_told_as_it_is(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    mesh.scheduler.refusals[""] = Broke(metadata={"available_mkudos": "1", "needed_mkudos": "2"})
    with assert_raises_reason(FailedPrecondition, "INSUFFICIENT_KUDOS", {"needed_mkudos": "2"}) as caught:
        await mesh.generations.CreateGeneration(request(spec()), metadata=anna)
    assert caught.value.domain == "horde.api.ledger.v1"


async def test_the_inside_of_the_mesh_is_not_told(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    mesh.scheduler.refusals[""] = Full(metadata={"limit": "100"}, retry_after=timedelta(seconds=1))
    with assert_raises_reason(ResourceExhausted, "OVERLOADED") as caught:
        await mesh.generations.CreateGeneration(request(spec()), metadata=anna)
    assert (caught.value.domain, caught.value.metadata) == ("mesh", {"limit": "queue"})
    assert caught.value.retry_after


async def test_without_a_scheduler_it_is_unavailable(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    mesh.scheduler.away = True
    with assert_raises_reason(Unavailable):
        await mesh.generations.GetGeneration(pb.GetGenerationRequest(generation_id=str(uuid.uuid4())), metadata=anna)


async def test_a_finished_image_has_a_ticket_that_the_router_will_believe(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    created = (await mesh.generations.CreateGeneration(request(spec(count=2)), metadata=anna)).generation
    mesh.scheduler.end(created.generation_id, 1)
    got = await mesh.generations.GetGeneration(
        pb.GetGenerationRequest(generation_id=created.generation_id), metadata=anna
    )
    waiting, done = got.generation.images
    assert not waiting.HasField("download")
    assert done.download.address == mesh.settings.storage_router
    clock = SystemClock()
    ring = KeyRing(mesh.settings.public_keys_dir, clock.monotonic)
    claims = Verifier(ring).verify(done.download.ticket, "storage-router", "gateway", clock.now())
    assert claims["act"] == "get_image"
    assert claims["job_id"] == done.job_id
    assert claims["object_name"] == f"{1:032x}"
    assert claims["placement"] == "PRIVATE"
    assert claims["sha256"] == "05" * 32
    assert claims["requester"] == mesh.scheduler.submissions[0].requester.account_id
    listed = await mesh.generations.ListGenerations(pb.ListGenerationsRequest(), metadata=anna)
    assert not listed.generations[0].images[1].HasField("download")


async def test_what_belongs_to_somebody_else_is_what_does_not_exist(
    mesh: Bench, anna: Credentials, bert: Credentials, nobody: Credentials, spec: Spec
) -> None:
    other = [("authorization", "Anonymous ff0102030405060708090a0b0c0d0e0f")]
    for owner, strangers in ((anna, (bert, nobody)), (nobody, (other, bert))):
        created = (await mesh.generations.CreateGeneration(request(spec()), metadata=owner)).generation
        mesh.scheduler.end(created.generation_id, 0)
        for stranger in strangers:
            for generation_id in (created.generation_id, str(uuid.uuid4())):
                for call in (
                    mesh.generations.GetGeneration(
                        pb.GetGenerationRequest(generation_id=generation_id), metadata=stranger
                    ),
                    mesh.generations.CancelGeneration(
                        pb.CancelGenerationRequest(generation_id=generation_id), metadata=stranger
                    ),
                    mesh.generations.WatchGeneration(
                        pb.WatchGenerationRequest(generation_id=generation_id), metadata=stranger
                    ).read(),
                    mesh.generations.WithdrawImages(
                        pb.WithdrawImagesRequest(generation_id=generation_id, job_ids=[created.images[0].job_id]),
                        metadata=stranger,
                    ),
                ):
                    with assert_raises_reason(NotFound, "GENERATION_NOT_FOUND", {"generation_id": generation_id}):
                        await call
            assert not (
                await mesh.generations.ListGenerations(pb.ListGenerationsRequest(), metadata=stranger)
            ).generations


async def test_the_same_request_id_of_two_requesters_is_two_generations(
    mesh: Bench, anna: Credentials, bert: Credentials, spec: Spec
) -> None:
    asked = request(spec())
    first = await mesh.generations.CreateGeneration(asked, metadata=anna)
    second = await mesh.generations.CreateGeneration(asked, metadata=bert)
    assert first.generation.generation_id != second.generation.generation_id


@pytest.mark.parametrize("mask", [(512, 512), (512, 256)])
async def test_a_mask_has_the_size_of_its_source(
    mesh: Bench, nobody: Credentials, spec: Spec, mask: tuple[int, int]
) -> None:
    asked = request(spec(share=True))
    image = asked.spec.job.image
    image.source_image.CopyFrom(mesh.storage.put("anonymous", str(uuid.uuid4()), 512, 512))
    image.mask.CopyFrom(mesh.storage.put("anonymous", str(uuid.uuid4()), *mask))
    if mask == (512, 512):
        answer = await mesh.generations.CreateGeneration(asked, metadata=nobody)
        assert answer.generation.quote.placement == job_pb2.PLACEMENT_PRIVATE
        assert answer.generation.quote.notices[0].code == NOTICE.NOTICE_CODE_NOT_SHARED_HAS_INPUT
        # The inputs are deleted when it has ended: a repeat must not mind.
        mesh.storage.inputs.clear()
        assert (await mesh.generations.CreateGeneration(asked, metadata=nobody)) == answer
        return
    with pytest.raises(Exception, match="size of the source image") as caught:
        await mesh.generations.CreateGeneration(asked, metadata=nobody)
    assert caught.value.violations[0].field == "spec.job.image.mask"  # type: ignore[attr-defined]
    assert not mesh.scheduler.submissions


async def test_an_input_that_is_not_there_is_named(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    asked = request(spec())
    ref = mesh.storage.put("somebody-else", str(uuid.uuid4()), 64, 64)
    asked.spec.job.image.source_image.CopyFrom(ref)
    with assert_raises_reason(
        FailedPrecondition, "INPUT_UNUSABLE", {"input_id": ref.input_id, "field": "spec.job.image.source_image"}
    ):
        await mesh.generations.CreateGeneration(asked, metadata=anna)
    assert not mesh.scheduler.submissions


async def test_an_input_that_goes_before_it_is_claimed_is_named_as_well(
    mesh: Bench, nobody: Credentials, spec: Spec
) -> None:
    asked = request(spec())
    image = asked.spec.job.image
    image.width = image.height = 512
    for field in (image.source_image, image.mask):
        field.CopyFrom(mesh.storage.put("anonymous", str(uuid.uuid4()), 512, 512))
    named = {"input_id": image.mask.input_id, "field": "spec.job.image.mask"}
    mesh.scheduler.refusals[""] = Gone(metadata={"input_id": image.mask.input_id})
    with assert_raises_reason(FailedPrecondition, "INPUT_UNUSABLE", named) as caught:
        await mesh.generations.CreateGeneration(asked, metadata=nobody)
    assert caught.value.domain == "horde.api.generation.v1"


async def test_what_was_refused_is_refused_alike_when_it_is_repeated_though_its_inputs_are_gone(
    mesh: Bench, nobody: Credentials, spec: Spec
) -> None:
    asked = request(spec(share=True))
    asked.spec.job.image.source_image.CopyFrom(mesh.storage.put("anonymous", str(uuid.uuid4()), 64, 64))
    mesh.scheduler.refusals[""] = Broke(metadata={"available_mkudos": "1", "needed_mkudos": "2"})
    with assert_raises_reason(FailedPrecondition, "INSUFFICIENT_KUDOS"):
        await mesh.generations.CreateGeneration(asked, metadata=nobody)
    mesh.scheduler.refusals[mesh.scheduler.submissions[0].generation_id] = mesh.scheduler.refusals.pop("")
    mesh.storage.inputs.clear()
    with assert_raises_reason(FailedPrecondition, "INSUFFICIENT_KUDOS"):
        await mesh.generations.CreateGeneration(asked, metadata=nobody)
    mesh.scheduler.away = True
    with pytest.raises(Unavailable):
        await mesh.generations.CreateGeneration(asked, metadata=nobody)


async def test_an_input_ticket_says_what_may_be_put(mesh: Bench, nobody: Credentials) -> None:
    input_id = str(uuid.uuid4())
    answer = await mesh.generations.CreateInputTicket(pb.CreateInputTicketRequest(input_id=input_id), metadata=nobody)
    clock = SystemClock()
    ring = KeyRing(mesh.settings.public_keys_dir, clock.monotonic)
    claims = Verifier(ring).verify(answer.ticket, "storage-router", "gateway", clock.now())
    assert claims["act"] == "put_input"
    assert claims["input_id"] == input_id
    assert claims["max_bytes"] == answer.max_bytes
    assert claims["requester"].startswith("anonymous:be45cb26")


async def test_anonymous_has_the_tightest_limit(mesh: Bench, nobody: Credentials, spec: Spec) -> None:
    await mesh.generations.CreateGeneration(request(spec(count=20)), metadata=nobody)
    with assert_raises_reason(ResourceExhausted, "RATE_LIMITED", {"limit": "20/60s"}) as caught:
        await mesh.generations.CreateGeneration(request(spec()), metadata=nobody)
    assert caught.value.retry_after is not None
    assert len(mesh.scheduler.submissions) == 1


def anonymous(number: int) -> Credentials:
    return [("authorization", f"Anonymous {number:032x}")]


async def test_inputs_are_counted_by_account_and_for_anonymous_by_address(tmp_path: Path) -> None:
    # An hour, so that nothing grows back while this runs.
    limits: dict[str, Any] = {"limit_account_inputs": "3/3600s", "limit_address_inputs": "3/3600s"}
    async with bench(tmp_path, **limits) as mesh:
        anna, bert = [await open_account(mesh, name) for name in ("Anna", "Bert")]

        async def ticket(who: Credentials) -> Any:
            return await mesh.generations.CreateInputTicket(
                pb.CreateInputTicketRequest(input_id=str(uuid.uuid4())), metadata=who
            )

        for number in range(3):
            await ticket(anna)
            await ticket(anonymous(number))
        for who in (anna, anonymous(0), anonymous(99)):
            with assert_raises_reason(ResourceExhausted, "RATE_LIMITED", {"limit": "3/3600s"}):
                await ticket(who)
        await ticket(bert)


async def test_anonymous_calls_are_counted_by_address(tmp_path: Path) -> None:
    async with bench(tmp_path, limit_address_calls="3/60s", limit_anonymous_calls="2/60s") as mesh:

        async def call(who: Credentials) -> None:
            await mesh.generations.ListGenerations(pb.ListGenerationsRequest(), metadata=who)

        for number in range(3):
            await call(anonymous(number))
        with assert_raises_reason(ResourceExhausted, "RATE_LIMITED", {"limit": "3/60s"}):
            await call(anonymous(3))
        await call(mesh.operator)


async def test_a_page_is_no_more_than_a_message_holds(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    heavy = spec(image={"prompt": "\U0001f98a" * 4_000, "negative_prompt": "\U0001f43b" * 4_000})
    created = (await mesh.generations.CreateGeneration(request(heavy), metadata=anna)).generation
    known = mesh.scheduler.generations[created.generation_id]
    for number in range(149):
        mesh.scheduler.generations[str(number)] = known
    listed = await mesh.generations.ListGenerations(pb.ListGenerationsRequest(page_size=100), metadata=anna)
    assert len(listed.generations) == 50
    assert listed.ByteSize() < 4 * 1024 * 1024


async def test_answers_above_what_a_message_holds_are_fetched_one_by_one(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    created = [
        (await mesh.generations.CreateGeneration(request(spec(count=20)), metadata=anna)).generation for _ in range(20)
    ]
    heavy = job_pb2.Deviation(field="f" * 200, asked="a" * 200, done="d" * 200)
    for known in mesh.scheduler.generations.values():
        for image in known.generation.images:
            image.deviations.extend([heavy] * 32)
    mesh.scheduler.reads.clear()

    async def size(generation_id: str) -> int:
        asked = pb.GetGenerationRequest(generation_id=generation_id)
        answer: pb.GetGenerationResponse = await mesh.generations.GetGeneration(asked, metadata=anna)
        return answer.ByteSize()

    mesh.scheduler.open.clear()
    asked = [asyncio.create_task(size(generation.generation_id)) for generation in created]
    async with asyncio.timeout(HANG_SECONDS):
        while sum(mesh.scheduler.reads) + len(mesh.gateway.scheduler._reads) < 20:
            await asyncio.sleep(0.002)
    mesh.scheduler.open.set()
    sizes = await asyncio.gather(*asked)
    # The largest batch was asked for in vain.
    assert 12 <= max(mesh.scheduler.reads) <= 16
    assert 12 * min(sizes) > 4 * 1024 * 1024
