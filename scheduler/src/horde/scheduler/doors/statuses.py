"""What a status of a neighbour means for us: it stands, or it is worth asking again."""

from __future__ import annotations

import grpc
from google.rpc import status_pb2

from horde.scheduler.core.answers import Again, Declined
from horde.services.status import from_status

REPEATABLE = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DATA_LOSS,
        # A neighbour that may not be called yet, for it knows another key of this run.
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    )
)
"""Codes that say nothing about the item."""
MESH = "mesh"


def declined(status: status_pb2.Status) -> Declined | Again:
    """Read an item's error."""
    error = from_status(status)
    full = status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0] and not error.reason
    if status.code in REPEATABLE or error.domain == MESH or full:
        return Again(f"{error.reason} {status.message}")
    return Declined(error.reason, status.message, status.SerializeToString())
