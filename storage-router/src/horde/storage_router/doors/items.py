"""Calls that carry many items: each is carried out by itself, a bounded number at a time, and answers for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from horde.services import telemetry
from horde.services.errors import Internal, ServiceError

log = telemetry.get_logger(__name__)

T = TypeVar("T")
R = TypeVar("R")


class Items:
    """At most `concurrency` items at a time, over all calls."""

    def __init__(self, concurrency: int) -> None:
        self._turns = asyncio.Semaphore(concurrency)

    async def each(
        self, items: Sequence[T | ServiceError], carry_out: Callable[[T], Awaitable[R]]
    ) -> Sequence[R | ServiceError]:
        """The outcomes, in order. An item that is an error already answers with it; one that fails harms no other."""

        async def one(item: T | ServiceError) -> R | ServiceError:
            if isinstance(item, ServiceError):
                return item
            async with self._turns:
                try:
                    return await carry_out(item)
                except ServiceError as error:
                    return error
                except Exception:
                    # One bad item must not harm the others.
                    log.exception("an item failed", kind=type(item).__name__)
                    return Internal("Something is broken here.")

        return await asyncio.gather(*map(one, items))
