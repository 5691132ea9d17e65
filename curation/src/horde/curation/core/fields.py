"""Whether a request makes sense: every field of it, and all that is wrong with it at once."""

from __future__ import annotations

import re
from collections.abc import Collection

from horde.services.errors import FieldViolation, InvalidArgument

MAX_PAGE_TOKEN_CHARACTERS = 512

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Fields:
    """What is wrong so far. `kind` is the error that says so."""

    def __init__(self, kind: type[InvalidArgument]) -> None:
        self._kind = kind
        self.found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        self.found.append(FieldViolation(field, description))

    def name(self, field: str, value: str) -> str:
        """An id, as images and jobs have: it may become a part of a key."""
        if not _NAME.fullmatch(value) or ".." in value:
            self.add(field, "is not an id" if value else "is missing")
        return value

    def text(self, field: str, value: str, most: int, *, required: bool = False) -> str:
        """Text for people."""
        if required and not value.strip():
            self.add(field, "is missing")
        elif len(value) > most:
            self.add(field, f"must have at most {most} characters, and has {len(value)}")
        elif _CONTROL.search(value):
            self.add(field, "must not contain control characters")
        return value

    def known(self, field: str, value: int, values: Collection[int]) -> int:
        """One of these values of an enum."""
        if value not in values:
            self.add(field, f"{value} is not one of its values that can be asked for here")
        return value

    def page(self, size: int, token: str, most: int, usual: int) -> int:
        """How many a page is to hold: `usual` for 0, at most `most`."""
        if size < 0:
            self.add("page_size", "must not be negative")
        if len(token) > MAX_PAGE_TOKEN_CHARACTERS:
            self.add("page_token", "is not one that was given out")
        return min(size or usual, most)

    def check(self) -> None:
        """Raise the error if anything is wrong."""
        if self.found:
            raise self._kind(violations=self.found)
