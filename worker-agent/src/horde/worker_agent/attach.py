"""Staying attached: dials the gateway, holds the stream, and when it breaks dials again, with jitter."""

from __future__ import annotations

from typing import ClassVar

from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.api.worker.v1.worker_service_pb2_grpc import WorkerServiceStub
from horde.services import probes
from horde.services.clock import Clock
from horde.services.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    ServiceError,
    Unauthenticated,
    Unimplemented,
)
from horde.services.lifecycle import CannotStart
from horde.services.streams import Outbox
from horde.services.telemetry import get_logger
from horde.worker_agent.agent import OUTBOX_LIMIT, Agent
from horde.worker_agent.core.backoff import Backoff

log = get_logger(__name__)

DOMAIN = "horde.api.worker.v1"


class SessionSuperseded(Aborted):
    """A newer session of this worker is open."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "SESSION_SUPERSEDED"


ERRORS: tuple[type[ServiceError], ...] = (SessionSuperseded,)
_HOPELESS = (
    SessionSuperseded,
    Unauthenticated,
    PermissionDenied,
    InvalidArgument,
    FailedPrecondition,
    Unimplemented,
)


class Dismissed(CannotStart):
    """The mesh does not want this worker as it is; attaching again would not help."""


async def keep_attached(agent: Agent, gateway: WorkerServiceStub, api_key: str, clock: Clock, backoff: Backoff) -> None:
    """Attach, again and again. Ends only by Dismissed, or by being cancelled."""
    while True:
        at_least = 0.0
        why = "the gateway ended the stream"
        try:
            await _attach(agent, gateway, api_key, backoff)
        except ServiceError as error:
            why = _words(error)
            if isinstance(error, SessionSuperseded):
                raise Dismissed(
                    f"{why.rstrip('.')}. Another process is attached as the worker {agent.name} of the same account: "
                    "stop that one, or give one of the two a name of its own with --name"
                ) from error
            if isinstance(error, _HOPELESS) and not agent.drop_rejected(error.violations):
                raise Dismissed(f"the mesh does not take this worker: {why}") from error
            at_least = error.retry_after.total_seconds() if error.retry_after else 0.0
        finally:
            agent.disconnected()
        await probes.ready(False)
        wait = backoff.next(at_least)
        log.info("not attached; trying again", why=why, seconds=round(wait, 1))
        await clock.sleep(wait)


async def _attach(agent: Agent, gateway: WorkerServiceStub, api_key: str, backoff: Backoff) -> None:
    """One stream, from hello to hang-up."""
    outbox: Outbox[pb.AttachRequest] = Outbox(OUTBOX_LIMIT)
    agent.connected(outbox)
    call = gateway.Attach(outbox, metadata=(("authorization", f"Bearer {api_key}"),))
    try:
        async for response in call:
            match response.WhichOneof("message"):
                case "welcome":
                    backoff.reset()
                    backoff.stay_within(response.welcome.resume_grace.ToTimedelta().total_seconds())
                    log.info("attached", worker=response.welcome.worker_id)
                    await probes.ready(True)
                case "farewell":
                    log.info("the gateway is going away", detail=response.farewell.detail)
                    return
            agent.heard(response)
    finally:
        outbox.close()
        call.cancel()


def _words(error: ServiceError) -> str:
    return f"{error.reason}: {error}" if error.reason else str(error)
