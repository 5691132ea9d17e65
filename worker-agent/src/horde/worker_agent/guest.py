"""A good guest: looks at the machine now and then, and asks for no more work while its owner's rules say so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import psutil

from horde.services.clock import Clock
from horde.services.settings import BadSettings
from horde.services.telemetry import get_logger
from horde.worker_agent.core.guest import Machine, OwnersPause, Rules, programs, why_not_now
from horde.worker_agent.presence import others_percent, untouched_seconds
from horde.worker_agent.settings import WorkerSettings

log = get_logger(__name__)

LOOK_SECONDS = 10.0


class Host(Protocol):
    """Who is a guest here: the agent."""

    def pause(self, *, paused: bool) -> None:
        """Ask for no more jobs, or for jobs again; what is begun goes on."""


def look(rules: Rules) -> Machine:
    """What can be seen of this machine, of what the rules ask for."""
    now = datetime.now().astimezone()
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    running: frozenset[str] = frozenset()
    if rules.not_beside:
        running = programs(process.info["name"] or "" for process in psutil.process_iter(["name"]))
    hottest = None
    if rules.max_celsius and hasattr(psutil, "sensors_temperatures"):
        readings: dict[str, list[Any]] = psutil.sensors_temperatures()
        hottest = max((reading.current for group in readings.values() for reading in group), default=None)
    untouched = untouched_seconds() if rules.untouched_minutes else None
    others = others_percent(psutil.Process()) if rules.max_others_percent else 0.0
    plugged = battery is None or battery.power_plugged is not False
    return Machine(60 * now.hour + now.minute, not plugged, running, hottest, untouched, others)


class Guest:
    """Keeps the rules. A configuration file that changes is read again: its rules hold at once, the rest of it from
    the next start."""

    def __init__(
        self,
        host: Host,
        settings: WorkerSettings,
        clock: Clock,
        *,
        see: Callable[[Rules], Machine] = look,
        reload: Callable[[], WorkerSettings],
    ) -> None:
        self._host, self._settings, self._clock, self._see, self._reload = host, settings, clock, see, reload
        self._read_at = _changed_at(settings.config)
        self._rule: str | None = None
        """What the rules say; None: nothing against it."""
        self._pause: OwnersPause | None = None
        self.why: str | None = None
        """Why nothing is asked for now; None: it is."""
        self.celsius: float | None = None
        """The hottest part that tells, where a rule asks for it."""

    def pause(self, seconds: float | None) -> None:
        """The owner's word: no more jobs for so long; None: until `resume`."""
        until = None if seconds is None else self._clock.monotonic() + seconds
        self._pause = OwnersPause(until)
        self._decide()

    def resume(self) -> None:
        """The owner's word: jobs again, as far as the rules allow."""
        self._pause = None
        self._decide()

    def _decide(self) -> None:
        now = self._clock.monotonic()
        if self._pause is not None and self._pause.is_over(now):
            self._pause = None
        why = self._rule if self._pause is None else self._pause.words(now)
        if (why is None) != (self.why is None):
            self._host.pause(paused=why is not None)
        if why != self.why and (self._pause is None or self.why is None):
            log.info("no more jobs for now" if why else "jobs again", **({"why": why} if why else {}))
        self.why = why

    async def keep_the_rules(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.to_thread(self._read_again)
            rules = self._settings.rules()
            try:
                machine = await asyncio.to_thread(self._see, rules)
            except (psutil.Error, OSError, ValueError, LookupError) as error:
                # A sensor that fails or says odd things must not end the worker: what the rules said last stays.
                log.warning("the machine cannot be looked at", why=str(error))
            else:
                self.celsius = machine.celsius
                self._rule = why_not_now(rules, machine, paused=self._rule is not None)
            # In any case: the owner's pause may be over.
            self._decide()
            await self._clock.sleep(LOOK_SECONDS)

    def _read_again(self) -> None:
        changed_at = _changed_at(self._settings.config)
        if changed_at == self._read_at:
            return
        self._read_at = changed_at
        try:
            fresh = self._reload()
        except BadSettings as error:
            log.warning("the configuration file is not usable: the old settings stay", why=str(error))
            return
        later = sorted(name for name in self._settings.beyond_rules(fresh))
        log.info("the configuration file was read again", from_the_next_start=", ".join(later) or "nothing")
        self._settings = self._settings.with_rules_of(fresh)


def _changed_at(path: Path | None) -> int:
    try:
        return 0 if path is None else path.stat().st_mtime_ns
    except OSError:
        return 0
