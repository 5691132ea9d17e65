"""What a caller is told who is refused: AI Horde's codes, and the mesh's reasons in terms of them.

Programs decide on the status, on `rc`, and the most common worker on words of `message`; so words of some messages are
a part of the interface.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from horde.services import errors as kinds
from horde.services.errors import ServiceError

ACCOUNT = "horde.api.account.v1"
GENERATION = "horde.api.generation.v1"
LEDGER = "horde.api.ledger.v1"
MODEL = "horde.api.model.v1"
STANDING = "horde.api.standing.v1"
STORAGE = "horde.api.storage.v1"
WORKER = "horde.api.worker.v1"


@dataclass
class Refusal(Exception):
    """The answer to a call that is refused."""

    status: int
    rc: str
    message: str
    errors: Mapping[str, str] = field(default_factory=dict)
    """Of a body that breaks a limit: what is wrong, by field. Some clients raise when it is there at all."""
    retry_seconds: int = 0

    def body(self) -> dict[str, object]:
        """The answer's body."""
        body: dict[str, object] = {"message": self.message, "rc": self.rc}
        if self.errors:
            body["errors"] = dict(self.errors)
        return body


BY_REASON: Mapping[tuple[str, str], tuple[int, str]] = {
    (ACCOUNT, "CREDENTIALS_MISSING"): (401, "InvalidAPIKey"),
    (ACCOUNT, "CREDENTIALS_MALFORMED"): (401, "InvalidAPIKey"),
    (ACCOUNT, "API_KEY_UNKNOWN"): (401, "InvalidAPIKey"),
    (ACCOUNT, "PASS_UNKNOWN"): (404, "RequestNotFound"),
    (ACCOUNT, "SCOPE_MISSING"): (403, "NotAllowed"),
    (ACCOUNT, "ROLE_MISSING"): (403, "NotPrivileged"),
    (ACCOUNT, "ACCOUNT_REQUIRED"): (403, "AnonForbidden"),
    (ACCOUNT, "ACCOUNT_NOT_FOUND"): (404, "UserNotFound"),
    (ACCOUNT, "REQUEST_CONFLICT"): (409, "IdempotencyKeyConflict"),
    (ACCOUNT, "TOO_MANY_API_KEYS"): (403, "TooManySharedKeys"),
    (ACCOUNT, "SHARED_KEY_NOT_FOUND"): (404, "SharedKeyNotFound"),
    (ACCOUNT, "SHARED_KEY_EXPIRED"): (403, "SharedKeyExpired"),
    (ACCOUNT, "SHARED_KEY_BUDGET_SPENT"): (403, "SharedKeyInsufficientKudos"),
    (ACCOUNT, "SHARED_KEY_BOUND"): (403, "SharedKeyInsufficientKudos"),
    (GENERATION, "GENERATION_NOT_FOUND"): (404, "RequestNotFound"),
    (GENERATION, "TOO_MANY_GENERATIONS"): (429, "TooManyPrompts"),
    (GENERATION, "RATE_LIMITED"): (429, "TooManyPrompts"),
    (GENERATION, "MODEL_UNKNOWN"): (400, "NoValidWorkers"),
    (GENERATION, "PROMPT_REFUSED"): (400, "CorruptPrompt"),
    (GENERATION, "INPUT_UNUSABLE"): (400, "ImageValidationFailed"),
    (LEDGER, "INSUFFICIENT_KUDOS"): (403, "KudosUpfront"),
    (LEDGER, "BUDGET_SPENT"): (403, "KudosUpfront"),
    (LEDGER, "SELF_GIFT"): (400, "KudosTransferToSelf"),
    (LEDGER, "LIMIT_REACHED"): (400, "KudosTransferNotEnough"),
    (LEDGER, "EVENT_CONFLICT"): (409, "IdempotencyKeyConflict"),
    (MODEL, "MODEL_NOT_FOUND"): (404, "ModelNotFound"),
    (STANDING, "RESTRICTED"): (403, "TimeoutIP"),
    (STORAGE, "NOT_AN_IMAGE"): (400, "ImageValidationFailed"),
    (STORAGE, "TOO_LARGE"): (400, "SourceImageSizeExceeded"),
    (STORAGE, "INPUTS_FULL"): (429, "TooManyPrompts"),
    (STORAGE, "SHARE_EXCEEDED"): (429, "TooManyPrompts"),
    (STORAGE, "OBJECT_NOT_FOUND"): (404, "ImageNotFound"),
    (WORKER, "WORKER_NOT_FOUND"): (404, "WorkerNotFound"),
    (WORKER, "WORKER_BUSY"): (423, "Locked"),
    (WORKER, "TOO_MANY_SESSIONS"): (403, "TooManyWorkers"),
}
BY_KIND: tuple[tuple[type[ServiceError], tuple[int, str]], ...] = (
    (kinds.InvalidArgument, (400, "BadRequest")),
    (kinds.Unauthenticated, (401, "InvalidAPIKey")),
    (kinds.PermissionDenied, (403, "NotAllowed")),
    (kinds.NotFound, (404, "NotFound")),
    (kinds.AlreadyExists, (409, "Conflict")),
    (kinds.FailedPrecondition, (400, "BadRequest")),
    (kinds.ResourceExhausted, (429, "TooManyPrompts")),
    (kinds.Unimplemented, (501, "NotImplemented")),
    (kinds.DeadlineExceeded, (504, "Timeout")),
    (kinds.Unavailable, (503, "Unavailable")),
    (kinds.Aborted, (503, "Unavailable")),
)
SAYS: Mapping[str, str] = {
    "InvalidAPIKey": "No user matching sent API Key.",
    "RequestNotFound": "Request with this id not found.",
}
"""Where the mesh's own words would mislead somebody who knows AI Horde's interface."""


def refusal_of(error: ServiceError, names: Mapping[str, str] | None = None) -> Refusal:
    """What a caller is told of an error; `names` are paths of the contract's fields and how the caller calls them."""
    status, rc = BY_REASON.get((error.domain, error.reason)) or next(
        (answer for kind, answer in BY_KIND if isinstance(error, kind)), (500, "InternalError")
    )
    message = SAYS.get(rc) or (error.message if status < 500 else "The horde cannot answer this now.")
    if error.reason == "MODEL_UNKNOWN" and (near := error.metadata.get("did_you_mean")):
        message = f"{message} Did you mean {near}?"
    wrong = {named(violation.field, names or {}): violation.description for violation in error.violations}
    if wrong:
        message = f"{message} ({'; '.join(f'{name}: {what}' for name, what in wrong.items())})"
    retry = 0 if error.retry_after is None else math.ceil(error.retry_after.total_seconds())
    return Refusal(status, rc, message, wrong, retry)


def named(path: str, names: Mapping[str, str]) -> str:
    """What the caller calls a field: the longest prefix of its path that has a name."""
    known = [prefix for prefix in names if path == prefix or path.startswith((f"{prefix}.", f"{prefix}["))]
    if not known:
        return path
    longest = max(known, key=len)
    return names[longest] + path[len(longest) :]
