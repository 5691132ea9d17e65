"""Errors as `application/problem+json` (RFC 9457), with all that a status of the contract carries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import grpc
from starlette.responses import JSONResponse, Response

from horde.services.errors import ServiceError
from horde.services.status import MAX_VIOLATIONS, code_of

MEDIA_TYPE: Final = "application/problem+json"
STATUSES: Final[Mapping[grpc.StatusCode, int]] = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""Of the codes of gRPC, as `google.rpc.Code` has it; what is not here is 500."""
KEPT_BY_NOBODY: Final[Mapping[str, str]] = {"cache-control": "no-store"}
"""Where they are told nothing, caches on the way keep a 404 for minutes: of a picture that is only not there yet."""
TITLES: Final[Mapping[int, str]] = {499: "Client Closed Request"}


class HttpProblem(Exception):
    """A refusal that is HTTP's own, and no RPC's: a path that is none, a body that is too large."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def problem_of(error: ServiceError) -> dict[str, Any]:
    """An error as the members of a problem."""
    code = code_of(type(error))
    status = STATUSES.get(code, 500)
    problem: dict[str, Any] = {
        "type": f"/v1/docs/#{error.domain}.{error.reason}" if error.reason else "about:blank",
        "title": error.reason or _title(status),
        "status": status,
        "detail": error.message,
        "code": code.name,
    }
    if error.reason:
        problem |= {"reason": error.reason, "domain": error.domain, "metadata": error.metadata}
    if error.violations:
        problem["field_violations"] = [
            {"field": violation.field, "description": violation.description}
            for violation in error.violations[:MAX_VIOLATIONS]
        ]
    if error.retry_after is not None:
        problem["retry_delay"] = f"{error.retry_after.total_seconds():g}s"
    return problem


def refused(error: ServiceError) -> Response:
    """The answer to a call that failed."""
    problem = problem_of(error)
    headers = dict(KEPT_BY_NOBODY)
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after.total_seconds()))
    if problem["status"] == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(problem, problem["status"], headers, MEDIA_TYPE)


def refused_by_http(problem: HttpProblem) -> Response:
    """The answer to what is no call at all."""
    body = {
        "type": "about:blank",
        "title": _title(problem.status),
        "status": problem.status,
        "detail": problem.detail,
    }
    return JSONResponse(body, problem.status, {**KEPT_BY_NOBODY, **problem.headers}, MEDIA_TYPE)


def _title(status: int) -> str:
    return TITLES.get(status) or HTTPStatus(status).phrase
