"""The kit for tests of services: time that stands still, ids that can be known, a server at the end of a short wire."""

from __future__ import annotations

import asyncio
import heapq
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from grpc import aio

from horde.services.channel import dial
from horde.services.errors import ServiceError
from horde.services.identity import AllowList, Credentials, SharedKey
from horde.services.server import Registration, Server, serving
from horde.testkit.waiting import HANG

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(order=True)
class _Due:
    at: float
    order: int
    callback: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """A clock that moves only when told; whatever falls due on the way happens in order, at its own time."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._order = 0
        self._due: list[_Due] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    @property
    def waiting(self) -> int:
        """How many timers and sleepers there are."""
        return sum(not due.cancelled for due in self._due)

    def waits_for(self, seconds: float) -> bool:
        """Whether a timer or sleeper falls due in so many seconds, give or take a millisecond."""
        at = self._elapsed + seconds
        return any(not due.cancelled and abs(due.at - at) < 0.001 for due in self._due)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> _Due:
        self._order += 1
        due = _Due(self._elapsed + max(0.0, seconds), self._order, callback)
        heapq.heappush(self._due, due)
        return due

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due = self.call_later(seconds, lambda: None if woken.done() else woken.set_result(None))
        try:
            await woken
        finally:
            due.cancel()

    def jump(self, seconds: float) -> None:
        """Move time and call what falls due, without letting tasks run in between."""
        end = self._elapsed + seconds
        while self._due and self._due[0].at <= end:
            due = heapq.heappop(self._due)
            self._elapsed = max(self._elapsed, due.at)
            if not due.cancelled:
                due.callback()
        self._elapsed = end

    async def advance(self, seconds: float) -> None:
        """Move time; after each thing that falls due, tasks run until they wait again."""
        end = self._elapsed + seconds
        await settle()
        while self._due and self._due[0].at <= end:
            self.jump(self._due[0].at - self._elapsed)
            await settle()
        self._elapsed = end


async def settle(rounds: int = 20) -> None:
    """Let tasks run until they wait, as far as they wait for each other alone."""
    for _ in range(rounds):
        await asyncio.sleep(0)


class SequentialIds:
    """Ids that count: 00000000-0000-4000-8000-000000000001, …"""

    def __init__(self) -> None:
        self._count = 0

    def new(self) -> UUID:
        self._count += 1
        return UUID(int=(4 << 76) | (8 << 60) | self._count)


@dataclass(frozen=True, slots=True)
class Loopback:
    """A running server, and a channel to it as the caller that was asked for."""

    server: Server
    channel: aio.Channel
    target: str
    key: bytes

    @asynccontextmanager
    async def dial(self, caller: str | None, **options: Any) -> AsyncIterator[aio.Channel]:
        """Another channel, as somebody else; None is nobody."""
        credentials = None if caller is None else Credentials.from_key(caller, self.key)
        async with dial(self.target, caller=credentials, **{"timeout": HANG, **options}) as channel:
            yield channel


@asynccontextmanager
async def loopback(
    services: Sequence[Registration],
    *,
    caller: str | None = "tester",
    allow: AllowList | None = None,
    errors: Iterable[type[ServiceError]] = (),
    **options: Any,
) -> AsyncIterator[Loopback]:
    """Serve on a free port of this machine and dial it. Without `allow` the caller may call everything."""
    key = secrets.token_bytes(32)
    allow = allow or AllowList({f"/{service.name}/*": {caller or "*"} for service in services})
    options = {"grace": timedelta(seconds=1), **options}
    async with serving(
        "127.0.0.1:0", services, name="loopback", allow=allow, identity=SharedKey(key), **options
    ) as server:
        target = f"127.0.0.1:{server.port}"
        credentials = None if caller is None else Credentials.from_key(caller, key)
        async with dial(target, caller=credentials, errors=errors, timeout=HANG) as channel:
            yield Loopback(server, channel, target, key)


@contextmanager
def assert_raises_reason(
    kind: type[ServiceError], reason: str = "", metadata: Mapping[str, str] | None = None
) -> Iterator[pytest.ExceptionInfo[ServiceError]]:
    """The block must raise this kind, with this reason and at least this metadata."""
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.reason == reason
    assert (metadata or {}).items() <= caught.value.metadata.items()


def fields_of(error: ServiceError) -> list[str]:
    """The names of the fields that an error complains about."""
    return [violation.field for violation in error.violations]
