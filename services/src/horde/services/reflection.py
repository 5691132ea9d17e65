"""Reflection, in both of its versions: older tools ask `v1alpha`, newer ones `v1`. The messages are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1 = "grpc.reflection.v1.ServerReflection"
SERVICES = (V1, reflection.SERVICE_NAME)


def add_reflection(server: Any, services: Sequence[str]) -> None:
    """Let anybody ask which of these services, methods and messages there are."""
    method = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer([*services, *SERVICES]).ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for service in SERVICES:
        server.add_registered_method_handlers(service, {"ServerReflectionInfo": method})
