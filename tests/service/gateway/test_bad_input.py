"""This door's table of bad input: a typed error that names every wrong field, and nothing reaches a neighbour."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.job.v1 import job_pb2
from horde.api.model.v1 import model_service_pb2 as model_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as worker_service
from horde.services.errors import InvalidArgument, ResourceExhausted, ServiceError
from horde.testkit.gateway import Bench
from horde.testkit.loopback import fields_of

Spec = Callable[..., generation_pb2.GenerationSpec]
Credentials = list[tuple[str, str]]
Change = Callable[[generation_pb2.GenerationSpec], object]

INPUT = job_pb2.InputImage(input_id=str(uuid.UUID(int=9)), sha256=bytes(32))
IMAGE = "spec.job.image"


def image(**fields: Any) -> Change:
    """Set fields of the image."""

    def change(spec: generation_pb2.GenerationSpec) -> None:
        for name, value in fields.items():
            field = getattr(spec.job.image, name)
            if hasattr(field, "CopyFrom"):
                field.CopyFrom(value)
            elif hasattr(field, "extend"):
                field.extend(value)
            else:
                setattr(spec.job.image, name, value)

    return change


def whole(**fields: Any) -> Change:
    """Set fields of the generation."""

    def change(spec: generation_pb2.GenerationSpec) -> None:
        for name, value in fields.items():
            field = getattr(spec, name)
            if name in ("time_to_live", "keep_for"):
                field.seconds, field.nanos = value
            elif hasattr(field, "extend"):
                field.extend(value)
            else:
                setattr(spec, name, value)

    return change


SPECS: dict[str, tuple[Change, list[str]]] = {
    "nothing": (lambda spec: spec.Clear(), ["spec.job.model", "spec.job.kind", "spec.count"]),
    "no kind of work": (lambda spec: spec.job.ClearField("image"), ["spec.job.kind"]),
    "no model": (lambda spec: spec.job.ClearField("model"), ["spec.job.model"]),
    "a model that is a path": (lambda spec: setattr(spec.job, "model", "../x\n"), ["spec.job.model"]),
    "no prompt": (image(prompt=""), [f"{IMAGE}.prompt"]),
    "a blank prompt": (image(prompt=" \n\t"), [f"{IMAGE}.prompt"]),
    "a long prompt": (image(prompt="x" * 4_001), [f"{IMAGE}.prompt"]),
    "a prompt with a zero byte": (image(prompt="a\x00b"), [f"{IMAGE}.prompt"]),
    "a long negative prompt": (image(negative_prompt="x" * 4_001), [f"{IMAGE}.negative_prompt"]),
    "zero size": (image(width=0, height=0), [f"{IMAGE}.width", f"{IMAGE}.height"]),
    "negative size": (image(width=-512), [f"{IMAGE}.width"]),
    "huge size": (image(width=2**31 - 1, height=2**31 - 1), [f"{IMAGE}.width", f"{IMAGE}.height"]),
    "size that is no multiple of 8": (image(width=513), [f"{IMAGE}.width"]),
    "zero steps": (image(steps=0), [f"{IMAGE}.steps"]),
    "too many steps": (image(steps=501), [f"{IMAGE}.steps"]),
    "infinite guidance": (image(guidance_scale=float("inf")), [f"{IMAGE}.guidance_scale"]),
    "guidance that is not a number": (image(guidance_scale=float("nan")), [f"{IMAGE}.guidance_scale"]),
    "an unknown sampler": (image(sampler=99), [f"{IMAGE}.sampler"]),
    "a negative seed": (image(seed=-1), [f"{IMAGE}.seed"]),
    "too much clip skip": (image(clip_skip=13), [f"{IMAGE}.clip_skip"]),
    "too many LoRAs": (image(loras=[job_pb2.Lora(name="x", strength=1)] * 9), [f"{IMAGE}.loras"]),
    "bad LoRAs": (
        image(loras=[job_pb2.Lora(name="", strength=float("nan")), job_pb2.Lora(name="x", strength=6)]),
        [f"{IMAGE}.loras[0].name", f"{IMAGE}.loras[0].strength", f"{IMAGE}.loras[1].strength"],
    ),
    "a mask without a source": (image(mask=INPUT), [f"{IMAGE}.mask"]),
    "a bad input": (
        image(source_image=job_pb2.InputImage(input_id="NO", sha256=b"short")),
        [f"{IMAGE}.source_image.input_id", f"{IMAGE}.source_image.sha256"],
    ),
    "control without an image": (image(controls=[job_pb2.Control(type="canny")]), [f"{IMAGE}.controls[0].image"]),
    "strength without a source": (image(denoising_strength=0.5), [f"{IMAGE}.denoising_strength"]),
    "zero strength": (image(source_image=INPUT, denoising_strength=0), [f"{IMAGE}.denoising_strength"]),
    "strength that is not a number": (
        image(source_image=INPUT, denoising_strength=float("nan")),
        [f"{IMAGE}.denoising_strength"],
    ),
    "unknown post-processors": (
        image(post_processors=[1, 0, 99]),
        [f"{IMAGE}.post_processors[1]", f"{IMAGE}.post_processors[2]"],
    ),
    "too many post-processors": (image(post_processors=[3] * 5), [f"{IMAGE}.post_processors"]),
    "a picture that no grant could carry": (
        image(width=128, height=128, post_processors=[2] * 4),
        [f"{IMAGE}.post_processors"],
    ),
    "no images": (whole(count=0), ["spec.count"]),
    "too many images": (whole(count=21), ["spec.count"]),
    "negative images": (whole(count=-1), ["spec.count"]),
    "bad worker ids": (
        whole(denied_worker_ids=["x"], allowed_worker_ids=[str(uuid.UUID(int=3)).upper().replace("3", "A")]),
        ["spec.denied_worker_ids[0]", "spec.allowed_worker_ids[0]"],
    ),
    "a worker that is denied and allowed": (
        whole(denied_worker_ids=[str(uuid.UUID(int=3))], allowed_worker_ids=[str(uuid.UUID(int=3))]),
        ["spec.allowed_worker_ids[0]"],
    ),
    "too many worker ids": (whole(denied_worker_ids=[str(uuid.UUID(int=3))] * 33), ["spec.denied_worker_ids"]),
    "no time to live": (whole(time_to_live=(0, 0)), ["spec.time_to_live"]),
    "a day and a bit to live": (whole(time_to_live=(86_400, 1)), ["spec.time_to_live"]),
    "time that runs backwards": (whole(time_to_live=(2, -5)), ["spec.time_to_live"]),
    "kept too shortly": (whole(keep_for=(59, 999_999_999)), ["spec.keep_for"]),
    "kept too long": (whole(keep_for=(2**62, 0)), ["spec.keep_for"]),
    "everything at once": (
        lambda spec: [image(prompt="", width=1, steps=0, sampler=77)(spec), whole(count=0)(spec)],
        [f"{IMAGE}.prompt", f"{IMAGE}.width", f"{IMAGE}.steps", f"{IMAGE}.sampler", "spec.count"],
    ),
}


def untouched(mesh: Bench) -> bool:
    scheduler = mesh.scheduler
    return not (scheduler.submissions or scheduler.follows or mesh.storage.asked)


@pytest.mark.parametrize("name", SPECS)
async def test_a_bad_spec_is_refused_with_every_wrong_field(
    mesh: Bench, nobody: Credentials, spec: Spec, name: str
) -> None:
    change, fields = SPECS[name]
    bad = spec()
    change(bad)
    for call, request in (
        (mesh.generations.QuoteGeneration, pb.QuoteGenerationRequest(spec=bad)),
        (mesh.generations.CreateGeneration, pb.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=bad)),
    ):
        with pytest.raises(InvalidArgument) as caught:
            await call(request, metadata=nobody)
        assert (caught.value.domain, caught.value.reason) == ("horde.api.generation.v1", "INVALID_FIELD")
        assert fields_of(caught.value) == fields
    assert untouched(mesh)


ID = str(uuid.UUID(int=7))
CALLS: dict[str, tuple[str, str, Any, list[str]]] = {
    "creation without anything": (
        "generations",
        "CreateGeneration",
        pb.CreateGenerationRequest(),
        ["request_id", "spec"],
    ),
    "an id that is none": (
        "generations",
        "GetGeneration",
        pb.GetGenerationRequest(generation_id="7"),
        ["generation_id"],
    ),
    "an id in capitals": (
        "generations",
        "CancelGeneration",
        pb.CancelGenerationRequest(generation_id="AAAAAAAA-0000-4000-8000-000000000000"),
        ["generation_id"],
    ),
    "an id in braces": (
        "generations",
        "GetGeneration",
        pb.GetGenerationRequest(generation_id="{" + ID + "}"),
        ["generation_id"],
    ),
    "filters of nonsense": (
        "generations",
        "ListGenerations",
        pb.ListGenerationsRequest(
            read_mask=FieldMask(paths=["finished", "images.download", "fox", ""]),
            model="../x",
            placement=99,  # type: ignore[arg-type]
            accepted_after=Timestamp(nanos=-1),
            accepted_before=Timestamp(seconds=2**40),
            request_id_prefix="x" * 37,
            ending=99,  # type: ignore[arg-type]
        ),
        [
            "read_mask.paths[1]",
            "read_mask.paths[2]",
            "read_mask.paths[3]",
            "model",
            "placement",
            "ending",
            "request_id_prefix",
            "accepted_after",
            "accepted_before",
        ],
    ),
    "filters of nonsense beside a shared key": (
        "generations",
        "ListGenerations",
        pb.ListGenerationsRequest(shared_key_id=ID, model="../x"),
        ["model"],
    ),
    "a mask of everything": (
        "generations",
        "GetGeneration",
        pb.GetGenerationRequest(generation_id=ID, read_mask=FieldMask(paths=["finished"] * 101)),
        ["read_mask"],
    ),
    "a page before the first": (
        "generations",
        "ListGenerations",
        pb.ListGenerationsRequest(page_size=-1),
        ["page_size"],
    ),
    "a long page token": (
        "generations",
        "ListGenerations",
        pb.ListGenerationsRequest(page_token="x" * 513),
        ["page_token"],
    ),
    "to withdraw nothing": (
        "generations",
        "WithdrawImages",
        pb.WithdrawImagesRequest(generation_id=ID),
        ["job_ids"],
    ),
    "to withdraw too much": (
        "generations",
        "WithdrawImages",
        pb.WithdrawImagesRequest(generation_id="x", job_ids=["y"] + [ID] * 100),
        ["job_ids", "job_ids[0]", "generation_id"],
    ),
    "an input without an id": ("generations", "CreateInputTicket", pb.CreateInputTicketRequest(), ["input_id"]),
    "an account without a name": (
        "accounts",
        "CreateAccount",
        account_pb2.CreateAccountRequest(request_id="1", api_key="a" * 22),
        ["request_id", "display_name", "api_key"],
    ),
    "a name with line ends": (
        "accounts",
        "CreateAccount",
        account_pb2.CreateAccountRequest(request_id=ID, display_name="a\nb"),
        ["display_name", "api_key"],
    ),
    "a key without scopes": (
        "accounts",
        "CreateApiKey",
        account_pb2.CreateApiKeyRequest(label="x" * 65),
        ["request_id", "label", "scopes", "api_key"],
    ),
    "a key with unknown scopes": (
        "accounts",
        "CreateApiKey",
        account_pb2.CreateApiKeyRequest(request_id=ID, scopes=[0, 9]),  # type: ignore[list-item]
        ["scopes[0]", "scopes[1]", "api_key"],
    ),
    "a gift of nothing to nobody": (
        "accounts",
        "GiftKudos",
        account_pb2.GiftKudosRequest(),
        ["request_id", "to_account_id", "amount_mkudos"],
    ),
    "a negative gift": (
        "accounts",
        "GiftKudos",
        account_pb2.GiftKudosRequest(request_id=ID, to_account_id=ID, amount_mkudos=-5),
        ["amount_mkudos"],
    ),
    "a gift of everything there could be": (
        "accounts",
        "GiftKudos",
        account_pb2.GiftKudosRequest(request_id=ID, to_account_id=ID, amount_mkudos=2**63 - 1),
        ["amount_mkudos"],
    ),
    "an award without a reason": (
        "accounts",
        "AwardKudos",
        account_pb2.AwardKudosRequest(request_id=ID, account_id=ID, amount_mkudos=1),
        ["reason"],
    ),
    "a role that is none, and no reason": (
        "accounts",
        "SetRoles",
        account_pb2.SetRolesRequest(account_id="x", roles=[0, 1, 99]),  # type: ignore[list-item]
        ["account_id", "roles[0]", "roles[2]", "reason"],
    ),
    "accounts of nonsense": (
        "accounts",
        "ListAccounts",
        account_pb2.ListAccountsRequest(
            page_size=-1,
            page_token="MQ==",
            role=99,  # type: ignore[arg-type]
            name_contains="x" * 65,
            account_id="x",
        ),
        ["page_size", "role", "name_contains", "account_id", "page_token"],
    ),
    "an audit from before the beginning": (
        "accounts",
        "AuditLedger",
        account_pb2.AuditLedgerRequest(from_block=-1),
        ["from_block"],
    ),
    "a worker that is none": ("workers", "GetWorker", worker_service.GetWorkerRequest(), ["worker_id"]),
    "to pause what is no worker": (
        "workers",
        "SetWorkerPaused",
        worker_service.SetWorkerPausedRequest(worker_id="x"),
        ["worker_id"],
    ),
    "to change what nobody may of a worker": (
        "workers",
        "UpdateWorker",
        worker_service.UpdateWorkerRequest(
            worker=worker_pb2.Worker(worker_id="x", description="x" * 1001), update_mask=FieldMask(paths=["name"])
        ),
        ["worker.worker_id", "update_mask", "worker.description"],
    ),
    "workers of nonsense": (
        "workers",
        "ListWorkers",
        worker_service.ListWorkersRequest(page_size=-1, model="\n", state=99, name_contains="x" * 65),  # type: ignore[arg-type]
        ["page_size", "model", "state", "name_contains"],
    ),
    "models of nonsense": (
        "models",
        "ListModels",
        model_pb2.ListModelsRequest(page_size=-1, name_contains="\n", kind=99),  # type: ignore[arg-type]
        ["page_size", "name_contains", "kind"],
    ),
    "a page of models that was not given out": (
        "models",
        "ListModels",
        model_pb2.ListModelsRequest(page_token="!"),
        ["page_token"],
    ),
    "fewer than no workers": ("workers", "ListWorkers", worker_service.ListWorkersRequest(page_size=-1), ["page_size"]),
    "fewer than no models": ("models", "ListModels", model_pb2.ListModelsRequest(page_size=-1), ["page_size"]),
    "a model without a name": ("models", "GetModel", model_pb2.GetModelRequest(), ["name"]),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_bad_request_is_refused_with_every_wrong_field(mesh: Bench, name: str) -> None:
    service, method, request, fields = CALLS[name]
    events = len(mesh.ledger.events)
    with pytest.raises(InvalidArgument) as caught:
        await getattr(getattr(mesh, service), method)(request, metadata=mesh.operator)
    assert caught.value.reason == "INVALID_FIELD"
    assert fields_of(caught.value) == fields
    assert untouched(mesh)
    assert all(event.HasField("open_account") for event in mesh.ledger.events[events:])


async def test_an_oversized_message_is_refused_and_others_are_served(
    mesh: Bench, nobody: Credentials, spec: Spec
) -> None:
    with pytest.raises(ResourceExhausted):
        await mesh.generations.QuoteGeneration(
            pb.QuoteGenerationRequest(spec=spec(image={"prompt": "x" * (4 * 1024 * 1024)})), metadata=nobody
        )
    await mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=spec()), metadata=nobody)
    assert untouched(mesh)


@pytest.mark.parametrize("junk", [b"\xff" * 50, b"\x0a\xff\xff\xff\x7f", b"\x0b" * 200])
async def test_bytes_that_are_no_message_are_refused(mesh: Bench, nobody: Credentials, junk: bytes) -> None:
    call: Any = mesh.channel.unary_unary("/horde.api.generation.v1.GenerationService/CreateGeneration")
    with pytest.raises(ServiceError):
        await call(junk, metadata=nobody)
    assert untouched(mesh)


async def test_large_metadata_is_refused(mesh: Bench, nobody: Credentials, spec: Spec) -> None:
    heavy = [*nobody, ("x-heavy", "x" * 100_000)]
    with pytest.raises(ServiceError):
        await mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=spec()), metadata=heavy)
    await mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=spec()), metadata=nobody)
