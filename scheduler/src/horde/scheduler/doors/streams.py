"""The two long streams: one task listens, the generator speaks, and both end together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.doors.follow import Follower

if TYPE_CHECKING:
    from horde.scheduler.doors.reading import Reading
    from horde.scheduler.engine import Engine


async def relay(engine: Engine, requests: AsyncIterator[pb.RelayRequest]) -> AsyncIterator[pb.RelayResponse]:
    """A gateway's relay, from its hello to its end."""
    mine = engine.relays.open()
    listener = _Listener(lambda: engine.relays.listen(mine, requests), mine.close)
    try:
        yield pb.RelayResponse(relay_welcome=pb.RelayWelcome(epoch=engine.board.epoch))
        async for batch in mine.batches():
            yield batch
        listener.check()
    finally:
        engine.relays.lost(mine)
        await listener.stop()


async def follow(
    engine: Engine, reading: Reading, requests: AsyncIterator[pb.FollowRequest]
) -> AsyncIterator[pb.FollowResponse]:
    """A gateway's wishes, and what comes of them."""
    mine = Follower()
    engine.followers.open(mine)

    async def listen() -> None:
        async for request in requests:
            await reading.follow(mine, request)

    listener = _Listener(listen, mine.close)
    try:
        async for batch in mine.batches():
            yield batch
        listener.check()
    finally:
        engine.followers.drop(mine)
        await listener.stop()


class _Listener:
    """The task that reads what the other side says; when it ends, however it does, the speaking ends too."""

    def __init__(self, listen: Callable[[], Awaitable[None]], ended: Callable[[], None]) -> None:
        self._error: Exception | None = None
        self._listen = listen
        self._ended = ended
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._listen()
        except Exception as error:  # noqa: BLE001 - raised again by the one who speaks
            self._error = error
        finally:
            self._ended()

    def check(self) -> None:
        """Raise what ended the listening."""
        if self._error is not None:
            raise self._error

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
