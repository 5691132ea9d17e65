"""The HTTP server: bound before it says that it serves, and stopped as every service here is."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from horde.services import probes, telemetry
from horde.services.lifecycle import CannotStart
from horde.services.loops import Loops
from horde.services.tls import is_loopback
from horde.web_door.connections import FIRST_WORDS_SECONDS, shared_connections
from horde.web_door.settings import WebDoorSettings

log = telemetry.get_logger(__name__)


class _Server(uvicorn.Server):
    """A server that leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bound(settings: WebDoorSettings) -> socket.socket:
    """The listening socket; raises CannotStart."""
    host, _, port = settings.listen.rpartition(":")
    if settings.tls_certificate is None and not settings.plaintext and not is_loopback(settings.listen):
        raise CannotStart(f"{settings.listen} is not an address of this machine alone: it needs TLS")
    try:
        return socket.create_server(
            (host.strip("[]"), int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
        )
    except (OSError, ValueError):
        raise CannotStart(f"{settings.listen} is taken, or not an address of this machine") from None


@asynccontextmanager
async def serving_http(settings: WebDoorSettings, app: ASGIApp, loops: Loops) -> AsyncIterator[int]:
    """Serve for as long as the block; gives the port. Leaving it lets running requests end within the grace."""
    listening = _bound(settings)
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Whom a proxy speaks for is decided in one place, `caller.py`.
        proxy_headers=False,
        http=shared_connections(settings.max_connections, settings.proxies(), FIRST_WORDS_SECONDS),
        ws="none",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, int(settings.grace_seconds)),
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    # What strangers send that is no HTTP is not worth a line each.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    server = _Server(config)
    port: int = listening.getsockname()[1]
    loop = loops.start("http", server.serve(sockets=[listening]))
    await probes.ready(True)
    log.info("serving", ports=[port])
    try:
        yield port
    finally:
        await probes.ready(False)
        loops.leave()
        server.should_exit = True
        await loop
        log.info("stopped")
