"""Names of objects. Every part of a key is checked: what comes from a token or a message cannot leave its folder."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from horde.storage_router.core.pictures import ImageFormat

QUARANTINE = "quarantine/"
DISCARDED = "discarded/"
INPUTS = "inputs/"
CLAIMS = "claims/"
IMAGES = "images/"
WITHDRAWN = "withdrawn/"
JOURNAL = "journal/"
WITHDRAWALS = "withdrawals/"

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def is_name(text: str) -> bool:
    """Whether this may be a part of a key: letters, digits, and `.`, `_`, `:`, `-` after the first."""
    return _PART.fullmatch(text) is not None and ".." not in text


def _checked(part: str) -> str:
    if not is_name(part):
        raise ValueError(f"{part!r} cannot be a part of a key")
    return part


def quarantined(job_id: str, lease_id: str) -> str:
    """What a lease uploaded."""
    return f"{QUARANTINE}{_checked(job_id)}/{_checked(lease_id)}"


def discarded(job_id: str, lease_id: str) -> str:
    """The sign that a lease's upload, should it still come, is not wanted."""
    return f"{DISCARDED}{_checked(job_id)}/{_checked(lease_id)}"


def private_image(object_name: str) -> str:
    """A committed private image."""
    return IMAGES + _checked(object_name)


def input_image(input_id: str) -> str:
    """What a requester put in."""
    return INPUTS + _checked(input_id)


def claims_on(input_id: str) -> str:
    """The folder of all claims on an input."""
    return f"{CLAIMS}{_checked(input_id)}/"


def claim(input_id: str, generation_id: str) -> str:
    """A generation's hold on an input."""
    return claims_on(input_id) + _checked(generation_id)


def shared_image(job_id: str, format: ImageFormat) -> str:
    """A shared image."""
    return f"{IMAGES}{_checked(job_id)}.{format.value}"


def shared_record(job_id: str) -> str:
    """What stands beside a shared image: how it was made, and the consent."""
    return f"{IMAGES}{_checked(job_id)}.json"


def journal(moment: datetime, job_id: str) -> str:
    """The entry that a shared image was, or was about to be, put in place in this hour."""
    return f"{JOURNAL}{_hour(moment)}/{_checked(job_id)}"


def withdrawals(moment: datetime, job_id: str) -> str:
    """The entry that a shared image was withdrawn in this hour."""
    return f"{WITHDRAWALS}{_hour(moment)}/{_checked(job_id)}"


def _hour(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H")


def withdrawn(job_id: str) -> str:
    """The record that a shared image was withdrawn."""
    return f"{WITHDRAWN}{_checked(job_id)}.json"
