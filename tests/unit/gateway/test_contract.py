"""That this service and the contract say the same: enums, reasons, bounds."""

from __future__ import annotations

import inspect

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from horde.api.account.v1 import account_service_pb2
from horde.api.generation.v1 import generation_pb2, generation_service_pb2
from horde.api.job.v1 import job_pb2
from horde.api.model.v1 import model_service_pb2
from horde.api.worker.v1 import worker_service_pb2
from horde.gateway.core import errors
from horde.gateway.core.placement import Placement, PlacementNotice
from horde.gateway.core.pricing import MultiplierReason, SurchargeReason
from horde.gateway.core.requesters import Role, Scope
from horde.gateway.core.spec import ADDON_SOURCES, INVERSION_PLACES, NoiseSchedule, PostProcessor, ResizeMode, Sampler
from horde.gateway.doors import wire
from horde.services.errors import ServiceError

OTHERS = {
    # Said by the scheduler, and passed on as they are.
    "horde.api.generation.v1": {"REQUEST_CONFLICT", "TOO_MANY_GENERATIONS", "IMAGE_NOT_FINISHED", "REFUSED_BEFORE"},
}
ENUMS: dict[str, EnumTypeWrapper] = {
    "horde.api.account.v1": account_service_pb2.AccountErrorReason,  # type: ignore[dict-item]
    "horde.api.generation.v1": generation_service_pb2.GenerationErrorReason,  # type: ignore[dict-item]
    "horde.api.worker.v1": worker_service_pb2.WorkerErrorReason,  # type: ignore[dict-item]
    "horde.api.model.v1": model_service_pb2.ModelErrorReason,  # type: ignore[dict-item]
}


def names(enum: object, prefix: str) -> dict[str, int]:
    wrapper: EnumTypeWrapper = enum  # type: ignore[assignment]
    return {name.removeprefix(prefix): number for name, number in wrapper.items() if number}


def test_every_reason_of_the_contract_is_an_error_here_or_comes_from_a_neighbour() -> None:
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, ServiceError)]
    ours = {(class_.domain, class_.reason) for class_ in classes if class_.reason}
    for domain, enum in ENUMS.items():
        prefix = domain.split(".")[2].upper() + "_ERROR_REASON_"
        listed = set(names(enum, prefix))
        assert {reason for known, reason in ours if known == domain} == listed - OTHERS.get(domain, set())


def test_every_error_says_something() -> None:
    for _, each in inspect.getmembers(errors, inspect.isclass):
        if issubclass(each, ServiceError) and each.__module__ == errors.__name__:
            assert each.__doc__


def test_samplers_and_post_processors_are_those_of_the_contract() -> None:
    assert {noise_schedule.name: int(noise_schedule) for noise_schedule in NoiseSchedule if noise_schedule} == names(
        job_pb2.NoiseSchedule, "NOISE_SCHEDULE_"
    )
    assert {resize_mode.name: int(resize_mode) for resize_mode in ResizeMode if resize_mode} == names(
        job_pb2.ResizeMode, "RESIZE_MODE_"
    )
    assert set(job_pb2.AddonSource.values()) == ADDON_SOURCES
    assert set(job_pb2.TextualInversionPlace.values()) == INVERSION_PLACES
    samplers = names(job_pb2.Sampler, "SAMPLER_")
    assert {sampler.name: int(sampler) for sampler in Sampler if sampler} == samplers
    assert {post_processor.name: int(post_processor) for post_processor in PostProcessor} == names(
        job_pb2.PostProcessor, "POST_PROCESSOR_"
    )


def test_every_value_has_its_place_on_the_wire() -> None:
    assert {placement.value for placement in Placement} == set(names(job_pb2.Placement, "PLACEMENT_"))
    assert set(wire.PLACEMENTS) == set(Placement)
    assert {surcharge_reason.value for surcharge_reason in SurchargeReason} == set(
        names(job_pb2.SurchargeReason, "SURCHARGE_REASON_")
    )
    assert set(wire.SURCHARGES) == set(SurchargeReason)
    assert {multiplier_reason.value for multiplier_reason in MultiplierReason} == set(
        names(job_pb2.MultiplierReason, "MULTIPLIER_REASON_")
    )
    assert set(wire.MULTIPLIERS) == set(MultiplierReason)
    assert {placement_notice.value for placement_notice in PlacementNotice} <= set(
        names(generation_pb2.NoticeCode, "NOTICE_CODE_")
    )
    assert set(wire.NOTICES) == set(PlacementNotice)
    assert {role.value for role in Role} == set(names(account_service_pb2.AccountRole, "ACCOUNT_ROLE_"))
    assert set(wire.ROLES) == set(Role)
    assert {scope.value for scope in Scope} == set(names(account_service_pb2.ApiKeyScope, "API_KEY_SCOPE_"))
    assert set(wire.SCOPES) == set(Scope)


def test_every_field_of_an_image_is_read() -> None:
    from dataclasses import fields

    from horde.gateway.core.spec import ImageSpec

    listed = {field.name for field in job_pb2.ImageSpec.DESCRIPTOR.fields}
    assert {field.name for field in fields(ImageSpec)} == listed
