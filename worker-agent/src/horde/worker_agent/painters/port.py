"""The port of painters: who turns a `Picture` into image bytes.

A painter never sees a lease, a grant or a stream. It says what it can do and how much of it at once, takes on more and
says when it begins with each, tells each step, makes a preview only when somebody wants one, and stops within one step
when told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from horde.worker_agent.core.jobs import (
    Cancelled,
    Capabilities,
    Censored,
    Deviation,
    Failed,
    InputId,
    Making,
    Picture,
    Refused,
)
from horde.worker_agent.painters.models import ModelSource

MAX_PREVIEW_BYTES = 32 * 1024
"""The contract's limit."""


class CannotLoad(Exception):
    """A painter is not able to begin; the message says why."""


class Onlooker(Protocol):
    """Who is told how a picture comes along. Called on the event loop; cheap."""

    def begun(self) -> None:
        """It waits no longer: its model is loaded if need be, and it is painted."""

    def stepped(self, step: int) -> None:
        """So many steps are done, counted from 1 to the picture's `steps`."""

    def wants_preview(self) -> bool:
        """Whether a preview would be sent now."""

    def previewed(self, step: int, image: bytes) -> None:
        """A JPEG, PNG or WebP of at most MAX_PREVIEW_BYTES."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A picture is painted: encoded, of exactly the size asked for."""

    image: bytes
    deviations: tuple[Deviation, ...] = ()
    making: Making | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A liar's word that a picture was painted and uploaded. Only the scripted painter says it, on command."""

    receipt: str


Work = Finished | Claimed | Refused | Failed | Censored | Cancelled


@dataclass(frozen=True, slots=True)
class Drying:
    """A picture is painted and still being encoded; the painter is free for the next."""

    work: Awaitable[Work]


class Painter(Protocol):
    """Somebody who paints."""

    @property
    def places(self) -> int:
        """How many pictures are painted at once. More may be given; they wait their turn."""

    def capabilities(self) -> Capabilities:
        """What it can do now."""

    async def paint(
        self, picture: Picture, inputs: Mapping[InputId, bytes], onlooker: Onlooker, cancelled: asyncio.Event
    ) -> Work | Drying:
        """Paint one picture. Once `cancelled` is set it ends within one step, with Cancelled. It raises nothing.

        Before it has begun, its task may simply be cancelled."""

    def serve(self, models: Sequence[ModelSource]) -> None:
        """Paint with these models from now on. What is being painted with another is finished."""

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call this, on the event loop, whenever the capabilities may have changed by themselves."""

    async def close(self) -> None:
        """Give back what it holds; what is being painted is lost."""
