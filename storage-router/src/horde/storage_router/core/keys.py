"""Names of objects. Every part of a key is checked: what comes from a token or a message cannot leave its folder."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

from horde.storage_router.core.pictures import ImageFormat

QUARANTINE = "quarantine/"
INPUTS = "inputs/"
CLAIMS = "claims/"
CLAIMED = "claimed/"
CLOSED = "closed/"
"""Where signs of closed leases lay once; an earlier release may still write there."""
IMAGES = "images/"
WITHDRAWN = "withdrawn/"
JOURNAL = "journal/"
WITHDRAWALS = "withdrawals/"
MODERATION = "moderation/"

ANONYMOUS = "anonymous:"
"""How the text form of a requester without an account begins."""

_ACCOUNT, _STRANGER = "account-", "stranger-"
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def is_name(text: str) -> bool:
    """Whether this may be a part of a key: letters, digits, and `.`, `_`, `:`, `-` after the first."""
    return _PART.fullmatch(text) is not None and ".." not in text


def _checked(part: str) -> str:
    if not is_name(part):
        raise ValueError(f"{part!r} cannot be a part of a key")
    return part


def quarantined(job_id: str, lease_id: str) -> str:
    """What a lease uploaded, or the sign that it is closed."""
    return f"{QUARANTINE}{_checked(job_id)}/{_checked(lease_id)}"


def private_image(object_name: str) -> str:
    """A committed private image."""
    return IMAGES + _checked(object_name)


def is_account(requester_part: str) -> bool:
    """Whether this part of a key is an account's."""
    return requester_part.startswith(_ACCOUNT)


def whose(requester: str) -> str:
    """The part of a key that is a requester's: which kind it is, and nothing else in clear. The scheduler computes it,
    too, for what workers are shown."""
    kind = _STRANGER if requester.startswith(ANONYMOUS) else _ACCOUNT
    return kind + hashlib.sha256(b"key " + requester.encode()).hexdigest()[:32]


def inputs_of(requester: str) -> str:
    """The folder of what a requester put in."""
    return f"{INPUTS}{whose(requester)}/"


def input_image(requester: str, input_id: str) -> str:
    """What a requester put in."""
    return input_in(whose(requester), input_id)


def input_in(part: str, input_id: str) -> str:
    """The same, by the part that tells whose it is."""
    return f"{INPUTS}{_checked(part)}/{_checked(input_id)}"


def requester_in(input_key: str) -> str:
    """The part that tells whose an input is."""
    return input_key.split("/")[1]


def claims_on(requester: str, input_id: str) -> str:
    """The folder of all claims on an input."""
    return claims_on_key(input_image(requester, input_id))


def claims_on_key(input_key: str) -> str:
    """The same, of an input's key."""
    return f"{CLAIMS}{input_key.removeprefix(INPUTS)}/"


def claim(requester: str, input_id: str, generation_id: str) -> str:
    """A generation's hold on an input."""
    return claims_on(requester, input_id) + _checked(generation_id)


def claimed(requester: str, input_id: str) -> str:
    """The sign that somebody has claimed an input."""
    return claimed_of_key(input_image(requester, input_id))


def claimed_of_key(input_key: str) -> str:
    """The same, of an input's key."""
    return CLAIMED + input_key.removeprefix(INPUTS)


def claimed_input(sign: str) -> str:
    """The input that a sign stands beside."""
    return INPUTS + sign.removeprefix(CLAIMED)


def shared_image(job_id: str, format: ImageFormat) -> str:
    """A shared image."""
    return f"{IMAGES}{_checked(job_id)}.{format.value}"


def shared_record(job_id: str) -> str:
    """What stands beside a shared image: how it was made, and the consent."""
    return f"{IMAGES}{_checked(job_id)}.json"


def moderation(job_id: str) -> str:
    """What moderation says of a shared image; written by the curation service."""
    return f"{MODERATION}{_checked(job_id)}.json"


def is_release_file(key: str) -> bool:
    """Whether this is the key of a file of a data release, in the bucket of releases."""
    first, *parts = key.split("/")
    return first == "releases" and len(parts) >= 2 and all(map(is_name, parts))


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
