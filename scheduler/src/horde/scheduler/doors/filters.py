"""Which generations and which workers a list is to hold. The gateway has checked the filters."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1.generation_service_pb2 import ListGenerationsRequest
from horde.api.worker.v1.worker_service_pb2 import ListWorkersRequest
from horde.scheduler.core.fleet import Worker
from horde.scheduler.doors import wire_worker

Place = tuple[int, str]
"""Of a generation in its requester's list, newest first: when it was accepted, in ms, and its id."""


def wanted_generation(filters: ListGenerationsRequest) -> Callable[[generation_pb2.Generation], bool]:
    """Whether a generation holds to all filters but those of time (`begin`, `end`) and shared keys (the gateway's)."""

    def wanted(generation: generation_pb2.Generation) -> bool:
        return (
            (not filters.HasField("finished") or generation.finished == filters.finished)
            and (not filters.model or generation.spec.job.model == filters.model)
            and (not filters.placement or generation.quote.placement == filters.placement)
            and generation.request_id.startswith(filters.request_id_prefix)
            and (not filters.ending or any(image.ending == filters.ending for image in generation.images))
        )

    return wanted


def wanted_at_all(filters: ListGenerationsRequest) -> Callable[[generation_pb2.Generation], bool]:
    """Whether a generation holds to all filters, those of time too."""
    wanted, oldest, newest = wanted_generation(filters), end(filters), begin(filters, None)

    def at_all(generation: generation_pb2.Generation) -> bool:
        accepted = generation.accepted_at.ToMilliseconds()
        return oldest <= accepted and (newest is None or accepted < newest[0]) and wanted(generation)

    return at_all


def begin(filters: ListGenerationsRequest, place: Place | None) -> Place | None:
    """The place behind which a list begins; None: with the newest."""
    if not filters.HasField("accepted_before"):
        return place
    # No id comes before the empty one: what was accepted in that very millisecond is not before it.
    before = (_milliseconds(filters.accepted_before), "")
    return before if place is None else min(place, before)


def end(filters: ListGenerationsRequest) -> int:
    """Older than this, in ms, and nothing more is wanted."""
    return _milliseconds(filters.accepted_after) if filters.HasField("accepted_after") else -(2**63)


def narrow(filters: ListGenerationsRequest) -> bool:
    """Whether there are filters that a page of the store may fail."""
    named = {field.name for field, _ in filters.ListFields()}
    return bool(named - {"accepted_before", "accepted_after", "page_size", "page_token", "read_mask"})


def wanted_worker(filters: ListWorkersRequest) -> Callable[[Worker], bool]:
    """Whether a worker holds to all filters."""
    part = filters.name_contains.casefold()

    def wanted(worker: Worker) -> bool:
        return (
            (not filters.model or filters.model in worker.capabilities.offers)
            and (not filters.state or wire_worker.state_of(worker) == filters.state)
            and part in worker.name.casefold()
        )

    return wanted


def _milliseconds(moment: Timestamp) -> int:
    """The first whole millisecond that is not before the moment: generations are accepted in whole ones."""
    return moment.seconds * 1000 - (-moment.nanos // 1_000_000)
