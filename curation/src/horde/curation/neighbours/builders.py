"""How a data release is built: by a process of its own, with a credential of its own. Which, is the operator's choice.

A builder goes on where it was, whoever started it before: so all that is asked of one is to start, and to stop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from horde.curation.core.errors import InvalidReleaseField
from horde.curation.core.releases import Asked, Estimate, State, Terms, read_estimate
from horde.curation.settings import CurationSettings
from horde.services.child_processes import wait_drained
from horde.services.errors import FieldViolation
from horde.services.telemetry import get_logger

log = get_logger(__name__)

PREFIX: Final = "HORDE_DATA_RELEASES_"
TAIL_CHARACTERS: Final = 2_000
STOP_SECONDS: Final = 20.0


class BuilderFailed(Exception):
    """It ended, and the release is not finished; the message says why, for people."""


class Builder(Protocol):
    """Builds releases."""

    async def build(self, asked: Asked) -> None:
        """Return when nobody here builds it any more: it is finished, or somebody else does it. Raises BuilderFailed.

        Cancelled, it stops.
        """

    async def estimate(self, name: str, terms: Terms) -> Estimate:
        """What it would hold. Raises BuilderFailed, and InvalidReleaseField where nobody here can look."""

    async def stop(self, name: str) -> None:
        """Stop building this release, if it is being built here; returns when nobody does."""

    async def tidy(self, states: Mapping[str, State], now: datetime) -> None:
        """Forget what was kept for releases that have ended, by how all stand."""


class OperatorsBuilder:
    """An operator, or a job of theirs, runs `horde release create` when they see that a release was asked for."""

    async def build(self, asked: Asked) -> None:
        log.info("a release waits for its builder", release=asked.name, arguments=asked.terms.arguments(asked.name))

    async def estimate(self, name: str, terms: Terms) -> Estimate:
        words = " ".join(["horde release create --dry-run", *terms.arguments(name)])
        raise InvalidReleaseField(violations=[FieldViolation("dry_run", f"is for an operator to do here: {words}")])

    async def stop(self, name: str) -> None:
        log.warning("a release is cancelled: stop its builder", release=name)

    async def tidy(self, states: Mapping[str, State], now: datetime) -> None:
        """Nothing is kept here."""


class Ratings(Protocol):
    """The ratings that join a release, as a file for its builder."""

    async def of(self, asked: Asked) -> Path:
        """The file; the same for one release however often it is asked for."""

    async def tidy(self, states: Mapping[str, State], now: datetime) -> None:
        """Forget what is not needed any more, by how all releases stand."""


class ChildBuilder:
    """A child process of this one. It ends with this one, also if that is killed, and is started again by the next."""

    def __init__(self, settings: CurationSettings, ratings: Ratings) -> None:
        self._ratings = ratings
        self._environment = child_environment(settings, os.environ)
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def stop(self, name: str) -> None:
        if (process := self._running.get(name)) is not None:
            # Its answer is read where it is waited for (`build`): nobody else may.
            await _stop(process, process.wait)

    async def tidy(self, states: Mapping[str, State], now: datetime) -> None:
        await self._ratings.tidy(states, now)

    async def build(self, asked: Asked) -> None:
        ratings = await self._ratings.of(asked)
        process = await self._start(asked.terms.arguments(asked.name), f"--ratings={ratings}")
        self._running[asked.name] = process
        try:
            tail = await _tail(process)
            status = await process.wait()
        finally:
            await _stop(process, partial(wait_drained, process))
            del self._running[asked.name]
        if status:
            raise BuilderFailed(tail or f"the builder ended with status {status}")

    async def estimate(self, name: str, terms: Terms) -> Estimate:
        process = await self._start(terms.arguments(name), "--dry-run", stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            tail, answer = await asyncio.gather(_tail(process), process.stdout.read())
            status = await process.wait()
        finally:
            await _stop(process, partial(wait_drained, process))
        try:
            if not status:
                return read_estimate(answer.decode(), name, terms)
        except (ValueError, KeyError, TypeError) as error:
            raise BuilderFailed(f"the builder says something else than was asked: {error}") from error
        raise BuilderFailed(tail or f"the builder ended with status {status}")

    async def _start(
        self, arguments: Sequence[str], *more: str, stdout: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "horde.data_releases",
                "create",
                "--end-with-input",
                *more,
                *arguments,
                env=self._environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=stdout,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise BuilderFailed(f"the builder cannot be started: {error.strerror}") from error


async def _tail(process: asyncio.subprocess.Process) -> str:
    """The last that it says, of however much."""
    assert process.stderr is not None
    tail = ""
    while piece := await process.stderr.read(1 << 16):
        tail = (tail + piece.decode(errors="replace"))[-TAIL_CHARACTERS:]
    return tail.strip()


async def _stop(process: asyncio.subprocess.Process, ended: Callable[[], Awaitable[int]]) -> None:
    """End a child, by force if it does not go by itself. `ended` waits for its end."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await ended()
    except TimeoutError:
        process.kill()
        await ended()


def child_environment(settings: CurationSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """What the builder is told: where the buckets are as this service knows it, and what the operator has set for it.

    Its credential is its own: `HORDE_DATA_RELEASES_ACCESS_KEY` and `…_SECRET_FILE` stand beside our own settings.
    """
    state = settings.state_dir / "builder"
    environment = {
        "STATE_DIR": str(state),
        "SIGNING_KEY_FILE": str(state / "signing.key"),
        "PSEUDONYM_KEY_FILE": str(state / "pseudonyms.key"),
        "LOG_LEVEL": "warning",
    }
    if settings.s3_endpoint:
        environment |= {
            "S3_ENDPOINT": settings.s3_endpoint,
            "S3_SECURE": str(settings.s3_secure).lower(),
            "S3_REGION": settings.s3_region,
            "SHARED_BUCKET": settings.shared_bucket,
            "RELEASES_BUCKET": settings.releases_bucket,
        }
    else:
        environment |= {"SHARED_DIR": str(settings.shared_dir), "RELEASES_DIR": str(settings.releases_dir)}
    ours = settings.model_config.get("env_prefix", "")
    kept = {name: value for name, value in inherited.items() if not name.startswith(ours)}
    return {**{PREFIX + name: value for name, value in environment.items()}, **kept}
