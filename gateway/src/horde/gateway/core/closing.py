"""Ending an account: what is kept of it meanwhile, and the proof that it was exported first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from horde.gateway.core.credentials import Peppers

EXPORT_GOOD = timedelta(hours=1)
"""How long an export may be shown to have been made."""
EARLY = timedelta(minutes=1)
"""How far replicas' clocks may be apart."""
ANSWERED = timedelta(hours=1)
"""How long the one who ended an account may ask again what became of it."""


@dataclass(frozen=True, slots=True)
class Closing:
    """An account that its owner has ended: what is left of it until all else has gone. No name, no contact.

    `digest` and `pepper_id` are of the key that the wish came with, good for repeating the wish alone.
    """

    account_id: str
    api_key_id: str
    digest: bytes
    pepper_id: str
    export_id: str
    withdraw_shared: bool
    asked_at: datetime
    generations: int
    images: int
    images_withdrawn: int
    burned_mkudos: int | None = None
    """None: the ledger has not closed it yet."""
    forgotten: bool = False
    """Neither scheduler nor storage nor curation had anything left when they were asked last."""


class Exports:
    """Ids that prove, to any replica, that an account was exported and read to the end, and when. Nothing is kept."""

    def __init__(self, peppers: Peppers) -> None:
        self._peppers = peppers

    def issue(self, account_id: str, at: datetime) -> str:
        """The id of an export that was just read to its end."""
        seconds = str(int(at.timestamp()))
        return f"{seconds}-{self._peppers.mark(_text(account_id, seconds)).hex()}"

    def good(self, export_id: str, account_id: str, now: datetime) -> bool:
        """Whether this is an export of this account, of the last hour."""
        seconds, _, mark = export_id.partition("-")
        if not (len(export_id) <= 128 and seconds.isascii() and seconds.isdecimal() and _is_hex(mark)):
            return False
        age = now.timestamp() - int(seconds)
        in_time = -EARLY.total_seconds() <= age <= EXPORT_GOOD.total_seconds()
        return in_time and self._peppers.marked(_text(account_id, seconds), bytes.fromhex(mark))


def _text(account_id: str, seconds: str) -> bytes:
    return f"export/{account_id}/{seconds}".encode()


def _is_hex(text: str) -> bool:
    return len(text) == 64 and all(character in "0123456789abcdef" for character in text)
