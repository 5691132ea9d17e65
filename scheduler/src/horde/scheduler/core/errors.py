"""What the scheduler refuses, each with its reason in the contract."""

from __future__ import annotations

from typing import ClassVar

from horde.services.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
    Unavailable,
)

SCHEDULER = "horde.internal.scheduler.v1"
GENERATION = "horde.api.generation.v1"
WORKER = "horde.api.worker.v1"
ACCOUNT = "horde.api.account.v1"


class QueueFull(ResourceExhausted):
    """Too many jobs wait already."""

    domain: ClassVar[str] = SCHEDULER
    reason: ClassVar[str] = "QUEUE_FULL"


class InvalidField(InvalidArgument):
    """The gateway sent something that it should have refused."""

    domain: ClassVar[str] = SCHEDULER
    reason: ClassVar[str] = "INVALID_FIELD"


class ProtocolViolation(FailedPrecondition):
    """The messages of this stream are out of order."""

    domain: ClassVar[str] = SCHEDULER
    reason: ClassVar[str] = "PROTOCOL_VIOLATION"


class NotLeader(Unavailable):
    """This scheduler was replaced by another."""

    domain: ClassVar[str] = SCHEDULER
    reason: ClassVar[str] = "NOT_LEADER"


class RequestConflict(AlreadyExists):
    """This request_id was used for something else."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "REQUEST_CONFLICT"


class GenerationNotFound(NotFound):
    """There is no such generation of this requester."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "GENERATION_NOT_FOUND"


class RefusedBefore(Aborted):
    """This request_id was used before, and what it stood for is forgotten. Use a new one."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "REFUSED_BEFORE"


class TooManyGenerations(ResourceExhausted):
    """Too many generations of this requester have not ended."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "TOO_MANY_GENERATIONS"


class GenerationNotFinished(FailedPrecondition):
    """Only a generation that has ended can be deleted. Cancel it first."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "GENERATION_NOT_FINISHED"


class ImageNotFound(NotFound):
    """The generation has no such image."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "IMAGE_NOT_FOUND"


class ImageNotFinished(FailedPrecondition):
    """Only a finished image can be withdrawn."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "IMAGE_NOT_FINISHED"


class WorkerNotFound(NotFound):
    """There is no such worker."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "WORKER_NOT_FOUND"


class WorkerBusy(FailedPrecondition):
    """The worker is here, or holds leases."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "WORKER_BUSY"


class HelloExpected(FailedPrecondition):
    """A session begins with hello."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "HELLO_EXPECTED"


class WorkerInvalidField(InvalidArgument):
    """The worker said something that cannot be."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "INVALID_FIELD"


class WorkerProtocolViolation(FailedPrecondition):
    """The worker's messages are out of order."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "PROTOCOL_VIOLATION"


class SessionSuperseded(Aborted):
    """A newer session of this worker is open."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "SESSION_SUPERSEDED"


class TooManySessions(ResourceExhausted):
    """Too many workers are attached."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "TOO_MANY_SESSIONS"


class ApiKeyUnknown(Unauthenticated):
    """There is no such API key any more: its account has ended."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "API_KEY_UNKNOWN"


WORKER_ERRORS: dict[str, type[ServiceError]] = {
    error.reason: error
    for error in (
        HelloExpected,
        WorkerInvalidField,
        WorkerProtocolViolation,
        SessionSuperseded,
        TooManySessions,
        WorkerNotFound,
        ApiKeyUnknown,
    )
}
"""What can end a worker's stream."""
