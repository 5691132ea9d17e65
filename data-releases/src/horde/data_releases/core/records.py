"""The record beside a shared image, read again with suspicion: what a release needs must be there and fit together."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

FORMATS: Final = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
"""The ending of a file, by the record's name of its format."""
RELEASED_FORMAT: Final = "WEBP"
_HOW: Final = {"registered": "asked", "anonymous": "anonymous rule"}
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Verdict(StrEnum):
    """What moderation says."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    UNSURE = "unsure"
    REPORTED = "reported"
    """Somebody has reported it, and no moderator has looked."""


class BadRecord(ValueError):
    """The record cannot be read."""


class NoConsent(ValueError):
    """The consent record is not whole."""


class NotTextToImage(ValueError):
    """The image was painted from another one."""


@dataclass(frozen=True, slots=True)
class Consent:
    """Who agreed, by class, to which text, when and how."""

    who_class: str
    when: datetime
    text_version: str
    how: str


@dataclass(frozen=True, slots=True)
class SharedRecord:
    """A shared image, as its record has it."""

    id: str
    sha256: str
    size_bytes: int
    format: str
    width: int
    height: int
    consent: Consent
    model: str
    image: Mapping[str, Any]
    """The parameters that were asked for, as the contract's ImageSpec in JSON."""
    deviations: Sequence[Mapping[str, str]]
    made: Mapping[str, Any]
    """What the worker said of it, as the contract's Making in JSON."""
    requester: str | None
    """A digest, the same for all of one requester's images."""
    worker: str | None
    verdict: Verdict | None

    @property
    def file_name(self) -> str:
        """As it was painted, in the shared bucket."""
        return f"{self.id}.{FORMATS[self.format]}"

    @property
    def released_name(self) -> str:
        """In a shard."""
        return f"{self.id}.{FORMATS[RELEASED_FORMAT]}"

    @property
    def prompt(self) -> str:
        return str(self.image.get("prompt", ""))

    @property
    def negative_prompt(self) -> str:
        return str(self.image.get("negative_prompt", ""))


def is_image_id(text: str) -> bool:
    """Whether a shared image may be called so: it is a key in a tar, which loaders split at the first dot."""
    return _ID.fullmatch(text) is not None


def read_record(data: bytes) -> SharedRecord:
    """The record. Raises BadRecord, NoConsent or NotTextToImage, in this order."""
    try:
        record = json.loads(data)
        image, asked = record["image"], record["spec"]
        if "image" not in asked or _names_input(asked):
            is_text_to_image = False
            spec: Mapping[str, Any] = {}
        else:
            is_text_to_image, spec = True, asked["image"]
        consent = record.get("consent")
        found = SharedRecord(
            id=_text(record["job_id"]),
            sha256=_text(image["sha256"]),
            size_bytes=int(image["size_bytes"]),
            format=_text(image["format"]),
            width=int(image["width"]),
            height=int(image["height"]),
            consent=_consent(consent),
            model=_text(asked["model"]),
            image=dict(spec),
            deviations=[dict(deviation) for deviation in record.get("deviations", ())],
            made=dict(record.get("making", {})),
            requester=record.get("requester"),
            worker=record.get("worker"),
            verdict=None if record.get("verdict") is None else Verdict(record["verdict"]),
        )
    except NoConsent:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"{type(error).__name__}: {error}") from error
    if found.format not in FORMATS or not _SHA256.fullmatch(found.sha256):
        raise BadRecord("its format or its digest is none")
    if not is_image_id(found.id) or found.width < 1 or found.height < 1:
        raise BadRecord("its id or its size is none")
    if not is_text_to_image:
        raise NotTextToImage
    return found


def _names_input(spec: Any) -> bool:
    """Whether an uploaded picture is named anywhere in it, under whatever name a later contract may give it."""
    if isinstance(spec, dict):
        return "input_id" in spec or any(map(_names_input, spec.values()))
    return isinstance(spec, list) and any(map(_names_input, spec))


def _consent(consent: Any) -> Consent:
    try:
        found = Consent(
            who_class=_text(consent["who_class"]),
            when=datetime.fromisoformat(consent["when"]).astimezone(UTC),
            text_version=_text(consent["text_version"]),
            how=_text(consent["how"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NoConsent(str(error)) from error
    if _HOW.get(found.who_class) != found.how:
        raise NoConsent(f"{found.who_class} cannot have agreed by {found.how}")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no text")
    return value
