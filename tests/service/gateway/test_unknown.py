"""What this door does with what it does not know: `mesh.proto` has the rule, per kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor

from horde.api.account.v1 import account_service_pb2
from horde.api.generation.v1 import generation_pb2, generation_service_pb2
from horde.api.job.v1 import job_pb2
from horde.api.model.v1 import model_service_pb2
from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.services.errors import InvalidArgument
from horde.services.unknown_fields import UnknownField, refuse_unknown_fields
from horde.testkit.gateway import Bench
from horde.testkit.loopback import assert_raises_reason, fields_of

Spec = Callable[..., generation_pb2.GenerationSpec]
Credentials = list[tuple[str, str]]

NEWER = bytes([0xFA, 0xFF, 0x3F, 1, 0])
"""One byte in field 131,071, which nothing here has."""
SERVICES = (account_service_pb2, generation_service_pb2, model_service_pb2, worker_service_pb2)


def methods() -> Iterator[MethodDescriptor]:
    """Every method of this door that is asked once."""
    for module in SERVICES:
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from (method for method in service.methods if not method.client_streaming)


@pytest.mark.parametrize("method", list(methods()), ids=lambda method: method.name)
async def test_a_field_that_is_newer_is_refused_by_every_method(mesh: Bench, anna: Credentials, method: Any) -> None:
    name = f"/{method.containing_service.full_name}/{method.name}"
    channel: Any = mesh.channel
    with assert_raises_reason(InvalidArgument, "UNKNOWN_FIELD") as caught:
        if method.server_streaming:
            async for _ in channel.unary_stream(name)(NEWER, metadata=anna):
                pass
        else:
            await channel.unary_unary(name)(NEWER, metadata=anna)
    assert fields_of(caught.value) == ["#131071"]


@pytest.mark.parametrize("rpc", ["QuoteGeneration", "CreateGeneration"])
async def test_a_picture_is_never_asked_for_in_part(mesh: Bench, anna: Credentials, spec: Spec, rpc: str) -> None:
    newer = job_pb2.JobSpec(model="paintbox")
    newer.image.MergeFromString(spec().job.image.SerializeToString() + NEWER)
    lora = newer.image.loras.add(name="ink", strength=1)
    lora.MergeFromString(NEWER)
    asked = spec()
    asked.job.CopyFrom(newer)
    request = getattr(generation_service_pb2, f"{rpc}Request")(spec=asked)
    with assert_raises_reason(InvalidArgument, "UNKNOWN_FIELD") as caught:
        await getattr(mesh.generations, rpc)(request, metadata=anna)
    assert fields_of(caught.value) == ["spec.job.image.#131071", "spec.job.image.loras[0].#131071"]
    assert not mesh.scheduler.submissions


async def test_a_newer_kind_of_work_is_refused(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    asked = spec()
    asked.job.ClearField("kind")
    asked.job.MergeFromString(NEWER)
    with assert_raises_reason(InvalidArgument, "UNKNOWN_FIELD") as caught:
        await mesh.generations.QuoteGeneration(generation_service_pb2.QuoteGenerationRequest(spec=asked), metadata=anna)
    assert fields_of(caught.value) == ["spec.job.#131071"]


async def test_a_hello_that_is_newer_is_refused_and_what_comes_later_is_not(mesh: Bench, anna: Credentials) -> None:
    hello = worker_service_pb2.Hello(worker_name="rig", agent="t")
    hello.capabilities.MergeFromString(NEWER)
    call = mesh.workers.Attach(metadata=anna)
    await call.write(worker_service_pb2.AttachRequest(hello=hello))
    with assert_raises_reason(InvalidArgument, "UNKNOWN_FIELD") as caught:
        await call.read()
    assert fields_of(caught.value) == ["hello.capabilities.#131071"]


def test_every_field_that_is_not_known_is_named_once_and_not_without_end() -> None:
    offers = worker_pb2.Capabilities(models=[worker_pb2.ModelOffer(name=str(n)) for n in range(40)])
    for offer in offers.models:
        offer.MergeFromString(NEWER + NEWER)
    with pytest.raises(UnknownField) as caught:
        refuse_unknown_fields(offers, "hello")
    assert fields_of(caught.value) == [f"hello.models[{n}].#131071" for n in range(32)]
