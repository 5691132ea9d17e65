"""What the neighbours' refusals mean to somebody outside.

A refusal that the contract of this door names passes as it is. One that speaks of the mesh's inside (a queue that is
full, a leader that was replaced, a request that this gateway got wrong) becomes a bare status code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from horde.gateway.core.errors import ACCOUNT, GENERATION, WORKER, Defect, NeighbourUnavailable, Overloaded
from horde.services.errors import (
    Aborted,
    Cancelled,
    DeadlineExceeded,
    ResourceExhausted,
    ServiceError,
    Unavailable,
    Unimplemented,
)

LEDGER = "horde.api.ledger.v1"
STORAGE = "horde.api.storage.v1"
TOLD = frozenset(
    {
        (GENERATION, "GENERATION_NOT_FINISHED"),
        (GENERATION, "GENERATION_NOT_FOUND"),
        (GENERATION, "IMAGE_NOT_FINISHED"),
        (GENERATION, "IMAGE_NOT_FOUND"),
        (GENERATION, "REQUEST_CONFLICT"),
        (GENERATION, "REFUSED_BEFORE"),
        (GENERATION, "TOO_MANY_GENERATIONS"),
        (LEDGER, "BUDGET_SPENT"),
        (LEDGER, "EVENT_CONFLICT"),
        (LEDGER, "INSUFFICIENT_KUDOS"),
        (LEDGER, "LIMIT_REACHED"),
        (LEDGER, "SELF_GIFT"),
        (STORAGE, "INPUT_IN_USE"),
        (WORKER, "SESSION_SUPERSEDED"),
        (WORKER, "TOO_MANY_SESSIONS"),
        (WORKER, "PROTOCOL_VIOLATION"),
        (WORKER, "INVALID_FIELD"),
        (WORKER, "WORKER_BUSY"),
        (WORKER, "WORKER_NOT_FOUND"),
        (ACCOUNT, "ACCOUNT_NOT_FOUND"),
        (ACCOUNT, "API_KEY_UNKNOWN"),
    }
)
PASSED_ON = frozenset(
    {"horde.api.moderation.v1", "horde.api.rating.v1", "horde.api.release.v1", "horde.api.webhook.v1"}
)
"""Services of this door that curation and webhooks answer: whatever it says in their words is for outside."""
RETRY = (Unavailable, Aborted, Cancelled, DeadlineExceeded)


def outward(error: ServiceError) -> ServiceError:
    """The same refusal, as it may be told outside."""
    if not error.remote or error.domain in PASSED_ON or (error.domain, error.reason) in TOLD:
        return error
    if isinstance(error, Unimplemented):
        # A neighbour that is older than this gateway: services are replaced one by one.
        return Unimplemented()
    if isinstance(error, RETRY):
        return NeighbourUnavailable()
    if isinstance(error, ResourceExhausted):
        return Overloaded.by("queue", retry_after=error.retry_after)
    return Defect()


@contextmanager
def told_outward() -> Iterator[None]:
    """Around a call to a neighbour: what it raises, as it may be told."""
    try:
        yield
    except ServiceError as error:
        refusal = outward(error)
        if refusal is error:
            raise
        raise refusal from error
