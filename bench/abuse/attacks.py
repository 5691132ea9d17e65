"""All attacks on a whole mesh, by name, in the order in which they are run. The router has more: `storage_router`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from attacker import Attacker
from bad_requesters import dear_anonymous_requests, queue_stuffing, silent_inputs
from bad_workers import (
    bad_checksums,
    black_pictures,
    cancelling_strangers,
    censoring_strangers,
    failing_strangers,
    garbage_previews,
    refusing_strangers,
    slow_leases,
)
from floods import idle_sessions, idle_watches, rapid_resets, tiny_calls


async def nothing(attacker: Attacker) -> None:
    """Nothing: what is printed for it is the noise of the measurement."""
    await asyncio.Event().wait()


ATTACKS: dict[str, Callable[[Attacker], Awaitable[None]]] = {
    attack.__name__: attack
    for attack in (
        nothing,
        refusing_strangers,
        cancelling_strangers,
        failing_strangers,
        censoring_strangers,
        black_pictures,
        slow_leases,
        bad_checksums,
        garbage_previews,
        silent_inputs,
        dear_anonymous_requests,
        queue_stuffing,
        idle_sessions,
        idle_watches,
        tiny_calls,
        rapid_resets,
    )
}
