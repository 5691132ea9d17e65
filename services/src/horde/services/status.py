"""Errors to statuses and back: the only place where a kind of failure meets a gRPC code.

What is raised on one side of the wire is what comes out on the other: the class where the caller named it in
`errors`, else its kind with `domain`, `reason` and `metadata` set. Statuses are also plain messages, one per item, in
batched calls; so both directions are cheap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from horde.services import errors as kinds
from horde.services.errors import FieldViolation, ServiceError

DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
MAX_VIOLATIONS = 32
"""How many field violations one status carries: trailers are small."""
MAX_DETAIL_BYTES = 6 * 1024
"""How large a status may be as a trailer; what is over loses its violations first."""

CODES: dict[type[ServiceError], grpc.StatusCode] = {
    kinds.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    kinds.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    kinds.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    kinds.NotFound: grpc.StatusCode.NOT_FOUND,
    kinds.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    kinds.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    kinds.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    kinds.Aborted: grpc.StatusCode.ABORTED,
    kinds.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    kinds.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    kinds.Unavailable: grpc.StatusCode.UNAVAILABLE,
    kinds.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    kinds.Cancelled: grpc.StatusCode.CANCELLED,
    kinds.DataLoss: grpc.StatusCode.DATA_LOSS,
    kinds.Internal: grpc.StatusCode.INTERNAL,
    kinds.Unknown: grpc.StatusCode.UNKNOWN,
}
KINDS: dict[int, type[ServiceError]] = {code.value[0]: kind for kind, code in CODES.items()}

_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_BAD = "type.googleapis.com/google.rpc.BadRequest"
_RETRY = "type.googleapis.com/google.rpc.RetryInfo"

Errors = Iterable[type[ServiceError]]


def code_of(error: type[ServiceError]) -> grpc.StatusCode:
    """The code of an error's kind; `UNKNOWN` for a class that has none."""
    return next((CODES[cls] for cls in error.__mro__ if cls in CODES), grpc.StatusCode.UNKNOWN)


@lru_cache(maxsize=256)
def index(errors: tuple[type[ServiceError], ...]) -> Mapping[tuple[str, str], type[ServiceError]]:
    """The classes by what names them on the wire."""
    return {(error.domain, error.reason): error for error in errors if error.reason}


def to_status(error: ServiceError) -> status_pb2.Status:
    """Say an error as a message: its code, its words, and as details its reason, violations and when to retry."""
    status = status_pb2.Status(code=code_of(type(error)).value[0], message=error.message)
    if error.reason or error.metadata:
        info = error_details_pb2.ErrorInfo(reason=error.reason, domain=error.domain, metadata=error.metadata)
        status.details.add(type_url=_INFO, value=info.SerializeToString())
    if error.violations:
        bad = error_details_pb2.BadRequest()
        for violation in error.violations[:MAX_VIOLATIONS]:
            bad.field_violations.add(field=violation.field, description=violation.description)
        status.details.add(type_url=_BAD, value=bad.SerializeToString())
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(error.retry_after)
        status.details.add(type_url=_RETRY, value=retry.SerializeToString())
    return status


def from_status(status: status_pb2.Status, errors: Errors = ()) -> ServiceError:
    """Rebuild the error that a status says."""
    domain = reason = ""
    metadata: dict[str, str] = {}
    violations: list[FieldViolation] = []
    retry_after: timedelta | None = None
    for detail in status.details:
        if detail.type_url == _INFO:
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            domain, reason, metadata = info.domain, info.reason, dict(info.metadata)
        elif detail.type_url == _BAD:
            bad = error_details_pb2.BadRequest.FromString(detail.value)
            violations += [
                FieldViolation(field_violation.field, field_violation.description)
                for field_violation in bad.field_violations
            ]
        elif detail.type_url == _RETRY:
            retry_after = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay.ToTimedelta()
    known = index(errors if isinstance(errors, tuple) else tuple(errors)).get((domain, reason))
    kind = known or KINDS.get(status.code, kinds.Unknown)
    error = kind(status.message, metadata=metadata, violations=violations, retry_after=retry_after)
    error.remote = True
    if known is None and (domain or reason):
        # Not a class that the caller knows: the kind, and the names on the instance.
        vars(error).update(domain=domain, reason=reason)
    return error


def from_rpc_error(error: grpc.RpcError, errors: Errors = ()) -> ServiceError:
    """Rebuild the error that ended a call; one that gRPC made itself becomes its kind."""
    call: Any = error
    for key, value in call.trailing_metadata() or ():
        if key == DETAILS_KEY:
            try:
                return from_status(status_pb2.Status.FromString(value), errors)
            except Exception:  # noqa: BLE001 - a stranger's details may be anything: the code still counts
                break
    kind = KINDS.get(call.code().value[0], kinds.Unknown)
    rebuilt = kind(call.details() or None)
    rebuilt.remote = True
    return rebuilt


def to_abort(error: ServiceError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes | str], ...]]:
    """What `context.abort` takes to end a call with this error."""
    code = code_of(type(error))
    if not (error.reason or error.metadata or error.violations or error.retry_after is not None):
        return code, error.message, ()
    status = to_status(error)
    if status.ByteSize() > MAX_DETAIL_BYTES:
        kept = [detail for detail in status.details if detail.type_url != _BAD]
        status = status_pb2.Status(code=status.code, message=status.message[:1024], details=kept)
    trailers: tuple[tuple[str, bytes | str], ...] = ((DETAILS_KEY, status.SerializeToString()),)
    if error.retry_after is not None:
        # What gRPC's own retries heed.
        trailers = (*trailers, (PUSHBACK_KEY, str(int(error.retry_after.total_seconds() * 1000))))
    return code, error.message[:1024], trailers
