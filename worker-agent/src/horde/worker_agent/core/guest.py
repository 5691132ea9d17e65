"""When a machine may paint: its owner's rules, and what is seen of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from horde.worker_agent.core.wording import mark

MINUTES = 24 * 60
_SPAN = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True)
class Span:
    """A part of each day, in minutes since midnight; one that ends before it begins goes over midnight."""

    begin: int
    end: int

    def holds(self, minute: int) -> bool:
        if self.begin <= self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


@dataclass(frozen=True, slots=True)
class Rules:
    """What the owner wants."""

    hours: tuple[Span, ...] = ()
    """When to paint; none: at any time."""
    on_battery: bool = False
    """Whether also without mains."""
    not_beside: frozenset[str] = frozenset()
    """Programs, in small letters, beside which nothing is painted."""
    max_celsius: float = 0.0
    """The hottest that a processor or a card may be; 0: as hot as it gets."""
    untouched_minutes: float = 0.0
    """How long nobody must have touched keyboard and mouse; 0: no matter."""
    max_others_percent: float = 0.0
    """How much of the processor others may use; 0: no matter."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is seen of the machine now."""

    minute: int
    """Of the day, by the local clock."""
    on_battery: bool = False
    programs: frozenset[str] = frozenset()
    """Names of what runs, in small letters."""
    celsius: float | None = None
    """The hottest part that tells; None: none does."""
    untouched_seconds: float | None = None
    """Since somebody touched keyboard or mouse; None: not known."""
    others_percent: float = 0.0
    """Of the processor, that others use."""


CALMER = 10.0
"""Percent below `max_others_percent` at which painting begins again."""
COOLER = 5.0
"""Degrees below `max_celsius` at which painting begins again: at the bound itself it would go on and off."""


@dataclass(frozen=True, slots=True)
class OwnersPause:
    """The owner's own word, which goes before all rules."""

    until: float | None = None
    """Monotonic seconds; None: until it is taken back."""

    def words(self, now: float) -> str:
        if self.until is None:
            return mark("you have paused it: `horde worker resume`")
        minutes = max(1, round((self.until - now) / 60))
        return f"you have paused it, for {minutes} more minute{'' if minutes == 1 else 's'}"

    def is_over(self, now: float) -> bool:
        return self.until is not None and now >= self.until


def why_not_now(rules: Rules, machine: Machine, *, paused: bool) -> str | None:
    """Why the machine must not paint now, in words for its owner; None if it may. `paused`: it does not paint now."""
    if rules.hours and not any(span.holds(machine.minute) for span in rules.hours):
        return mark("it is not the time that you have set (hours)")
    if machine.on_battery and not rules.on_battery:
        return mark("it runs on its battery")
    if beside := sorted(rules.not_beside & machine.programs):
        return f"{beside[0]} runs"
    if rules.max_celsius and machine.celsius is not None:
        limit = rules.max_celsius - (COOLER if paused else 0.0)
        if machine.celsius > limit:
            return f"it is {machine.celsius:.0f} degrees hot"
    # A system that does not tell is no reason never to paint.
    if machine.untouched_seconds is not None and machine.untouched_seconds < 60 * rules.untouched_minutes:
        return mark("somebody is at the machine")
    if rules.max_others_percent:
        most = rules.max_others_percent - (CALMER if paused else 0.0)
        if machine.others_percent > max(0.0, most):
            return f"other programs use {machine.others_percent:.0f} % of the processor"
    return None


def parse_hours(text: str) -> tuple[Span, ...]:
    """`22:00-07:00,12:00-13:30`; raises ValueError for what is no such list."""
    spans = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _SPAN.fullmatch(part)
        if found is None:
            raise ValueError(f"{part!r} is no time of the day: write 22:00-07:00")
        first, minute, second, end = map(int, found.groups())
        begin, end = 60 * first + minute, 60 * second + end
        if max(begin, end) > MINUTES or minute > 59 or int(found[4]) > 59:
            raise ValueError(f"{part!r}: a day has 24 hours of 60 minutes")
        spans.append(Span(begin, end))
    return tuple(spans)


def parse_programs(text: str) -> frozenset[str]:
    """Names of programs by commas, as they are compared: small letters, without `.exe`."""
    return programs(text.split(","))


def programs(names: Iterable[str]) -> frozenset[str]:
    """Names as they are compared."""
    return frozenset(name.strip().lower().removesuffix(".exe") for name in names if name.strip())
