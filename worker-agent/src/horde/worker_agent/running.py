"""One run of a worker, from the first line of its log to the last: a painter, an agent, a stream, and a clean leave."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

from grpc import aio

from horde.api.worker.v1.worker_service_pb2 import ListWorkersRequest
from horde.api.worker.v1.worker_service_pb2_grpc import WorkerServiceStub
from horde.services.channel import dial
from horde.services.clock import Clock, SystemClock
from horde.services.errors import ServiceError, Unauthenticated
from horde.services.lifecycle import CannotStart
from horde.services.loops import Loops
from horde.services.settings import load
from horde.services.telemetry import get_logger
from horde.services.tls import is_loopback
from horde.worker_agent.agent import Agent
from horde.worker_agent.attach import ERRORS, Dismissed, keep_attached
from horde.worker_agent.control import control_door
from horde.worker_agent.core.backoff import Backoff
from horde.worker_agent.core.earnings import kudos
from horde.worker_agent.core.session import Session
from horde.worker_agent.doors import ANYBODY, storage_doors
from horde.worker_agent.guest import Guest
from horde.worker_agent.home import AlreadyRunning, locked
from horde.worker_agent.outcomes import OutcomeFolder
from horde.worker_agent.painters.choice import follow_models, named_models, open_painter
from horde.worker_agent.painters.models import BadModel
from horde.worker_agent.painters.port import CannotLoad, Painter
from horde.worker_agent.run import Run, agent_version
from horde.worker_agent.settings import WorkerSettings
from horde.worker_agent.spool import Spool
from horde.worker_agent.workshop import Workshop

log = get_logger(__name__)

KEY_SECONDS = 5.0
"""How long the mesh may take to say whether it knows the key."""
LAST_WORD_SECONDS = 5.0
"""How long what was given back may wait to be settled before the agent leaves; it is on disk anyway."""
IDLE_WORD_SECONDS = 60.0
"""How often an idle worker says why."""


async def run_worker(settings: WorkerSettings, stop: Awaitable[object], clock: Clock | None = None) -> None:
    """Work until `stop` is done, then leave within `drain_seconds`. Raises Dismissed, in a group, and CannotStart."""
    run = Run(settings, clock or SystemClock(), asyncio.ensure_future(stop))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(run.stopping.cancel)
        try:
            api_key = settings.read_api_key()
            stack.enter_context(locked(settings.home))
            await stack.enter_async_context(control_door(settings.home, run))
            named = named_models(settings)
            # Before minutes go into a model.
            await check_key(settings, api_key)
            painter = await _unless(run.stopping, stack.enter_async_context(open_painter(settings)))
        except (OSError, ValueError, AlreadyRunning, BadModel, CannotLoad) as error:
            raise CannotStart(str(error)) from error
        if painter is None:
            return
        async with working(settings, painter, run.clock, run, named) as agent:
            try:
                await run.stopping
                log.info("leaving: finishing what is begun", seconds=settings.drain_seconds)
                await _leave(agent, settings.drain_seconds)
            finally:
                log.info(
                    "this run", paid=agent.tally.accepted, unpaid=agent.tally.unpaid, kudos=kudos(agent.tally.earned)
                )


async def check_key(settings: WorkerSettings, api_key: str) -> None:
    """Raise Dismissed where the mesh does not know the key. A mesh that says nothing now is attached to later."""
    with contextlib.suppress(ServiceError, TimeoutError):
        async with asyncio.timeout(KEY_SECONDS), _dialled(settings) as channel:
            try:
                gateway: Any = WorkerServiceStub(channel)
                mine = ListWorkersRequest(mine=True, page_size=1)
                await gateway.ListWorkers(mine, metadata=(("authorization", f"Bearer {api_key}"),))
            except Unauthenticated as error:
                where = settings.api_key_file or "the settings"
                raise Dismissed(f"the mesh at {settings.gateway} does not know the key in {where}: {error}") from error


def _dialled(settings: WorkerSettings) -> AbstractAsyncContextManager[aio.Channel]:
    tls = settings.tls() or (None if settings.plaintext or is_loopback(settings.gateway) else ANYBODY)
    return dial(
        settings.gateway,
        caller=None,
        errors=ERRORS,
        tls=tls,
        plaintext=settings.plaintext,
        retry=False,
        # What gRPC waits for comes on top of what the agent does; both together stay within the resume grace.
        reconnect_limit=timedelta(seconds=settings.reconnect_limit_seconds / 3),
        neighbour="gateway",
    )


async def _unless(stopping: asyncio.Future[object], opening: Coroutine[None, None, Painter]) -> Painter | None:
    """What is opened; None if the worker is told to stop meanwhile."""
    task = asyncio.create_task(opening)
    await asyncio.wait((stopping, task), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        return await task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


@contextlib.asynccontextmanager
async def working(
    settings: WorkerSettings, painter: Painter, clock: Clock, run: Run | None = None, named: str | None = None
) -> AsyncIterator[Agent]:
    """An agent that is at work, and stays attached. Raises Dismissed, as what a loop died of.

    `named` is what the painter was opened with, as `named_models` says it.
    """
    session = Session(
        settings.name, agent_version(), painter.capabilities(), painter.places + settings.prefetch, settings.declines
    )
    spool = Spool(settings.home / "spool")

    def backoff() -> Backoff:
        return Backoff(settings.reconnect_first_seconds, settings.reconnect_limit_seconds)

    async with (
        storage_doors(settings.tls(), plaintext=settings.plaintext) as doors,
        _dialled(settings) as channel,
        Loops() as loops,
    ):
        agent = Agent(
            session,
            OutcomeFolder(settings.home / "outcomes"),
            spool,
            lambda listener: Workshop(painter, doors, spool, listener, clock, loops=loops, backoff=backoff),
        )
        agent.restore()
        gateway = WorkerServiceStub(channel)
        guest = Guest(agent, settings, clock, reload=lambda: load(WorkerSettings, sys.argv[1:]))
        if run is not None:
            run.begin(agent, guest, painter)
        loops.start("guest", guest.keep_the_rules())
        loops.start("attach", keep_attached(agent, gateway, settings.read_api_key(), clock, backoff()))
        loops.start("models", follow_models(painter, settings, clock, named))
        loops.start("idle word", _say_why_idle(agent, guest, clock, painter))
        yield agent


async def _leave(agent: Agent, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(agent.drain(), seconds)
        return
    log.warning("the time to leave is over: giving the rest back")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(agent.give_up(), LAST_WORD_SECONDS)


async def _say_why_idle(agent: Agent, guest: Guest, clock: Clock, painter: Painter) -> None:
    """An idle machine makes its owner wonder: say why, now and then."""
    while True:
        began = time.monotonic()
        await clock.sleep(IDLE_WORD_SECONDS)
        if guest.why is not None:
            continue  # That was said when it began.
        if agent.idle and agent.last_busy < began:
            agent.ask_why_idle()
            if agent.attached and agent.why_idle is not None:
                continue
            if agent.attached:
                offered = painter.capabilities()
                models = ", ".join(model.name for model in offered.models)
                log.info(
                    "idle: attached, but nobody asks for what is offered", models=models, pixels=offered.max_pixels
                )
            else:
                log.info("idle: the gateway cannot be reached")
