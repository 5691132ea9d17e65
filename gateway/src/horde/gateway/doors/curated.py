"""Public services that curation and webhooks answer: the gateway sees who calls, whether they may and how often, and
passes the call on as it came.

What comes back is an answer of this door: its refusals are those of the public contract.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from horde.api.generation.v1.generation_service_pb2_grpc import GenerationServiceServicer, GenerationServiceStub
from horde.api.moderation.v1.moderation_service_pb2_grpc import ModerationServiceServicer, ModerationServiceStub
from horde.api.rating.v1.rating_service_pb2_grpc import RatingServiceServicer, RatingServiceStub
from horde.api.release.v1.data_release_service_pb2_grpc import DataReleaseServiceServicer, DataReleaseServiceStub
from horde.api.webhook.v1.webhook_service_pb2_grpc import WebhookServiceServicer, WebhookServiceStub
from horde.gateway.core.errors import AccountRequired
from horde.gateway.core.requesters import Principal, Role, Scope
from horde.gateway.doors import wire
from horde.gateway.doors.calling import CallContext
from horde.gateway.doors.reception import Reception
from horde.gateway.neighbours.refusals import told_outward
from horde.internal.curation.v1 import visitor_pb2
from horde.services.addresses import caller_bucket
from horde.services.clock import Clock

S = TypeVar("S")

HEADER: Final = "mesh-visitor-bin"
NETWORK_DIGEST_BYTES: Final = 2
"""Of four, the network could be found again by trying all there are."""

Admit = Callable[[Reception, CallContext], Awaitable[Principal]]
"""Lets a call in, or raises why not."""


async def reporter(reception: Reception, context: CallContext) -> Principal:
    """Who has any credential, anonymous too, and has not reported too much of late."""
    principal = await reception.anybody(context)
    await reception.count_report(principal, context)
    return principal


async def requester(reception: Reception, context: CallContext) -> Principal:
    """Who may ask for images, anonymous too; not who came with a shared key: what its account shares is not theirs."""
    principal = await reception.requester(context)
    if principal.shared_key_id:
        raise AccountRequired
    return principal


async def account(reception: Reception, context: CallContext) -> Principal:
    """Who has an account."""
    return await reception.account(context)


async def moderator(reception: Reception, context: CallContext) -> Principal:
    """Who may decide about images."""
    return await reception.account(context, Scope.MANAGE, Role.MODERATOR)


async def manager(reception: Reception, context: CallContext) -> Principal:
    """Who manages his account."""
    return await reception.account(context, Scope.MANAGE)


async def operator(reception: Reception, context: CallContext) -> Principal:
    """Who may make data releases."""
    return await reception.account(context, Scope.MANAGE, Role.OPERATOR)


MODERATION: Final[Mapping[str, Admit]] = {
    "ReportImage": reporter,
    "ListCases": moderator,
    "GetCase": moderator,
    "DecideCase": moderator,
}
"""The prompt filters of the same service are the gateway's own."""
SHARED: Final[Mapping[str, Admit]] = {
    "ListSharedImages": requester,
    "WithdrawAllShared": requester,
}
"""Of GenerationService: what is about all that somebody ever shared, which no other service remembers."""
RATING: Final[Mapping[str, Admit]] = {
    "GetNextImage": account,
    "RateImage": account,
    "ListRatings": account,
    "GetRatingStanding": account,
}
RELEASES: Final[Mapping[str, Admit]] = {
    "CreateDataRelease": operator,
    "CancelDataRelease": operator,
    "GetDataRelease": account,
    "ListDataReleases": account,
    "ListReleaseFiles": account,
    "ListReleaseRemovals": account,
}


WEBHOOKS: Final[Mapping[str, Admit]] = {
    "CreateWebhook": manager,
    "ListWebhooks": manager,
    "UpdateWebhook": manager,
    "DeleteWebhook": manager,
    "TestWebhook": manager,
    "ListDeliveries": manager,
    "RetryDelivery": manager,
}


class Curated:
    """Passes calls on."""

    def __init__(self, reception: Reception, channel: Any, webhooks: Any, clock: Clock) -> None:
        self._reception = reception
        self._clock = clock
        self._stubs: Mapping[str, Any] = {
            "shared": GenerationServiceStub(channel),
            "moderation": ModerationServiceStub(channel),
            "rating": RatingServiceStub(channel),
            "releases": DataReleaseServiceStub(channel),
            "webhooks": WebhookServiceStub(webhooks),
        }

    def moderation(self, filters: ModerationServiceServicer) -> ModerationServiceServicer:
        """The servicer of the prompt filters, with all else of its service passed on."""
        return self._relayed(filters, "moderation", MODERATION)

    def shared(self, generations: GenerationServiceServicer) -> GenerationServiceServicer:
        """The servicer of generations, with what is about all shared images passed on."""
        return self._relayed(generations, "shared", SHARED)

    def rating(self) -> RatingServiceServicer:
        """All of RatingService, passed on."""
        return self._relayed(RatingServiceServicer(), "rating", RATING)  # type: ignore[abstract]

    def releases(self) -> DataReleaseServiceServicer:
        """All of DataReleaseService, passed on."""
        return self._relayed(DataReleaseServiceServicer(), "releases", RELEASES)  # type: ignore[abstract]

    def webhooks(self) -> WebhookServiceServicer:
        """All of WebhookService, passed on."""
        return self._relayed(WebhookServiceServicer(), "webhooks", WEBHOOKS)  # type: ignore[abstract]

    def _relayed(self, servicer: S, service: str, methods: Mapping[str, Admit]) -> S:
        for name, admit in methods.items():
            setattr(servicer, name, self._passing(getattr(self._stubs[service], name), admit))
        return servicer

    def _passing(self, ask: Any, admit: Admit) -> Callable[[Any, Any], Awaitable[Any]]:
        async def passed(request: Any, context: Any) -> Any:
            principal = await admit(self._reception, context)
            visitor = self._visitor(principal, caller_bucket(context))
            with told_outward():
                return await ask(request, metadata=((HEADER, visitor.SerializeToString()),))

        return passed

    def _visitor(self, principal: Principal, network: str) -> visitor_pb2.Visitor:
        digest = hashlib.sha256(f"{self._clock.now():%Y-%m-%d} {network}".encode()).digest()
        requester = wire.requester_message(principal.requester)
        requester.shared_key_id = principal.shared_key_id
        return visitor_pb2.Visitor(
            requester=requester,
            roles=[wire.ROLES[role] for role in sorted(principal.roles, key=lambda role: role.value)],
            network_digest=digest[:NETWORK_DIGEST_BYTES] if network else b"",
        )
