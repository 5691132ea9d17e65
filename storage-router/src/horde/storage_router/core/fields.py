"""Collects what is wrong with the fields of one message, all of it."""

from __future__ import annotations

from datetime import UTC

from horde.services.errors import FieldViolation
from horde.storage_router.core.assembly import DIGEST_BYTES
from horde.storage_router.core.errors import InvalidField
from horde.storage_router.core.keys import is_name


class Fields:
    """Give it each field; ask at the end."""

    utc = UTC

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []

    def check(self, holds: bool, field: str, description: str) -> None:
        """Remember a field that is wrong."""
        if not holds:
            self._violations.append(FieldViolation(field, description))

    def name(self, field: str, value: str) -> str:
        """An id."""
        self.check(is_name(value), field, "is not an id")
        return value

    def digest(self, field: str, value: bytes) -> str:
        """A SHA-256, as lower-case hex."""
        self.check(len(value) == DIGEST_BYTES, field, f"must be {DIGEST_BYTES} bytes, not {len(value)}")
        return value.hex()

    def error(self) -> InvalidField | None:
        """The error that lists every wrong field, if there is one."""
        return InvalidField(violations=self._violations) if self._violations else None

    def raise_error(self) -> None:
        """Raise it."""
        if (error := self.error()) is not None:
            raise error
