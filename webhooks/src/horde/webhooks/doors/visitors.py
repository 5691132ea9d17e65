"""For whom a call is made: the gateway says it beside each call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from horde.internal.curation.v1 import visitor_pb2
from horde.services.errors import Unauthenticated

HEADER: Final = "mesh-visitor-bin"
ANONYMOUS: Final = "anonymous"


@dataclass(frozen=True, slots=True)
class Visiting:
    """Who calls."""

    account_id: str
    network: str
    """Tells networks apart; empty: not told."""


class CallContext(Protocol):
    """What is needed of a call's gRPC context."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """What came with the call."""


def visitor_of(context: CallContext) -> Visiting:
    """Whose call it is; raises Unauthenticated if the gateway did not say, or if it is nobody's account."""
    headers = [value for key, value in context.invocation_metadata() or () if key == HEADER]
    try:
        (value,) = headers
        assert isinstance(value, bytes)
        visitor = visitor_pb2.Visitor.FromString(value)
    except (ValueError, AssertionError, DecodeError):
        raise Unauthenticated("It was not said for whom this is asked.") from None
    account_id = visitor.requester.account_id
    if account_id in ("", ANONYMOUS):
        raise Unauthenticated("It was not said for whose account this is asked.")
    return Visiting(account_id, visitor.network_digest.hex())


def account_of(context: CallContext) -> str:
    """Whose account it is about."""
    return visitor_of(context).account_id
