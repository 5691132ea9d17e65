"""How somebody stands, in plain words: what counts against him, since when, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from horde.gateway.core.restrictions import Restriction, TargetKind


@dataclass(frozen=True, slots=True)
class Resting:
    """A worker that is given nothing for a while."""

    worker_name: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Withheld:
    """A model that a worker is not offered for a while, for it gave it back."""

    worker_name: str
    model: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Record:
    """What speaks for and against an account."""

    trusted: bool = False
    by_decree: bool = False
    age_days: int = 0
    age_needed_days: int = 0
    escrow_mkudos: int = 0
    escrow_needed_mkudos: int = 0
    paid_images: int = 0
    paid_needed: int = 0
    proven: bool = False
    contradicted: int = 0
    strikes: int = 0
    last_strike_at: datetime | None = None
    refuted: int = 0
    resting: Sequence[Resting] = field(default_factory=tuple)
    withheld: Sequence[Withheld] = field(default_factory=tuple)
    restrictions: Sequence[Restriction] = field(default_factory=tuple)


def sentences(record: Record) -> list[str]:
    """One sentence for each thing that counts against somebody, with since when and what mends it."""
    return list(_sentences(record))


def _sentences(record: Record) -> Iterator[str]:
    for restriction in record.restrictions:
        yield _restricted(restriction)
    yield from _trust(record)
    if record.strikes:
        since = "" if record.last_strike_at is None else f", the last on {_day(record.last_strike_at)}"
        yield (
            f"{record.strikes} strikes of the last seven days count{since}; each is forgotten after seven days, and a "
            "worker that paints again is given jobs again at once."
        )
    for resting in record.resting:
        yield (
            f"The worker {resting.worker_name} failed several times in a row and rests until {_minute(resting.until)}; "
            "a painted image ends the count."
        )
    for withheld in record.withheld:
        yield (
            f"The worker {withheld.worker_name} gave back jobs of {withheld.model} and is not offered it until "
            f"{_minute(withheld.until)}; an image painted with it ends that."
        )
    if record.contradicted:
        yield (
            f"{record.contradicted} times others painted what your workers withheld; one is forgiven with every "
            f"{max(1, record.paid_needed)} images that others pay for."
        )
    if record.refuted:
        yield (
            f"{record.refuted} of your images were checked and not as they should be; images that are checked and "
            "right mend it."
        )
    if not record.proven and record.paid_images < record.paid_needed:
        yield (
            f"Others have paid for {record.paid_images} images of your workers; from {record.paid_needed} on they get "
            "as many jobs at once as they ask for."
        )


def _trust(record: Record) -> Iterator[str]:
    if record.trusted:
        return
    if record.by_decree:
        yield "An operator has taken your trust away: half of what you earn waits until an operator gives it back."
        return
    needs = []
    if record.age_days < record.age_needed_days:
        needs.append(f"your account is {record.age_needed_days} days old (it is {record.age_days})")
    if record.escrow_mkudos < record.escrow_needed_mkudos:
        needs.append(
            f"{record.escrow_needed_mkudos // 1000} kudos that you earned are in escrow (now "
            f"{record.escrow_mkudos // 1000})"
        )
    if needs:
        yield f"Half of what you earn waits until {' and '.join(needs)}."


_WHAT = {
    TargetKind.WORKER: "A worker of yours is",
    TargetKind.OWNER: "Your workers are",
    TargetKind.REQUESTER: "You are, as somebody who asks for images,",
    TargetKind.NETWORK: "Your network is",
}


def _restricted(restriction: Restriction) -> str:
    what = "banned" if restriction.ban else "paused"
    until = "an operator or moderator lifts it" if restriction.until is None else _minute(restriction.until)
    return (
        f"{_WHAT[restriction.target.kind]} {what} since {_minute(restriction.since)} until {until}: "
        f"{restriction.reason} You may appeal against it once and change your note."
    )


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
