"""Requests in JSON: path, query and body become the one message that the RPC takes.

A request is a wish: what is not understood whole is not granted in part. So every name that the contract does not know
is refused by its path, and so is what is told twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from horde.services.errors import FieldViolation, InvalidArgument
from horde.services.unknown_fields import MOST, UnknownField
from horde.web_door.contract import Rpc
from horde.web_door.v1.rules import Rule

TEXTS: Final = frozenset(
    {
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "google.protobuf.FieldMask",
    }
)
"""Messages that JSON writes as a text."""
DEEPEST: Final = 32
_WRAPPED = re.compile(r"Failed to parse \S+ field: ")


def message_of(rule: Rule, values: Mapping[str, str], query: Iterable[tuple[str, str]], body: bytes) -> Message:
    """The request of a call; raises InvalidArgument or UnknownField, which name every field that is wrong."""
    kind: Any = rule.rpc.request.DESCRIPTOR
    reading = _Reading(kind)
    told = reading.checked(_body_of(rule, body), kind, "")
    for path, text in values.items():
        reading.put(told, path, [text])
    if rule.body == "*":
        # All that is not in the path is in the body: a query would be a second place for it.
        reading.unknown += [name for name, _ in query]
    else:
        texts: dict[str, list[str]] = {}
        for name, text in query:
            texts.setdefault(name, []).append(text)
        for name, several in texts.items():
            reading.put(told, name, several)
    reading.refuse(rule.rpc)
    return parsed(rule.rpc, told)


def parsed(rpc: Rpc, told: dict[str, Any]) -> Message:
    """The message of a JSON object whose names are known; raises InvalidArgument."""
    try:
        return json_format.ParseDict(told, rpc.request(), max_recursion_depth=DEEPEST)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _said(rpc, str(error)) from None


def json_of(body: bytes) -> object:
    """The value of a JSON text; raises InvalidArgument."""
    try:
        value = json.loads(body.decode(), parse_constant=_no_number, object_pairs_hook=_once)
        if b"\\u" in body:
            # What is half of a character is none, and no message can hold it.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"The body is not JSON: {str(error)[:200]}.") from None


def invalid(rpc: Rpc, violations: list[FieldViolation]) -> InvalidArgument:
    """Fields of a request that are wrong, in the words of the RPC's package."""
    error = InvalidArgument("Fields are wrong.", violations=violations[:MOST])
    if any(
        value.name.endswith("_INVALID_FIELD")
        for enum in rpc.service.file.enum_types_by_name.values()
        for value in enum.values
    ):
        vars(error).update(domain=rpc.package, reason="INVALID_FIELD")
    return error


def _body_of(rule: Rule, body: bytes) -> dict[str, Any]:
    if not rule.body:
        if body:
            raise InvalidArgument(f"A {rule.verb} of this path has no body.")
        return {}
    value = json_of(body) if body.strip() else {}
    if rule.body != "*":
        return {rule.body: value}
    if not isinstance(value, dict):
        raise InvalidArgument("The body must be a JSON object.")
    return value


@dataclass
class _Reading:
    """One request, as far as it is read."""

    root: Descriptor
    unknown: list[str] = field(default_factory=list)
    wrong: list[FieldViolation] = field(default_factory=list)

    def checked(self, value: Any, kind: Descriptor, path: str, depth: int = 0) -> Any:
        """The same value with the contract's own names; notes the names that it does not know."""
        if kind.full_name == "google.protobuf.FieldMask" and isinstance(value, str):
            return _mask(value)
        if not isinstance(value, dict) or kind.full_name in TEXTS or depth > DEEPEST:
            return value
        known: dict[str, Any] = {}
        for name, item in value.items():
            found = _field(kind, name)
            where = f"{path}.{name}" if path else name
            if found is None:
                self.unknown.append(where)
            elif found.name in known:
                self.wrong.append(FieldViolation(where, "is told twice"))
            else:
                known[found.name] = self._inside(item, found, where, depth)
        return known

    def _inside(self, value: Any, found: FieldDescriptor, path: str, depth: int) -> Any:
        kind = found.message_type
        if kind is None or kind.GetOptions().map_entry:
            return value
        if found.is_repeated and isinstance(value, list):
            return [self.checked(item, kind, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        return self.checked(value, kind, path, depth + 1)

    def put(self, told: dict[str, Any], path: str, texts: list[str]) -> None:
        """Put what the path or the query says of a field, which is named by its own path."""
        kind, place, *names = self.root, told, *path.split(".")
        for name in names[:-1]:
            found = _field(kind, name)
            if (
                found is None
                or found.is_repeated
                or found.message_type is None
                or found.message_type.full_name in TEXTS
            ):
                self.unknown.append(path)
                return
            kind, place = found.message_type, place.setdefault(found.name, {})
            if not isinstance(place, dict):
                self.wrong.append(FieldViolation(path, "is told twice"))
                return
        found = _field(kind, names[-1])
        if found is None or (found.message_type is not None and found.message_type.full_name not in TEXTS):
            self.unknown.append(path)
            return
        values = [_value(text, found) for text in texts]
        value = values if found.is_repeated else values[0]
        if (len(values) > 1 and not found.is_repeated) or place.get(found.name, value) != value:
            self.wrong.append(FieldViolation(path, "is told twice"))
        place[found.name] = value

    def refuse(self, rpc: Rpc) -> None:
        """Raise what was found to be wrong."""
        if self.unknown:
            raise UnknownField(violations=[FieldViolation(path, "is not known here") for path in self.unknown[:MOST]])
        if self.wrong:
            raise invalid(rpc, self.wrong)


def _field(kind: Descriptor, name: str) -> FieldDescriptor | None:
    found: FieldDescriptor | None = kind.fields_by_name.get(name) or kind.fields_by_camelcase_name.get(name)
    return found


def _value(text: str, found: FieldDescriptor) -> Any:
    """What a text in a path or a query is in JSON."""
    if found.type == FieldDescriptor.TYPE_BOOL:
        return {"true": True, "false": False}.get(text, text)
    if found.message_type is not None and found.message_type.full_name == "google.protobuf.FieldMask":
        return _mask(text)
    return text


def _mask(text: str) -> str:
    """Paths of fields as JSON's rules write them; the contract's own names are taken, too."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), text)


def _said(rpc: Rpc, message: str) -> InvalidArgument:
    """What is wrong with a field, of the words of the library, which say where."""
    names = re.findall(r"Failed to parse (\S+) field: ", message)
    what = _WRAPPED.sub("", message)
    what, _, where = what.partition(f" at {rpc.request.DESCRIPTOR.name}.")
    path = where.strip(" .") or ".".join(names)
    return invalid(rpc, [FieldViolation(path[:200], what.strip(" .")[:200])])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
