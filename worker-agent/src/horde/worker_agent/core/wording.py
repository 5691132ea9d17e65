"""Messages for the owner, as gettext has them: English text is the name of a message, and what is shown without a
translation. Pure: `language` brings a catalogue in."""

from __future__ import annotations

from typing import Protocol


class Words(Protocol):
    """A language. `gettext.NullTranslations` and its kin are such."""

    def gettext(self, message: str, /) -> str: ...

    def ngettext(self, one: str, many: str, count: int, /) -> str: ...


class English:
    """Messages as they stand."""

    def gettext(self, message: str, /) -> str:
        return message

    def ngettext(self, one: str, many: str, count: int, /) -> str:
        return one if count == 1 else many


def mark(message: str) -> str:
    """The message itself: it is told as data, and translated where it is shown."""
    return message
