"""For whom a call is made: the gateway says it beside each call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from horde.internal.curation.v1 import visitor_pb2
from horde.services.errors import Unauthenticated

HEADER: Final = "mesh-visitor-bin"
ANONYMOUS: Final = "anonymous"


class CallContext(Protocol):
    """What is needed of a call's gRPC context."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """What came with the call."""


def account_of(context: CallContext) -> str:
    """Whose call it is; raises Unauthenticated if the gateway did not say, or if it is nobody's account."""
    told = [value for key, value in context.invocation_metadata() or () if key == HEADER]
    try:
        (value,) = told
        assert isinstance(value, bytes)
        account_id = visitor_pb2.Visitor.FromString(value).requester.account_id
    except (ValueError, AssertionError, DecodeError):
        raise Unauthenticated("It was not said for whom this is asked.") from None
    if account_id in ("", ANONYMOUS):
        raise Unauthenticated("It was not said for whose account this is asked.")
    return account_id
