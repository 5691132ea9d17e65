"""The owner's hand on a worker that runs: a door on loopback, for whoever can read a file in the worker's own folder.

One line of JSON in, one out. Unix sockets would do, but not on Windows, and not under a long path.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from horde.services.telemetry import get_logger
from horde.worker_agent.outcomes import remove, write_at_once

log = get_logger(__name__)

FILE = "control"
LINE_BYTES = 4096
ANSWER_SECONDS = 5.0
MAX_SILENT = 16
"""Callers that have not said a line yet; the longest silent makes room for one more."""


class NotRunning(Exception):
    """No worker of this folder answers."""


class NotUnderstood(ValueError):
    """What the owner says cannot be done; the message says why."""


class Controls(Protocol):
    """What can be done to a worker."""

    def status(self) -> dict[str, Any]:
        """What it does now."""

    def pause(self, minutes: float | None) -> None:
        """Ask for no more jobs; for so long, or until `resume`."""

    def resume(self) -> None:
        """Ask for jobs again, as far as the rules allow."""

    def stop(self) -> None:
        """Leave as after Ctrl-C."""


@asynccontextmanager
async def control_door(folder: Path, controls: Controls) -> AsyncIterator[None]:
    """Let the owner in for as long as the block."""
    token = secrets.token_urlsafe(24)
    silent: dict[asyncio.StreamWriter, None] = {}
    """Who has said nothing yet, the longest silent first: anybody on this machine can come so far."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent[writer] = None
        if len(silent) > MAX_SILENT:
            # Whoever knows the token says it at once: a newcomer is more likely to be the owner.
            next(iter(silent)).transport.abort()
            silent.pop(next(iter(silent)))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                line = await reader.readline()
                silent.pop(writer, None)
                writer.write(json.dumps(_answer(line, token, controls)).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, OSError, ValueError):
            pass  # A caller that is slow, gone or talks too long is none.
        finally:
            silent.pop(writer, None)
            writer.close()

    try:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=LINE_BYTES)
        port = server.sockets[0].getsockname()[1]
        write_at_once(str(folder), FILE, json.dumps({"port": port, "token": token}).encode())
    except OSError as error:
        # A worker that cannot be asked can still paint.
        log.warning("`horde worker status` will not reach this worker", why=str(error))
        yield
        return
    async with server:
        try:
            yield
        finally:
            remove(str(folder), FILE)


def _answer(line: bytes, token: str, controls: Controls) -> Mapping[str, Any]:
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        return {"error": "not a line of JSON"}
    if not isinstance(asked, dict) or not hmac.compare_digest(str(asked.get("token", "")).encode(), token.encode()):
        return {"error": "the token is not that of this run"}
    try:
        match asked.get("do"):
            case "status":
                pass
            case "pause":
                controls.pause(_minutes(asked.get("minutes")))
            case "resume":
                controls.resume()
            case "stop":
                controls.stop()
            case other:
                raise NotUnderstood(f"{other!r} is nothing that a worker does")
    except NotUnderstood as error:
        return {"error": str(error)}
    return controls.status()


def _minutes(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or not 0 < value <= 60 * 24 * 366:
        raise NotUnderstood(f"{value!r} is no number of minutes")
    return float(value)


async def ask(folder: Path, what: str, **named: object) -> dict[str, Any]:
    """Have the worker of a folder do something; its status after it. Raises NotRunning, NotUnderstood."""
    try:
        place = json.loads((folder / FILE).read_text(encoding="utf-8"))
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", place["port"])
            try:
                writer.write(json.dumps({"token": place["token"], "do": what, **named}).encode() + b"\n")
                answer = json.loads(await reader.readline())
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise NotRunning(f"no worker of {folder} answers") from error
    if "error" in answer:
        raise NotUnderstood(answer["error"])
    return dict(answer)
