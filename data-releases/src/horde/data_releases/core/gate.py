"""What may be in a release. The gate asserts again what the mesh has promised, from the record and the bytes."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from horde.data_releases.core.contact import find_contact_data
from horde.data_releases.core.records import SharedRecord, Verdict

WAITING: Final = frozenset({"undecided", "reported"})
"""Reasons that a moderator can take away: such an image is looked at again by the next release."""


class Reason(StrEnum):
    """Why something that was shared is not in a release."""

    WITHDRAWN = "withdrawn"
    INCOMPLETE = "incomplete"
    BAD_RECORD = "bad_record"
    NO_CONSENT = "no_consent"
    NOT_TEXT_TO_IMAGE = "not_text_to_image"
    DAMAGED = "damaged"
    UNSAFE = "unsafe"
    UNDECIDED = "undecided"
    REPORTED = "reported"
    CONTACT_DATA = "contact_data"
    DUPLICATE = "duplicate"
    SEEN_BEFORE = "seen_before"


EXPLANATIONS: Final = {
    Reason.WITHDRAWN: "its requester took it back before the release",
    Reason.INCOMPLETE: "a commit that broke off: never an image; what completed it has an entry of its own",
    Reason.BAD_RECORD: "its record cannot be read",
    Reason.NO_CONSENT: "its consent record is not whole",
    Reason.NOT_TEXT_TO_IMAGE: "it was painted from another image",
    Reason.DAMAGED: "its bytes are not those of its record, or are no picture",
    Reason.UNSAFE: "moderation found it unsafe",
    Reason.UNDECIDED: "moderation is not sure yet: it comes in a later release, when somebody has decided",
    Reason.REPORTED: "somebody reported it: it comes in a later release, when a moderator has decided that it may",
    Reason.CONTACT_DATA: "its prompt holds an address, a telephone number, a handle or a link",
    Reason.DUPLICATE: "the same bytes are in this or an earlier release already",
    Reason.SEEN_BEFORE: "a second entry of an image that is in this or an earlier release",
}
"""For people. Each image left out has one reason, the first that holds."""


def judge(
    record: SharedRecord, verdict: Verdict | None, *, contact_data: bool = False, unsure: bool = False
) -> Reason | None:
    """Why the image may not be in a release; None: it may.

    `contact_data` lets prompts with such in, `unsure` what moderation is not sure about.
    """
    if Verdict.UNSAFE in (verdict, record.verdict):
        return Reason.UNSAFE
    if verdict is Verdict.REPORTED:
        return Reason.REPORTED
    if not unsure and (verdict or record.verdict) is Verdict.UNSURE:
        return Reason.UNDECIDED
    if not contact_data and (find_contact_data(record.prompt) or find_contact_data(record.negative_prompt)):
        return Reason.CONTACT_DATA
    return None
