"""ModerationService on the wire, but for the prompt filters, which are the gateway's own."""

from __future__ import annotations

from horde.api.moderation.v1.moderation_service_pb2_grpc import ModerationServiceServicer


class ModerationServicer(ModerationServiceServicer):
    """Decode, call, encode."""
