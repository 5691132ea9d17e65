"""What a worker does, as its owner is told: values, and the lines of the screen. No prompt, no picture, no key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from horde.worker_agent.core.earnings import kudos

State = Literal["loading", "painting", "idle", "paused", "away", "leaving"]


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job that is held."""

    model: str
    width: int
    height: int
    stage: str
    """`waiting`, `preparing`, `painting`, `uploading`."""
    step: int
    steps: int
    seconds: float
    """Since it came."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model that is offered."""

    name: str
    in_memory: bool
    max_pixels: int
    max_batch: int


@dataclass(frozen=True, slots=True)
class Status:
    """A worker, now."""

    name: str
    agent: str
    gateway: str
    seconds: float
    """Since this run began."""
    state: State
    why: tuple[str, ...] = ()
    """Why it paints nothing."""
    jobs: tuple[JobStatus, ...] = ()
    models: tuple[ModelStatus, ...] = ()
    problems: tuple[str, ...] = ()
    """Models that are not offered, and why."""
    paid: int = 0
    unpaid: int = 0
    owed: int = 0
    """Outcomes that the mesh has not settled yet; they are on disk."""
    earned_mkudos: int = 0
    escrow_mkudos: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    """Jobs that ended without a picture, by what was the matter."""
    celsius: float | None = None
    free_mib: int = 0

    @property
    def mkudos_an_hour(self) -> float:
        """What this run earned, for each hour of it."""
        return self.earned_mkudos * 3600 / max(1.0, self.seconds)


def lines(status: Status) -> Iterator[str]:
    """The screen, line by line."""
    yield f"{status.name} at {status.gateway}, {status.agent}, here for {_lasting(status.seconds)}"
    yield from _rows("models" if status.state == "loading" else status.state, _now(status))
    uploading = sum(job.stage == "uploading" for job in status.jobs)
    waiting = sum(job.stage == "waiting" for job in status.jobs)
    if waiting:
        yield _row("next", f"{waiting} {'waits' if waiting == 1 else 'wait'} here")
    if uploading:
        yield _row("uploading", f"{uploading} finished, on the way to storage")
    if status.owed:
        yield _row("owed", f"{status.owed} reported and not settled yet; kept on disk")
    yield _row("earned", _earned(status))
    if status.faults:
        yield _row("faults", ", ".join(f"{count} {name}" for name, count in sorted(status.faults.items())))
    if status.models:
        named = (f"{model.name}{' (in memory)' if model.in_memory else ''}" for model in status.models)
        yield _row("models", ", ".join(named))
    yield from _rows("problem", status.problems)
    heat = "" if status.celsius is None else f"{status.celsius:.0f} degrees, "
    yield _row("machine", f"{heat}{status.free_mib} MiB free")


def _now(status: Status) -> Iterator[str]:
    busy = [job for job in status.jobs if job.stage in ("preparing", "painting")]
    if status.state in ("painting", "leaving"):
        for job in busy:
            step = f"step {job.step} of {job.steps}" if job.stage == "painting" else "being prepared"
            yield f"{job.model} {job.width}x{job.height}, {step}, {_lasting(job.seconds)}"
        yield from status.why
        if not busy:
            yield "nothing is painted any more" if status.state == "leaving" else "the last picture is on its way"
    elif status.state == "idle":
        yield from status.why or ("nobody asks for what is offered",)
    else:
        yield from status.why


def _earned(status: Status) -> str:
    parts = [f"{kudos(status.earned_mkudos)} kudos in {_pictures(status.paid)}"]
    if status.paid:
        parts.append(f"{kudos(round(status.mkudos_an_hour))} an hour")
    if status.escrow_mkudos:
        parts.append(f"{kudos(status.escrow_mkudos)} of it in escrow")
    if status.unpaid:
        parts.append(f"{status.unpaid} not paid")
    return "; ".join(parts)


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def _rows(name: str, texts: Iterator[str] | tuple[str, ...]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield _row("" if number else name, text)


def _row(name: str, text: str) -> str:
    return f"{name:<10} {text}"


def _lasting(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
