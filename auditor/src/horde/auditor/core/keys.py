"""What keys in the two buckets may look like.

Written down here once more, and not shared with the storage router: an auditor that reads its rules from whom it audits
finds none of his mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

ENDINGS: Final = {"WEBP": "webp", "PNG": "png", "JPEG": "jpg"}
"""Of a shared image's file, by the name of its format."""
IMAGES: Final = "images/"
JOURNAL: Final = "journal/"
WITHDRAWALS: Final = "withdrawals/"

_ID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_HOUR: Final = r"\d{4}-\d\d-\d\dT\d\d"
DECIDED: Final = "moderation/decided/"
_ENTRY: Final = re.compile(rf"(?:{JOURNAL}|{WITHDRAWALS}|{DECIDED})({_HOUR})/({_ID})")
_NOTE: Final = re.compile(rf"(withdrawn|moderation)/({_ID})\.json")
_IMAGE: Final = re.compile(rf"images/({_ID})\.(json|{'|'.join(ENDINGS.values())})")
_PRIVATE_IMAGE: Final = re.compile(r"images/([0-9a-f]{32})")
_LEASED: Final = re.compile(rf"quarantine/({_ID})/[A-Za-z0-9][A-Za-z0-9._:-]*")


class Sort(Enum):
    """What an object in the shared bucket is."""

    IMAGE = "an image, or its record"
    ENTRY = "an entry of the journal, of the withdrawals, or of decisions: a name alone"
    SIGN = "the sign that an image was withdrawn"
    DECISION = "what moderation decided"
    PROBE = "a trial of a replica that starts: gone at once"
    STRANGER = "none of these"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A key of the shared bucket."""

    sort: Sort
    job_id: str = ""
    ending: str = ""
    """Of an image's file, or `json`."""
    hour: str = ""
    """Of an entry."""


def parse_shared(key: str) -> Parsed:
    """What a key of the shared bucket is."""
    if found := _IMAGE.fullmatch(key):
        return Parsed(Sort.IMAGE, found[1], found[2])
    if found := _ENTRY.fullmatch(key):
        return Parsed(Sort.ENTRY, found[2], hour=found[1])
    if found := _NOTE.fullmatch(key):
        return Parsed(Sort.SIGN if found[1] == "withdrawn" else Sort.DECISION, found[2])
    return Parsed(Sort.PROBE if key.startswith(".probe/") else Sort.STRANGER)


def private_name(key: str) -> str | None:
    """The name of a committed private image, if this is a key of one."""
    found = _PRIVATE_IMAGE.fullmatch(key)
    return found[1] if found else None


def leased_job(key: str) -> str | None:
    """The job that something in quarantine, or the sign of a closed lease, belongs to."""
    found = _LEASED.fullmatch(key)
    return found[1] if found else None


def record(job_id: str) -> str:
    """The record of a shared image."""
    return f"{IMAGES}{job_id}.json"


def image(job_id: str, format: str) -> str:
    """A shared image."""
    return f"{IMAGES}{job_id}.{ENDINGS[format]}"


def sign(job_id: str) -> str:
    """The sign that an image was withdrawn."""
    return f"withdrawn/{job_id}.json"


def journal(hour: datetime, job_id: str = "") -> str:
    """An image's entry in the journal of an hour; without a job, the hour's folder."""
    return f"{JOURNAL}{hour_name(hour)}/{job_id}"


def withdrawals(hour: datetime) -> str:
    """The folder of what was withdrawn in an hour."""
    return f"{WITHDRAWALS}{hour_name(hour)}/"


def decided(hour: datetime) -> str:
    """The folder of what moderation decided in an hour."""
    return f"{DECIDED}{hour_name(hour)}/"


def hour_name(moment: datetime) -> str:
    """As journals name an hour: `2026-11-26T13`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H")


def hours(since: datetime, until: datetime) -> Iterator[datetime]:
    """The whole hours from that of `since` on that are over at `until`."""
    hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while hour + timedelta(hours=1) <= until:
        yield hour
        hour += timedelta(hours=1)
