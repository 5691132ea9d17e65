"""For whom a call is made: the gateway says it beside each call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.curation.core.visitors import ANONYMOUS, Role, Visitor
from horde.internal.curation.v1 import visitor_pb2
from horde.services.errors import Unauthenticated

HEADER: Final = "mesh-visitor-bin"
ROLES: Final[dict[int, Role]] = {
    account_pb2.ACCOUNT_ROLE_MODERATOR: Role.MODERATOR,
    account_pb2.ACCOUNT_ROLE_OPERATOR: Role.OPERATOR,
}


class CallContext(Protocol):
    """What is needed of a call's gRPC context."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """What came with the call."""


def visitor_of(context: CallContext) -> Visitor:
    """Who calls; raises Unauthenticated if the gateway did not say."""
    headers = [value for key, value in context.invocation_metadata() or () if key == HEADER]
    if len(headers) != 1 or not isinstance(headers[0], bytes):
        raise Unauthenticated("It was not said for whom this is asked.")
    try:
        message = visitor_pb2.Visitor.FromString(headers[0])
    except DecodeError:
        raise Unauthenticated("It cannot be read for whom this is asked.") from None
    asker = message.requester
    if not asker.account_id:
        raise Unauthenticated("It was not said for whom this is asked.")
    anonymous = asker.account_id == ANONYMOUS
    identity = f"{ANONYMOUS}:{asker.anonymous_digest.hex()}" if anonymous else asker.account_id
    # A role that is not known here permits nothing.
    roles = frozenset(ROLES[number] for number in message.roles if number in ROLES)
    return Visitor(asker.account_id, identity, asker.shared_key_id, roles, message.network_digest.hex())
