"""Data releases as this service knows them: what was asked for, and what a finished one says of itself. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

FORMAT_VERSION: Final = "1.0"
LICENCE: Final = "CC0-1.0"
DAY: Final = timedelta(days=1)
MAX_IMAGES_PER_SHARD: Final = 10_000
MIN_SHARD_BYTES, MAX_SHARD_BYTES = 1 << 20, 1 << 34
MAX_COOL_OFF: Final = 366 * DAY
NOT_KEPT: Final = frozenset({"incomplete", "seen_before"})
"""What builders leave out that was no image, or is in a release already."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}[a-z0-9]|[a-z0-9]")


class State(StrEnum):
    """How far a release is."""

    BUILDING = "building"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Terms:
    """What an operator chooses for a release."""

    cool_off_hours: int = 7 * 24
    images_per_shard: int = MAX_IMAGES_PER_SHARD
    bytes_per_shard: int = 1 << 30
    contact_data: bool = False
    unsure: bool = False
    incremental: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Terms:
        return cls(**json.loads(text))

    def differs_from(self, other: Terms) -> str:
        """The first term that is another one; empty: they are the same."""
        return next(
            (field.name for field in fields(self) if getattr(self, field.name) != getattr(other, field.name)), ""
        )

    def arguments(self, name: str) -> list[str]:
        """What the builder of releases is told."""
        arguments = [
            name,
            f"--cool-off={self.cool_off_hours / 24!r}",
            f"--samples={self.images_per_shard}",
            f"--shard-mib={self.bytes_per_shard >> 20}",
        ]
        if not self.incremental:
            arguments.append("--previous=none")
        if self.contact_data:
            arguments.append("--with-contact-data")
        if self.unsure:
            arguments.append("--with-unsure")
        return arguments


@dataclass(frozen=True, slots=True)
class Asked:
    """A release that somebody asked for here."""

    name: str
    terms: Terms
    created_at: datetime
    created_by: str
    state: State = State.BUILDING
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a release would hold that nobody has asked for yet."""

    name: str
    terms: Terms
    previous: str
    as_of: datetime
    """When it was counted."""
    until: datetime
    """Of the journal: no hour from then on would be looked at."""
    images: int
    size_bytes: int
    """Of the pictures, as they were painted."""
    removed: int
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished release, as its bucket has it. It never changes."""

    name: str
    terms: Terms
    as_of: datetime
    finished_at: datetime
    previous: str
    since: datetime
    until: datetime
    """Of the journal: hours from then on were not looked at, nor those before `since`."""
    images: int
    size_bytes: int
    shards: int
    ratings: int
    removed: int
    left_out: Mapping[str, int]
    checksums_sha256: str
    signature: bytes
    signing_key: bytes
    """PEM."""

    def looked_at(self, journal_hour: datetime) -> bool:
        """Whether it was made from this hour of the journal, and so from all that the hour names."""
        return self.since <= journal_hour < self.until


def is_name(text: str) -> bool:
    """Whether a release may be called so: 1 to 64 small letters, digits, `.` and `-`."""
    return _NAME.fullmatch(text) is not None and ".." not in text


def read_finished(
    note: bytes, statistics: bytes, description: bytes, signature: bytes, signing_key: bytes, finished_at: datetime
) -> Finished:
    """What the bucket says of a finished release. Raises ValueError, KeyError or TypeError if it says it otherwise."""
    noted, counted, described = json.loads(note), json.loads(statistics), json.loads(description)
    plan: dict[str, Any] = noted["plan"]
    as_of, since = (datetime.fromisoformat(plan[name]).astimezone(UTC) for name in ("as_of", "since"))
    # The builder's rule: whole hours, which are over for a quarter of an hour.
    last = min(as_of - timedelta(hours=plan["cool_off_hours"]), as_of - timedelta(minutes=15))
    terms = Terms(
        cool_off_hours=plan["cool_off_hours"],
        images_per_shard=plan["samples"],
        bytes_per_shard=plan["shard_bytes"],
        contact_data=plan["contact_data"],
        unsure=plan["unsure"],
        incremental=plan["previous"] is not None,
    )
    return Finished(
        name=plan["release_id"],
        terms=terms,
        as_of=as_of,
        finished_at=finished_at,
        previous=plan["previous"] or "",
        since=since,
        until=max(since, last.replace(minute=0, second=0, microsecond=0)),
        images=noted["images"],
        size_bytes=noted["bytes"],
        shards=described["shards"],
        ratings=counted["ratings"],
        removed=noted["removed"],
        left_out={
            reason: found["images"]
            for reason, found in counted["left_out"].items()
            if found["images"] and reason not in NOT_KEPT
        },
        checksums_sha256=noted["checksums_sha256"],
        signature=signature,
        signing_key=signing_key,
    )


def read_estimate(text: str, name: str, terms: Terms) -> Estimate:
    """What the builder says of a release that it has not made. Raises ValueError, KeyError or TypeError if it says it
    otherwise."""
    found: dict[str, Any] = json.loads(text)
    return Estimate(
        name=name,
        terms=terms,
        previous=found["previous"] or "",
        as_of=datetime.fromisoformat(found["plan"]["as_of"]).astimezone(UTC),
        until=datetime.fromisoformat(found["until"]).astimezone(UTC),
        images=found["images"],
        size_bytes=found["bytes"],
        removed=found["removed"],
        left_out={reason: images for reason, images in found["left_out"].items() if reason not in NOT_KEPT},
    )


@dataclass(frozen=True, slots=True)
class Published:
    """What anybody can look up in the data releases there are: ratings from before a moment, of images of hours of the
    journal before one. It may be more than is in any single release, and is never less."""

    journalled_before: datetime
    rated_before: datetime


def published(releases: Iterable[Finished]) -> Published | None:
    """Of finished releases; None: there is none."""
    known = list(releases)
    if not known:
        return None
    return Published(max(release.until for release in known), max(release.as_of for release in known))


def release_of(journal_hour: datetime, chain: list[Finished]) -> str:
    """Into which release of a chain an image falls, by its hour of the journal; the last one if into none of them."""
    return next((link.name for link in chain if link.looked_at(journal_hour)), chain[-1].name)
