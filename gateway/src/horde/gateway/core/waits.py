"""How often watchers hear how long it may still take: the least of what there is to say, and said of each queued image.

It is said where it is news, and the more seldom the more listen: so however many watch, all of it stays within a rate.
"""

from __future__ import annotations

from typing import Final

MESSAGES_A_SECOND: Final = 200
"""About waiting, to all watchers of a gateway together: each costs some tenths of a millisecond."""
NEWS: Final = 0.1
"""Of what was said before: by how much it must have changed."""

Outlook = tuple[int, float, float]
"""Workers that could do it, and seconds until it is begun: half of the time, and nine times of ten."""


class Waits:
    """What was said of the queued images of one generation."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, Outlook]] = {}

    def worth_saying(self, job_id: str, outlook: Outlook, now: float, watchers: int) -> bool:
        """Whether to say it now, a time in seconds, where so many watch here in all. Yes counts as said."""
        if (last := self._said.get(job_id)) is not None:
            at, before = last
            # Each image that it was said of may be news to each who watches.
            if now - at < len(self._said) * watchers / MESSAGES_A_SECOND or not _news(before, outlook):
                return False
        self._said[job_id] = now, outlook
        return True


def _news(before: Outlook, after: Outlook) -> bool:
    return before[0] != after[0] or any(
        abs(new - old) > NEWS * max(old, 1.0) for old, new in zip(before[1:], after[1:], strict=True)
    )
