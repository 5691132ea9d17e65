"""Between messages and values."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.service.scheduler.mesh import PRICE, SURCHARGE, TAX, World, submission
from tests.unit.scheduler.table import ANNA, Table

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.scheduler.core.job import ANONYMOUS, AccountId, requester_text
from horde.scheduler.core.outcomes import Failed, Invalid, Painted, Refused
from horde.scheduler.core.sessions import Route
from horde.scheduler.doors import wire, wire_worker
from horde.scheduler.doors.grants import Grants, output_size
from horde.services.tokens import Signer, Verifier
from horde.storage_router.core import keys

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_terms_are_what_matters_of_a_spec() -> None:
    made = submission(count=2, sampler=job_pb2.SAMPLER_EULER, clip_skip=2, denied=("w",))
    terms = wire.terms_of(made.spec, made.quote)
    assert (terms.model, terms.pixels, terms.steps) == ("paintbox", 512 * 512, 20)
    assert (terms.price.price, terms.price.surcharge, terms.price.tax) == (PRICE, SURCHARGE, TAX)
    assert terms.denied == {"w"}
    bits = (worker_pb2.FEATURE_CLIP_SKIP, wire.SAMPLER_BIT + job_pb2.SAMPLER_EULER, wire.MULTIPLE_BIT + 3)
    assert terms.features == sum(1 << bit for bit in bits)
    assert wire.terms_from_bytes(made.spec.SerializeToString(), made.quote.SerializeToString()) == terms


def test_what_a_spec_needs_is_what_a_worker_must_have() -> None:
    offer = worker_pb2.ImageOffer(
        max_pixels=1 << 20,
        features=[worker_pb2.FEATURE_INPAINTING],
        samplers=[job_pb2.SAMPLER_DDIM],
        schedules=[job_pb2.NOISE_SCHEDULE_KARRAS],
        size_multiple=16,
    )

    def lacks(**changes: Any) -> int:
        message = worker_pb2.Capabilities(models=[worker_pb2.ModelOffer(name="m", image=offer)])
        able = wire_worker.capabilities_of(message).offers["m"].features
        spec = submission().spec.job
        spec.image.MergeFrom(job_pb2.ImageSpec(**changes))
        return wire.features_of(spec) & ~able

    assert not lacks()
    assert not lacks(sampler=job_pb2.SAMPLER_DDIM, schedule=job_pb2.NOISE_SCHEDULE_KARRAS, width=528)
    assert lacks(width=520) == 1 << wire.MULTIPLE_BIT
    assert lacks(sampler=job_pb2.SAMPLER_HEUN)
    assert lacks(schedule=job_pb2.NOISE_SCHEDULE_BETA)
    for feature, field in (
        (worker_pb2.FEATURE_TILING, {"tiling": True}),
        (worker_pb2.FEATURE_HIRES_FIX, {"hires_fix": job_pb2.HiresFix()}),
        (worker_pb2.FEATURE_UPSCALING, {"post_processors": [job_pb2.POST_PROCESSOR_UPSCALE_2X]}),
        (worker_pb2.FEATURE_POST_PROCESSING, {"post_processors": [job_pb2.POST_PROCESSOR_FACE_REPAIR]}),
        (worker_pb2.FEATURE_RESIZE_MODES, {"resize_mode": job_pb2.RESIZE_MODE_FIT}),
        (worker_pb2.FEATURE_RESIZE_MODES, {"invert_mask": True}),
        (worker_pb2.FEATURE_CONTROL, {"controls": [job_pb2.Control()]}),
        (worker_pb2.FEATURE_TEXTUAL_INVERSION, {"textual_inversions": [job_pb2.TextualInversion()]}),
    ):
        assert lacks(**field) == 1 << feature, field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"count": 2}, "spec.count"),
        ({"share": True}, "spec.share"),
        ({"prompt": "a wolf"}, "spec.job.image.prompt"),
        ({"seed": 0}, "spec.job.image.seed"),
        ({"guidance_scale": 0.0}, "spec.job.image.guidance_scale"),
        ({"denied": ("w",)}, "spec.denied_worker_ids"),
        ({"ttl": 5}, "spec.time_to_live"),
        ({"loras": [job_pb2.Lora(name="x")]}, "spec.job.image.loras"),
        ({"source_image": job_pb2.InputImage()}, "spec.job.image.source_image"),
        ({}, ""),
    ],
)
def test_the_first_field_that_differs_is_named(change: dict[str, Any], field: str) -> None:
    assert wire.first_difference(submission().spec, submission(**change).spec, "spec") == field


def test_seeds_count_up_and_wrap() -> None:
    generation = Table().submit(images=3)
    generation.seed = 2**63 - 2
    assert [wire.seed_of(generation, job.index) for job in generation.jobs] == [2**63 - 2, 2**63 - 1, 0]


def test_inputs_are_named_once() -> None:
    same = job_pb2.InputImage(input_id="i", sha256=b"\1" * 32)
    spec = submission(source_image=same, mask=same).spec
    assert [reference.input_id for reference in wire.inputs_of(spec.job)] == ["i"]


def test_a_grant_says_what_the_router_must_know() -> None:
    world = World()
    made = submission(post_processors=[job_pb2.POST_PROCESSOR_UPSCALE_2X])
    made.quote.facts.asked = True
    table = Table()
    table.attach("w1")
    generation = table.submit()
    generation.spec, generation.quote = made.spec.SerializeToString(), made.quote.SerializeToString()
    table.save()
    table.run_errands()
    lease = table.lease(generation.jobs[0])
    message = world.grants.assignment(Route(1, 5), lease, NOW, timedelta(minutes=20))
    assignment = message.worker.assignment
    assert assignment.storage_address == "storage:7701"
    assert assignment.lease_ttl.ToTimedelta() >= timedelta(seconds=60)
    verifier = Verifier({"s": world.signer.public_key()})
    at_the_end = NOW + timedelta(minutes=29, seconds=59)
    claims = verifier.verify(assignment.grant, "storage-router", "scheduler", at_the_end)
    assert claims["exp"] - claims["iat"] == 30 * 60
    assert (claims["act"], claims["job_id"], claims["lease_id"]) == ("upload_image", lease.job.job_id, lease.lease_id)
    assert (claims["width"], claims["height"], claims["placement"]) == (1024, 1024, "PRIVATE")
    assert claims["facts"] == {"anonymous": False, "asked": True, "has_input": False, "consent_text_version": ""}
    assert claims["owner"] == lease.owner
    assert output_size(made.spec.job.image) == (1024, 1024)


def test_a_receipt_counts_only_for_what_it_names() -> None:
    world = World()
    receipt = world.receipt("job", "lease", "worker")

    def outcome(text: str, job: str = "job", lease: str = "lease") -> worker_service_pb2.Outcome:
        painted = worker_service_pb2.Painted(receipt=text)
        return worker_service_pb2.Outcome(job_id=job, lease_id=lease, painted=painted)

    read = world.grants.read(outcome(receipt), world.clock.now())
    assert isinstance(read, Painted)
    assert (read.worker_id, read.size_bytes, read.sha256) == ("worker", 50_000, bytes(32))
    stranger = Signer("r", Ed25519PrivateKey.generate(), "storage-router")
    forged = stranger.sign("scheduler", {"act": "receipt"}, timedelta(days=1), world.clock.now())
    gateways = Signer("g", Ed25519PrivateKey.generate(), "gateway")
    grants = Grants(world.signer, Verifier({"g": gateways.public_key(), "r": world.router.public_key()}), "")
    said_by_another = gateways.sign("scheduler", {"act": "receipt"}, timedelta(days=1), world.clock.now())
    ticket = world.router.sign("scheduler", {"act": "get_image"}, timedelta(days=1), world.clock.now())
    later = world.clock.now() + timedelta(days=9)
    for bad, now in (
        (outcome(receipt, job="other"), world.clock.now()),
        (outcome(receipt, lease="other"), world.clock.now()),
        (outcome(forged), world.clock.now()),
        (outcome(said_by_another), world.clock.now()),
        (outcome(ticket), world.clock.now()),
        (outcome("nonsense"), world.clock.now()),
        (outcome(receipt), later),
    ):
        assert isinstance(grants.read(bad, now), Invalid)


def test_strangers_words_are_bounded() -> None:
    outcome = worker_service_pb2.Outcome(failed=worker_service_pb2.Failed(detail="x\0" * 1000))
    read = wire_worker.result_of(outcome)
    assert isinstance(read, Failed)
    assert len(read.detail) <= 500
    assert "\0" not in read.detail
    refused = worker_service_pb2.Outcome(refused=worker_service_pb2.Refused(reason=2))  # type: ignore[arg-type]
    assert wire_worker.result_of(refused) == Refused("REFUSAL_REASON_OUT_OF_MEMORY")
    many = worker_pb2.Capabilities(
        models=[worker_pb2.ModelOffer(name=str(index), image=worker_pb2.ImageOffer()) for index in range(10_000)]
    )
    assert len(wire_worker.capabilities_of(many).offers) == wire_worker.MAX_OFFERS


def test_a_page_of_quotes_has_its_placement() -> None:
    quote = generation_pb2.Quote(placement=job_pb2.PLACEMENT_SHARED)
    assert wire.placement_of(quote.SerializeToString()) == job_pb2.PLACEMENT_SHARED


@pytest.mark.parametrize(
    ("account", "digest"), [(ANNA, b""), (ANONYMOUS, bytes(range(32)))], ids=["known", "anonymous"]
)
def test_no_token_that_a_worker_is_given_says_who_asked_and_the_router_finds_the_input_by_it(
    account: AccountId, digest: bytes
) -> None:
    text = requester_text(account, digest)
    made = submission(source_image=job_pb2.InputImage(input_id="i", sha256=b"\1" * 32))
    table = Table()
    table.attach("w1")
    generation = table.submit(account=account, digest=digest)
    generation.spec, generation.quote = made.spec.SerializeToString(), made.quote.SerializeToString()
    table.save()
    table.run_errands()
    lease = table.lease(generation.jobs[0])
    world, found = World(), []
    for _ in range(2):
        assignment = world.grants.assignment(Route(1, 5), lease, NOW, timedelta(minutes=20)).worker.assignment
        tokens = [assignment.grant, *(input_.ticket for input_ in assignment.inputs)]
        claims = [json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")) for token in tokens]
        sealed = claims[1]["whose"]
        assert world.router.unseal(sealed, f"{lease.lease_id} i".encode()).decode() == keys.whose(text)
        for hidden in (text, account, digest.hex(), keys.whose(text)):
            assert not hidden or hidden == ANONYMOUS or hidden not in f"{claims} {assignment}"
        found.append(sealed)
    assert found[0] != found[1], "a worker could tell that both are of one requester"
