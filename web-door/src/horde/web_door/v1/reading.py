"""Requests in JSON: path, query and body become the one message that the RPC takes.

A request is a wish: what is not understood whole is not granted in part. So every name that the contract does not know
is refused by its path, and so is what is told twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NoReturn

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from horde.services.errors import FieldViolation, InvalidArgument
from horde.services.unknown_fields import MOST, UnknownField
from horde.web_door.contract import Rpc
from horde.web_door.v1.rules import Rule

MASK: Final = "google.protobuf.FieldMask"
DEEPEST: Final = 32
UNFIT: Final = (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError)
"""What the library raises for a value that no field can hold."""
_WHERE = re.compile(r"Failed to parse \S+ field: | at [A-Za-z]+(Request|\.)\S*")


def message_of(rule: Rule, values: Mapping[str, str], query: Iterable[tuple[str, str]], body: bytes) -> Message:
    """The request of a call; raises InvalidArgument or UnknownField, which name every field that is wrong."""
    kind: Any = rule.rpc.request.DESCRIPTOR
    reading = _Reading(kind)
    body_fields = reading.checked(_body_of(rule, body), kind, "")
    for path, text in values.items():
        reading.put(body_fields, path, [text])
    if rule.body == "*":
        # All that is not in the path is in the body: a query would be a second place for it.
        reading.unknown += [name for name, _ in query]
    else:
        texts: dict[str, list[str]] = {}
        for name, text in query:
            texts.setdefault(name, []).append(text)
        for name, several in texts.items():
            reading.put(body_fields, name, several)
    reading.refuse(rule.rpc)
    return _parsed(rule.rpc, body_fields)


def object_of(rpc: Rpc, value: object) -> Message:
    """A message that is a JSON value as a whole; raises as `message_of` does."""
    if not isinstance(value, dict):
        raise InvalidArgument("The message must be a JSON object.")
    kind: Any = rpc.request.DESCRIPTOR
    reading = _Reading(kind)
    fields = reading.checked(value, kind, "")
    reading.refuse(rpc)
    return _parsed(rpc, fields)


def _parsed(rpc: Rpc, fields: dict[str, Any]) -> Message:
    """The message of a JSON object whose names are known; raises InvalidArgument that names what does not fit."""
    try:
        return json_format.ParseDict(fields, rpc.request(), max_recursion_depth=DEEPEST)
    except UNFIT as error:
        kind: Any = rpc.request.DESCRIPTOR
        wrong = list(islice(_unfit(fields, kind, ""), MOST)) or [FieldViolation("", _words(error))]
        raise invalid(rpc, wrong) from None


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

    def checked(self, value: Any, kind: Descriptor, path: str) -> Any:
        """The same value with the contract's own names; notes the names that it does not know."""
        if not isinstance(value, dict):
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
                known[found.name] = self._inside(item, found, where)
        return known

    def _inside(self, value: Any, found: FieldDescriptor, path: str) -> Any:
        if found.message_type is not None and found.message_type.full_name == MASK and isinstance(value, str):
            return _mask(value)
        kind = _holds(found)
        if kind is None:
            return value
        if found.is_repeated and isinstance(value, list):
            return [self.checked(item, kind, f"{path}[{index}]") for index, item in enumerate(value)]
        return self.checked(value, kind, path)

    def put(self, fields: dict[str, Any], path: str, texts: list[str]) -> None:
        """Put what the path or the query says of a field, which is named by its own path."""
        kind, place, *names = self.root, fields, *path.split(".")
        for name in names[:-1]:
            found = _field(kind, name)
            inside = None if found is None or found.is_repeated else _holds(found)
            if found is None or inside is None:
                self.unknown.append(path)
                return
            kind, place = inside, place.setdefault(found.name, {})
            if not isinstance(place, dict):
                self.wrong.append(FieldViolation(path, "is told twice"))
                return
        found = _field(kind, names[-1])
        if found is None or _holds(found) is not None:
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


def _holds(found: FieldDescriptor) -> Descriptor | None:
    """The type of the objects that a field holds; None for one that JSON writes as anything else."""
    kind: Descriptor | None = found.message_type
    if kind is None or kind.GetOptions().map_entry or kind.full_name.startswith("google.protobuf."):
        return None
    return kind


def _value(text: str, found: FieldDescriptor) -> Any:
    """What a text in a path or a query is in JSON."""
    if found.type == FieldDescriptor.TYPE_BOOL:
        return {"true": True, "false": False}.get(text, text)
    if found.message_type is not None and found.message_type.full_name == MASK:
        return _mask(text)
    return text


def _mask(text: str) -> str:
    """Paths of fields as JSON's rules write them; the contract's own names are taken, too."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), text)


def _unfit(plain: Any, kind: Descriptor, path: str) -> Iterator[FieldViolation]:
    """Every field whose value is none of its type. Each is tried by itself: the library stops at the first and does not
    always say where it is."""
    if not isinstance(plain, dict):
        yield FieldViolation(path, "must be an object")
        return
    for name, value in plain.items():
        found, where = kind.fields_by_name[name], f"{path}.{name}" if path else name
        inside = _holds(found)
        if inside is None or value is None:
            try:
                json_format.ParseDict({name: value}, GetMessageClass(kind)(), max_recursion_depth=DEEPEST)
            except UNFIT as error:
                yield FieldViolation(where, _words(error))
        elif not found.is_repeated:
            yield from _unfit(value, inside, where)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from _unfit(item, inside, f"{where}[{index}]")
        else:
            yield FieldViolation(where, "must be a list")


def _words(error: Exception) -> str:
    """What the library says is wrong, without where."""
    return _WHERE.sub("", str(error)).strip(" .")[:200]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
