"""RatingService on the wire."""

from __future__ import annotations

from horde.api.rating.v1.rating_service_pb2_grpc import RatingServiceServicer


class RatingServicer(RatingServiceServicer):
    """Decode, call, encode."""
