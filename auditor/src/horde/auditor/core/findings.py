"""What can be wrong, each kind with its word in logs, metrics and tables."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Kind(StrEnum):
    """What is wrong."""

    PRIVATE_IN_SHARED = "private_in_shared"
    STRANGER = "stranger"
    MISSING_IMAGE = "missing_image"
    MISSING_RECORD = "missing_record"
    CHANGED = "changed"
    BAD_RECORD = "bad_record"
    WITHDRAWN_THERE = "withdrawn_there"
    NOT_IN_JOURNAL = "not_in_journal"
    BAD_ENTRY = "bad_entry"
    MISSING_PRIVATE = "missing_private"
    ORPHAN = "orphan"
    OVERDUE = "overdue"


EXPLANATIONS: Final = {
    Kind.PRIVATE_IN_SHARED: "something of a private placement is in the shared bucket",
    Kind.STRANGER: "an object that no settled image accounts for",
    Kind.MISSING_IMAGE: "a shared image that is done is not there",
    Kind.MISSING_RECORD: "a shared image without its consent record",
    Kind.CHANGED: "other bytes than those that were settled",
    Kind.BAD_RECORD: "a record that cannot be read, or says otherwise than what was settled",
    Kind.WITHDRAWN_THERE: "an image that was taken back is still there",
    Kind.NOT_IN_JOURNAL: "a shared image that no data release will ever hear of",
    Kind.BAD_ENTRY: "a note of the bookkeeping that is malformed, or refers to no shared image",
    Kind.MISSING_PRIVATE: "a private image that is done and has not expired is not there",
    Kind.ORPHAN: "an object in the private bucket that belongs to nothing any more",
    Kind.OVERDUE: "an object that should have been swept long ago",
}
"""For people. The first stands for the worst bug that the mesh can have."""

SHARED: Final = "shared"
PRIVATE: Final = "private"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that is wrong, by where it is."""

    bucket: str
    """`shared` or `private`."""
    key: str
    """Of the object that is wrong, or is missing."""
    kind: Kind
    subject: str = ""
    """The job or the name that was looked at, so that it can be looked at again; empty: the key itself."""
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "bucket": self.bucket,
            "key": self.key,
            "subject": self.subject,
            "detail": self.detail,
        }

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Finding:
        return cls(plain["bucket"], plain["key"], Kind(plain["kind"]), plain["subject"], plain["detail"])
