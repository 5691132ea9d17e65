"""A part of a bucket's listing beside the same part of what was settled: which of them do not fit.

Both are in order and between the same two ids, so that one pass finds what is here without being settled, and what is
settled without being here. Nothing is decided yet: whatever does not fit is then looked at by itself, anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from horde.auditor.core.keys import ENDINGS
from horde.auditor.core.settled import Settled

Files = Mapping[str, int]
"""Of one image: the sizes in bytes of what lies there, by ending."""

TAIL_BYTES = 8 * 1024
"""What a folder may keep behind the bytes of a private image."""
SWEPT_AFTER = timedelta(hours=2)
"""How long a private image may outlive its time: a sweep looks every minute, and a bucket may be large."""


def odd_shared(listed: Mapping[str, Files], settled: Iterable[Settled]) -> set[str]:
    """Jobs whose files are not exactly an image of the settled size and format and its record."""
    odd: set[str] = set()
    known: set[str] = set()
    for image in settled:
        known.add(image.job_id)
        files = listed.get(image.job_id, {})
        if image.withdrawn or not image.shared:
            if files or not image.shared:
                odd.add(image.job_id)
        elif files.keys() != {"json", ENDINGS[image.format]} or files[ENDINGS[image.format]] != image.size_bytes:
            odd.add(image.job_id)
    return odd | (listed.keys() - known)


def odd_private(
    listed: Mapping[str, int], settled: Sequence[Settled], now: datetime
) -> tuple[set[str], set[str], set[str]]:
    """Names that lie there without being settled, that are settled and do not, and that should have been swept."""
    known = {image.object_name for image in settled if not image.withdrawn and (not image.shared or image.settling)}
    missing, overdue = set(), set()
    for image in settled:
        if image.settling or image.withdrawn or image.expires_at is None:
            continue
        size = listed.get(image.object_name)
        if size is None:
            if image.expires_at > now:
                missing.add(image.object_name)
        elif now > image.expires_at + SWEPT_AFTER:
            overdue.add(image.object_name)
        elif not image.size_bytes <= size <= image.size_bytes + TAIL_BYTES:
            missing.add(image.object_name)
    return listed.keys() - known, missing, overdue
