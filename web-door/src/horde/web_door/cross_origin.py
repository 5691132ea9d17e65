"""Pages of other origins: browsers ask whether they may call here. Nothing goes by cookies: a key is all it takes."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ASKED = (
    "authorization",
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-type",
    "grpc-timeout",
    "idempotency-key",
    "if-none-match",
    "last-event-id",
    "range",
    "x-grpc-web",
    "x-user-agent",
)
TOLD = (
    "content-range",
    "etag",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "retry-after",
)


def cross_origin(origins: Sequence[str]) -> list[Middleware]:
    """What lets pages of these origins call; nothing where there are none."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=ASKED,
            expose_headers=TOLD,
            max_age=86_400,
        )
    ]
