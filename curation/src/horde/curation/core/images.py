"""A shared image, as it is known here, and the record beside it in the shared bucket."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

FORMATS: Final = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
"""The ending of a file, by the record's name of its format."""
_SHA256_LENGTH: Final = 64


class Verdict(StrEnum):
    """What was found about an image."""

    NONE = ""
    """Nobody has looked."""
    SAFE = "safe"
    UNSAFE = "unsafe"
    UNSURE = "unsure"


class BadRecord(ValueError):
    """The record cannot be read."""


@dataclass(frozen=True, slots=True)
class SharedImage:
    """An image in the shared bucket, and how it stands."""

    image_id: str
    """The job's; also the name that it has in data releases."""
    requester: str
    """A digest; see `digest_requester`."""
    prompt: str
    negative_prompt: str
    model: str
    width: int
    """Pixels."""
    height: int
    format: str
    sha256: str
    """64 hexadecimal digits."""
    size_bytes: int
    shared_at: datetime
    """When it was put in place, by the clock of the store."""
    worker_verdict: Verdict = Verdict.NONE
    """What the checker at the worker said."""
    verdict: Verdict = Verdict.NONE
    """As it stands now."""
    withheld: bool = False
    """Kept from everybody but moderators."""
    withdrawn_at: datetime | None = None
    painter: str = ""
    """A digest of the account whose worker painted it, see `digest_painter`; empty: not known."""

    consent_version: str = ""
    """Of the text that its requester agreed to."""
    asked: bool = False
    """They asked that it be shared; else it is by the rule for anonymous."""
    journal_hour: datetime | None = None
    """The first hour of the journal that names it: by it, and by nothing else, data releases take it. None: no hour
    that was read names it yet."""

    @property
    def ratable(self) -> bool:
        """Whether people may be shown it."""
        return not self.withheld and self.withdrawn_at is None and self.verdict is not Verdict.UNSAFE


def read_record(data: bytes, shared_at: datetime, journal_hour: datetime | None = None) -> SharedImage:
    """The image of which this is the record. Raises BadRecord."""
    try:
        record = json.loads(data)
        image, spec = record["image"], record["spec"]
        asked: Any = spec["image"]
        found = SharedImage(
            image_id=_text(record["job_id"]),
            requester=_text(record["requester"]),
            prompt=str(asked.get("prompt", "")),
            negative_prompt=str(asked.get("negative_prompt", "")),
            model=_text(spec["model"]),
            width=int(image["width"]),
            height=int(image["height"]),
            format=_text(image["format"]),
            sha256=_text(image["sha256"]),
            size_bytes=int(image["size_bytes"]),
            shared_at=shared_at,
            journal_hour=journal_hour,
            worker_verdict=Verdict(record.get("verdict") or ""),
            painter=str(record.get("painter") or ""),
            consent_version=_text(record["consent"]["text_version"]),
            asked=record["consent"]["how"] == "asked",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"{type(error).__name__}: {error}") from error
    if found.format not in FORMATS or len(found.sha256) != _SHA256_LENGTH:
        raise BadRecord("its format or its digest is none")
    return found


def digest_requester(identity: str) -> str:
    """What a record says of whose the image is, by the text form of the requester identity."""
    return hashlib.sha256(b"requester " + identity.encode()).hexdigest()


def digest_painter(account_id: str) -> str:
    """What a record says of whose worker painted the image."""
    return hashlib.sha256(b"painter " + account_id.encode()).hexdigest()


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no text")
    return value
