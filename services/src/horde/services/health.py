"""Health, for orchestrators and proxies: whether a service, and the whole (""), takes calls.

gRPC's own servicer writes to a watcher under the lock that every change needs: there one who does not read holds up all
others, and the stop of the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthServicer

from horde.services.addresses import caller_bucket, caller_peer
from horde.services.errors import NotFound, ResourceExhausted
from horde.services.shares import Pot, Taker

SERVICE: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
MAX_WATCHERS: Final = 1_000
"""Anybody may watch, without end."""
_SHARES: Final = {"connection": 1 / 128, "address": 0.5}
_SURELY: Final = 8
"""What one connection, or one network, may have whatever its share, while there is room: a balancer watches the whole
and perhaps each service."""
_Status = health_pb2.HealthCheckResponse
_messages: Any = health_pb2  # Its type hints do not know List.


class Health(HealthServicer):
    """Says how services are. Use it on one loop."""

    def __init__(self) -> None:
        self._status: dict[str, Any] = {}
        self._changed = asyncio.Event()
        self._seats = Pot(MAX_WATCHERS, _SHARES, _full, least=_SURELY)
        self._stopped = False

    def set(self, serving: bool, services: Iterable[str]) -> None:
        """Say that these take calls, or that they do not."""
        if not self._stopped:
            self._status.update(dict.fromkeys(services, _Status.SERVING if serving else _Status.NOT_SERVING))
            self._tell()

    def stop(self) -> None:
        """Say that nothing takes calls any more, whatever is said later, and end all watches."""
        self.set(False, tuple(self._status))
        self._stopped = True

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> _Status:
        """How it is now; NOT_FOUND where there is no such service."""
        status = self._status.get(request.service)
        if status is None:
            raise NotFound("There is no such service here.")
        return _Status(status=status)

    async def List(self, request: Any, context: Any) -> Any:
        """How each of them is now."""
        return _messages.HealthListResponse(
            statuses={service: _Status(status=status) for service, status in self._status.items()}
        )

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> AsyncIterator[_Status]:
        """How it is now, and whenever that changes, until the process stops."""
        with self._seats.tab(
            Taker((("connection", caller_peer(context)), ("address", caller_bucket(context))))
        ) as seat:
            seat.take(1)
            said = None
            while True:
                # Read together, before the answer is written: what comes meanwhile, the stop above all, is told next.
                changed, stopped = self._changed, self._stopped
                status = self._status.get(request.service, _Status.SERVICE_UNKNOWN)
                if status != said:
                    said = status
                    yield _Status(status=status)
                if stopped:
                    return
                await changed.wait()


def _full(kind: str) -> ResourceExhausted:
    who = {"": "Too many", "connection": "Too many of this connection", "address": "Too many of this network"}[kind]
    return ResourceExhausted(f"{who} watch the health of this process.")
