"""What a worker does, as its owner is told: values, and the lines of the screen. No prompt, no picture, no key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from horde.worker_agent.core.earnings import kudos
from horde.worker_agent.core.wording import English, Words

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


def lines(status: Status, words: Words | None = None) -> Iterator[str]:
    """The screen, line by line."""
    return _Screen(words or English()).lines(status)


class _Screen:
    """The screen in one language."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._labels = {
            "loading": words.gettext("loading"),
            "painting": words.gettext("painting"),
            "idle": words.gettext("idle"),
            "paused": words.gettext("paused"),
            "away": words.gettext("away"),
            "leaving": words.gettext("leaving"),
        }

    def lines(self, status: Status) -> Iterator[str]:
        gettext, ngettext = self._words.gettext, self._words.ngettext
        yield gettext("{name} at {gateway}, {agent}, here for {time}").format(
            name=status.name, gateway=status.gateway, agent=status.agent, time=self._lasting(status.seconds)
        )
        models = gettext("models")
        yield from _rows(models if status.state == "loading" else self._labels[status.state], self._now(status))
        uploading = sum(job.stage == "uploading" for job in status.jobs)
        waiting = sum(job.stage == "waiting" for job in status.jobs)
        if waiting:
            yield _row(
                gettext("next"), ngettext("{count} waits here", "{count} wait here", waiting).format(count=waiting)
            )
        if uploading:
            words = gettext("{count} finished, on the way to storage").format(count=uploading)
            yield _row(gettext("uploading"), words)
        if status.owed:
            words = gettext("{count} reported and not settled yet; kept on disk").format(count=status.owed)
            yield _row(gettext("owed"), words)
        yield _row(gettext("earned"), self._earned(status))
        if status.faults:
            faults = ", ".join(f"{count} {name}" for name, count in sorted(status.faults.items()))
            yield _row(gettext("faults"), faults)
        if status.models:
            here = gettext("{model} (in memory)")
            named = (here.format(model=model.name) if model.in_memory else model.name for model in status.models)
            yield _row(models, ", ".join(named))
        yield from _rows(gettext("problem"), status.problems)
        heat = [] if status.celsius is None else [gettext("{celsius} degrees").format(celsius=f"{status.celsius:.0f}")]
        yield _row(gettext("machine"), ", ".join([*heat, gettext("{mib} MiB free").format(mib=status.free_mib)]))

    def _now(self, status: Status) -> Iterator[str]:
        gettext = self._words.gettext
        busy = [job for job in status.jobs if job.stage in ("preparing", "painting")]
        # What has a number in it has no message of its own, and is shown as it came.
        why = tuple(gettext(text) if text else text for text in status.why)
        if status.state in ("painting", "leaving"):
            for job in busy:
                step = gettext("being prepared")
                if job.stage == "painting":
                    step = gettext("step {step} of {steps}").format(step=job.step, steps=job.steps)
                yield f"{job.model} {job.width}x{job.height}, {step}, {self._lasting(job.seconds)}"
            yield from why
            if not busy and status.state == "leaving":
                yield gettext("nothing is painted any more")
            elif not busy:
                yield gettext("the last picture is on its way")
        elif status.state == "idle":
            yield from why or (gettext("nobody asks for what is offered"),)
        else:
            yield from why

    def _earned(self, status: Status) -> str:
        gettext, ngettext = self._words.gettext, self._words.ngettext
        pictures = ngettext("{kudos} kudos in {count} picture", "{kudos} kudos in {count} pictures", status.paid)
        parts = [pictures.format(kudos=kudos(status.earned_mkudos), count=status.paid)]
        if status.paid:
            parts.append(gettext("{kudos} an hour").format(kudos=kudos(round(status.mkudos_an_hour))))
        if status.escrow_mkudos:
            parts.append(gettext("{kudos} of it in escrow").format(kudos=kudos(status.escrow_mkudos)))
        if status.unpaid:
            parts.append(gettext("{count} not paid").format(count=status.unpaid))
        return "; ".join(parts)

    def _lasting(self, seconds: float) -> str:
        gettext, whole = self._words.gettext, int(seconds)
        if whole < 60:
            return gettext("{seconds} s").format(seconds=whole)
        if whole < 3600:
            return gettext("{minutes} min {seconds} s").format(minutes=whole // 60, seconds=f"{whole % 60:02}")
        return gettext("{hours} h {minutes} min").format(hours=whole // 3600, minutes=f"{whole % 3600 // 60:02}")


def _rows(name: str, texts: Iterator[str] | tuple[str, ...]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield _row("" if number else name, text)


def _row(name: str, text: str) -> str:
    return f"{name:<10} {text}"
