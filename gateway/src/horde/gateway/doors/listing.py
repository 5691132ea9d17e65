"""Lists of generations: filters, and a mask of what is to be shown."""

from __future__ import annotations

from google.protobuf.field_mask_pb2 import FieldMask

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as service_pb2
from horde.api.job.v1 import job_pb2
from horde.gateway.core.errors import InvalidField
from horde.gateway.core.requesters import Principal
from horde.gateway.core.validation import Violations
from horde.gateway.doors import wire
from horde.gateway.neighbours.refusals import told_outward
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.errors import FieldViolation, InvalidArgument

MAX_PAGE = 100
DEFAULT_PAGE = 20
MAX_PAGE_BYTES = 3 * 1024 * 1024
MAX_MASK_PATHS = 100


async def list_generations(
    scheduler: SchedulerClient, principal: Principal, request: service_pb2.ListGenerationsRequest
) -> service_pb2.ListGenerationsResponse:
    """A page of the requester's generations, newest first; raises InvalidField with everything that is wrong."""
    wrong = Violations()
    question = scheduler_pb2.ListGenerationsRequest(
        requester=wire.requester_message(principal.requester),
        page_size=wrong.page(request.page_size, request.page_token, MAX_PAGE) or DEFAULT_PAGE,
        page_token=request.page_token,
        filters=request,
    )
    check_mask(wrong, request.read_mask)
    check_filters(wrong, request)
    if wrong.found:
        raise InvalidField(violations=wrong.found)
    answer = await _ask(scheduler, question)
    while answer.ByteSize() > MAX_PAGE_BYTES and question.page_size > 1:
        # A page may be shorter than was asked for; it must not be more than a message holds.
        question.page_size //= 2
        answer = await _ask(scheduler, question)
    return service_pb2.ListGenerationsResponse(
        generations=[known.generation for known in answer.generations], next_page_token=answer.next_page_token
    )


def check_mask(wrong: Violations, mask: FieldMask) -> None:
    """Whether each path leads to a field of a generation."""
    if len(mask.paths) > MAX_MASK_PATHS:
        wrong.add("read_mask", f"must have at most {MAX_MASK_PATHS} paths, and has {len(mask.paths)}")
    for index, path in enumerate(mask.paths[:MAX_MASK_PATHS]):
        if not FieldMask(paths=[path]).IsValidForDescriptor(generation_pb2.Generation.DESCRIPTOR):
            wrong.add(f"read_mask.paths[{index}]", "is not a field of Generation")


def masked(generation: generation_pb2.Generation, mask: FieldMask) -> generation_pb2.Generation:
    """What the mask names of a generation; everything without one."""
    if not mask.paths:
        return generation
    shown = generation_pb2.Generation()
    mask.MergeMessage(generation, shown)
    return shown


def masked_page(page: service_pb2.ListGenerationsResponse, mask: FieldMask) -> service_pb2.ListGenerationsResponse:
    """What the mask names of each generation of a page."""
    shown = [masked(generation, mask) for generation in page.generations]
    return service_pb2.ListGenerationsResponse(generations=shown, next_page_token=page.next_page_token)


def check_filters(wrong: Violations, request: service_pb2.ListGenerationsRequest) -> None:
    """Whether each filter can be one."""
    wrong.name("model", request.model, required=False)
    wrong.known("placement", request.placement, job_pb2.Placement.values())
    wrong.known("ending", request.ending, job_pb2.JobEnding.values())
    wrong.part("request_id_prefix", request.request_id_prefix, 36)
    for name in ("accepted_after", "accepted_before"):
        at = getattr(request, name)
        wrong.moment(name, at.seconds, at.nanos)


async def _ask(
    scheduler: SchedulerClient, question: scheduler_pb2.ListGenerationsRequest
) -> scheduler_pb2.ListGenerationsResponse:
    with told_outward():
        try:
            return await scheduler.list_generations(question)
        except InvalidArgument as error:
            # All else in the question was checked, or is ours: it can only be the token.
            raise InvalidField(violations=[bad_page_token()]) from error


def bad_page_token() -> FieldViolation:
    """What is said of a page token that was not given out."""
    return FieldViolation("page_token", "is not one that was given out")
