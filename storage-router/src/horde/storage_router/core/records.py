"""What is written beside stored bytes, and how it is read again.

Metadata is a flat map of ASCII texts, because that is what every store has. Nothing here names a requester in clear:
only a digest is kept, enough to tell whether somebody is the one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from horde.storage_router.core.pictures import Change, ImageFormat, Picture
from horde.storage_router.core.placement import Placement

Metadata = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that passed, by what they are."""

    sha256: str
    size_bytes: int
    format: ImageFormat
    width: int
    height: int

    @classmethod
    def of(cls, picture: Picture, sha256: str, size_bytes: int) -> Content:
        return cls(sha256, size_bytes, picture.format, picture.width, picture.height)

    def to_metadata(self) -> dict[str, str]:
        return {
            "sha256": self.sha256,
            "size": str(self.size_bytes),
            "format": self.format.value,
            "width": str(self.width),
            "height": str(self.height),
        }

    @classmethod
    def from_metadata(cls, metadata: Metadata) -> Content:
        return cls(
            metadata["sha256"],
            int(metadata["size"]),
            ImageFormat(metadata["format"]),
            int(metadata["width"]),
            int(metadata["height"]),
        )


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What a lease uploaded, and the placement that its grant was signed with."""

    content: Content
    placement: Placement
    completed_at: datetime

    def to_metadata(self) -> dict[str, str]:
        return {
            **self.content.to_metadata(),
            "placement": self.placement.value,
            "completed": to_text(self.completed_at),
        }

    @classmethod
    def from_metadata(cls, metadata: Metadata) -> Quarantined:
        return cls(Content.from_metadata(metadata), Placement(metadata["placement"]), from_text(metadata["completed"]))


@dataclass(frozen=True, slots=True)
class PrivateImage:
    """A committed private image: whose, and until when."""

    content: Content
    job_id: str
    requester_digest: str
    expires_at: datetime

    def to_metadata(self) -> dict[str, str]:
        return {
            **self.content.to_metadata(),
            "job": self.job_id,
            "requester": self.requester_digest,
            "expires": to_text(self.expires_at),
        }

    @classmethod
    def from_metadata(cls, metadata: Metadata) -> PrivateImage:
        return cls(
            Content.from_metadata(metadata), metadata["job"], metadata["requester"], from_text(metadata["expires"])
        )


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A stored input: what is kept of what was sent, whose, and since when."""

    content: Content
    sent_sha256: str
    """Of what was sent: the name of this input in requests."""
    changes: Change
    requester_digest: str
    stored_at: datetime

    def to_metadata(self) -> dict[str, str]:
        return {
            **self.content.to_metadata(),
            "sent": self.sent_sha256,
            "changes": str(self.changes.value),
            "requester": self.requester_digest,
            "stored": to_text(self.stored_at),
        }

    @classmethod
    def from_metadata(cls, metadata: Metadata) -> InputRecord:
        return cls(
            Content.from_metadata(metadata),
            metadata["sent"],
            Change(int(metadata["changes"])),
            metadata["requester"],
            from_text(metadata["stored"]),
        )


def digest_requester(requester: str) -> str:
    """What is kept of a requester identity's text form."""
    return hashlib.sha256(b"requester " + requester.encode()).hexdigest()


def digest_painter(account_id: str) -> str:
    """What is kept of the account whose worker painted an image."""
    return hashlib.sha256(b"painter " + account_id.encode()).hexdigest()


def to_text(moment: datetime) -> str:
    """Seconds since 1970, cut off: every kept moment is a whole second."""
    return str(int(moment.timestamp()))


def from_text(text: str) -> datetime:
    return datetime.fromtimestamp(int(text), UTC)
