"""One run of a worker, as its owner asks and commands it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from importlib import metadata
from typing import Any

import psutil

from horde.services.clock import Clock
from horde.worker_agent.agent import Agent
from horde.worker_agent.control import NotUnderstood
from horde.worker_agent.core.status import ModelStatus, State, Status
from horde.worker_agent.core.wording import mark
from horde.worker_agent.guest import Guest
from horde.worker_agent.painters.port import Painter
from horde.worker_agent.settings import WorkerSettings


class Run:
    """From the first line of the log to the last."""

    def __init__(self, settings: WorkerSettings, clock: Clock, told_to_stop: asyncio.Future[Any]) -> None:
        self.clock = clock
        self._settings = settings
        self._began = clock.monotonic()
        self._stopped = asyncio.Event()
        self._agent: Agent | None = None
        self._guest: Guest | None = None
        self._painter: Painter | None = None
        self.stopping: asyncio.Future[object] = asyncio.ensure_future(self._until_either(told_to_stop))

    def begin(self, agent: Agent, guest: Guest, painter: Painter) -> None:
        """The models are loaded; from now on there is something to tell."""
        self._agent, self._guest, self._painter = agent, guest, painter

    def pause(self, minutes: float | None) -> None:
        if self._guest is None:
            raise NotUnderstood("it is still loading its models; `horde worker stop` ends it")
        self._guest.pause(None if minutes is None else 60 * minutes)

    def resume(self) -> None:
        if self._guest is not None:
            self._guest.resume()

    def stop(self) -> None:
        self._stopped.set()

    def status(self) -> dict[str, Any]:
        return asdict(self._status())

    def _status(self) -> Status:
        seconds = self.clock.monotonic() - self._began
        named = (self._settings.name, agent_version(), self._settings.gateway, seconds)
        free = psutil.virtual_memory().available >> 20
        if self._agent is None or self._guest is None or self._painter is None:
            models = self._settings.models or "the model that comes along"
            return Status(*named, "loading", (f"{models} is loaded and paints a first picture",), free_mib=free)
        agent, tally = self._agent, self._agent.tally
        state, why = self._state(agent, self._guest)
        return Status(
            *named,
            state,
            why,
            agent.jobs(),
            tuple(
                ModelStatus(model.name, model.loaded, model.max_pixels, model.max_batch)
                for model in self._painter.capabilities().models
            ),
            tuple(f"{name}: {why}" for name, why in sorted(getattr(self._painter, "problems", {}).items())),
            tally.accepted,
            tally.unpaid,
            agent.owed,
            tally.earned,
            tally.escrow,
            dict(agent.faults),
            self._guest.celsius,
            free,
        )

    def _state(self, agent: Agent, guest: Guest) -> tuple[State, tuple[str, ...]]:
        if self._stopped.is_set() or self.stopping.done():
            return "leaving", ()
        away = () if agent.attached else (mark("the gateway cannot be reached; it is tried again and again"),)
        if not agent.idle:
            return "painting", away
        if away:
            return "away", away
        if guest.why is not None:
            return "paused", (guest.why,)
        return "idle", tuple(agent.why_idle or ())

    async def _until_either(self, told_to_stop: asyncio.Future[Any]) -> object:
        own = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait((told_to_stop, own), return_when=asyncio.FIRST_COMPLETED)
        finally:
            own.cancel()
        # What went wrong in waiting is not to be passed over.
        return told_to_stop.result() if told_to_stop.done() else None


def agent_version() -> str:
    """Program and version, for people."""
    try:
        return f"horde-worker-agent/{metadata.version('horde-mesh')}"
    except metadata.PackageNotFoundError:
        return "horde-worker-agent/0"
