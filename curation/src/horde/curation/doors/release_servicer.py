"""DataReleaseService on the wire."""

from __future__ import annotations

from horde.api.release.v1.data_release_service_pb2_grpc import DataReleaseServiceServicer


class DataReleaseServicer(DataReleaseServiceServicer):
    """Decode, call, encode."""
