"""What of a request this service does not know.

A request is a wish: one that is not understood whole must not be granted in part. So whoever asks with a field that is
newer than this service, or that is none, is told so by its path, before anything is done.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from horde.services.errors import FieldViolation, InvalidArgument

MOST = 32
"""Fields that are named at most."""


class UnknownField(InvalidArgument):
    """The request holds fields that are not known here."""

    domain: ClassVar[str] = "mesh"
    reason: ClassVar[str] = "UNKNOWN_FIELD"


def unknown_fields(message: Message, root: str = "") -> list[str]:
    """The paths of all that a message, or one within it, holds and its type does not name."""
    found: list[str] = []
    _collect(message, root, found)
    return found


def refuse_unknown_fields(request: Message, root: str = "") -> None:
    """Raise UnknownField, which names them, if a message holds fields that are not known here."""
    found = unknown_fields(request, root)
    if found:
        raise UnknownField(violations=[FieldViolation(path, "is not known here") for path in found[:MOST]])


def _collect(message: Message, path: str, found: list[str]) -> None:
    dot = f"{path}." if path else ""
    newer: Any = UnknownFieldSet(message)
    found += [f"{dot}#{number}" for number in sorted({field.field_number for field in newer})]
    for name, repeated in _holders(message.DESCRIPTOR):
        if repeated:
            for index, item in enumerate(getattr(message, name)):
                _collect(item, f"{dot}{name}[{index}]", found)
        elif message.HasField(name):
            _collect(getattr(message, name), f"{dot}{name}", found)


@lru_cache(maxsize=1024)
def _holders(descriptor: Descriptor) -> tuple[tuple[str, bool], ...]:
    """The fields of a type that hold messages, and whether they hold several."""
    fields: Any = descriptor.fields
    return tuple((field.name, field.is_repeated) for field in fields if field.message_type is not None)
