"""What a release is made of and how: fixed at its beginning, so that whoever goes on after a crash makes the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from horde.data_releases.core.layout import is_release_id

VERSION: Final = 1
SETTLING: Final = timedelta(minutes=15)
"""An hour of the journal is read this long after it ended: clocks differ, and a write may be slow."""
MAX_SAMPLES: Final = 10_000


class BadPlan(ValueError):
    """An argument is not possible; the message names it."""


class OtherPlan(ValueError):
    """The release was begun with other arguments; the message names the first that differs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The arguments of a release."""

    release_id: str
    as_of: datetime
    """The moment that the release speaks for; nothing shared later than `cool_off_hours` before it is in."""
    previous: str | None
    """The finished release that this one goes on from; None: this one begins with the first shared image."""
    since: datetime
    """The first hour of the journal that is looked at."""
    cool_off_hours: int = 7 * 24
    samples: int = 1_000
    """Journal entries in one part; so no shard has more images."""
    shard_bytes: int = 1 << 30
    """A shard that has this many bytes is followed by another."""
    near_bits: int = 4
    """How many of 64 bits the perceptual hashes of near duplicates may differ in."""
    contact_data: bool = False
    """Whether images with contact data in their prompts are let in, marked."""
    unsure: bool = False
    """Whether images that moderation is not sure about are let in, marked."""
    ratings_sha256: str | None = None
    """Of the file of ratings that join the release; None: there are none."""
    version: int = VERSION

    def __post_init__(self) -> None:
        if not is_release_id(self.release_id):
            raise BadPlan(f"release_id: {self.release_id!r} is not of small letters, digits, '.' and '-'")
        for name, least, most in (
            ("cool_off_hours", 0, 24 * 366),
            ("samples", 1, MAX_SAMPLES),
            ("shard_bytes", 1 << 16, 1 << 34),
            ("near_bits", 0, 4),
        ):
            if not least <= getattr(self, name) <= most:
                raise BadPlan(f"{name}: must be {least} to {most}")
        if self.as_of.tzinfo is None or self.since.tzinfo is None:
            raise BadPlan("as_of: needs a time zone")
        if (self.since.minute, self.since.second, self.since.microsecond) != (0, 0, 0):
            raise BadPlan("since: must be a whole hour")
        if self.previous == self.release_id:
            raise BadPlan("previous: a release cannot go on from itself")

    @property
    def until(self) -> datetime:
        """The first hour of the journal that is not looked at any more."""
        last = min(self.as_of - timedelta(hours=self.cool_off_hours), self.as_of - SETTLING)
        return max(self.since, whole_hour(last))

    def hours(self) -> Iterator[datetime]:
        """The hours of the journal that are looked at."""
        return hours_between(self.since, self.until)

    def to_json(self) -> dict[str, Any]:
        moments = {name: getattr(self, name).isoformat() for name in ("as_of", "since")}
        return {**asdict(self), **moments}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """The plan. Raises OtherPlan if another version of this program made it."""
        if data["version"] != VERSION:
            raise OtherPlan(f"version: begun by version {data['version']} of the builder, this is {VERSION}")
        moments = {name: datetime.fromisoformat(data[name]) for name in ("as_of", "since")}
        return cls(**{**data, **moments})

    def check_same(self, asked: Plan) -> None:
        """Raises OtherPlan unless the same was asked for."""
        for field in fields(self):
            begun, wanted = getattr(self, field.name), getattr(asked, field.name)
            if begun != wanted:
                raise OtherPlan(f"{field.name}: {self.release_id} was begun with {begun}, not {wanted}")


def hours_between(since: datetime, until: datetime) -> Iterator[datetime]:
    """Whole hours from `since` on, those before `until`."""
    hour = whole_hour(since)
    while hour < until:
        yield hour
        hour += timedelta(hours=1)


def whole_hour(moment: datetime) -> datetime:
    """The hour that the moment is in, by its beginning."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def hour_name(hour: datetime) -> str:
    """As the journal names it: `2026-11-26T13`."""
    return hour.astimezone(UTC).strftime("%Y-%m-%dT%H")
