"""Whether an answer has in it what a case expects. Pure.

Answers are protobuf's JSON with the contract's names, and languages differ in what they leave out: what is not there is
the same as zero, 64-bit numbers are text or numbers, bytes are base64.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, Final

ANYTHING: Final = "*"
"""Expects that something is there, whatever."""


class Variables:
    """What a case has kept, by name. A name that begins with `new` is a fresh UUID."""

    def __init__(self, **known: Any) -> None:
        self._known: dict[str, Any] = dict(known)

    def keep(self, name: str, value: Any) -> None:
        self._known[name] = value

    def fill(self, value: Any) -> Any:
        """The value with every text `$name` replaced by what is kept under the name. Raises KeyError."""
        if isinstance(value, str) and value.startswith("$"):
            name = value[1:]
            if name.startswith("new") and name not in self._known:
                self._known[name] = str(uuid.uuid4())
            return self._known[name]
        if isinstance(value, dict):
            return {key: self.fill(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self.fill(part) for part in value]
        return value


def at(answer: Any, path: str) -> Any:
    """What is at a path, for example `generation.images.0.seed`; None where there is nothing."""
    for part in path.split("."):
        if isinstance(answer, list) and part.isdigit() and int(part) < len(answer):
            answer = answer[int(part)]
        elif isinstance(answer, dict):
            answer = answer.get(part)
        else:
            return None
    return answer


def differences(expected: Any, answer: Any, path: str = "") -> Iterator[str]:
    """Every place where an answer is not as expected. More than what is expected may be there.

    Keys may be paths. Of a list every expected item must be there at its place. `{one_of = [...]}`: any of these.
    """
    if isinstance(expected, dict) and set(expected) == {"one_of"}:
        if not any(_same(value, answer) for value in expected["one_of"]):
            yield f"{path}: {answer!r} instead of one of {expected['one_of']!r}"
    elif isinstance(expected, dict):
        for key, value in expected.items():
            yield from differences(value, at(answer, key), f"{path}.{key}" if path else key)
    elif isinstance(expected, list) and expected and isinstance(answer, list):
        if len(answer) < len(expected):
            yield f"{path}: {len(answer)} items instead of {len(expected)}"
        for number, (value, part) in enumerate(zip(expected, answer, strict=False)):
            yield from differences(value, part, f"{path}.{number}")
    elif expected == ANYTHING:
        if _is_zero(answer):
            yield f"{path}: there is nothing"
    elif not _same(expected, answer):
        yield f"{path}: {answer!r} instead of {expected!r}"


def _is_zero(value: Any) -> bool:
    return value in (None, 0, "", "0", False, [], {}) or (isinstance(value, str) and value.endswith("_UNSPECIFIED"))


def _same(expected: Any, answer: Any) -> bool:
    if _is_zero(expected):
        return _is_zero(answer)
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        try:
            return not isinstance(answer, bool) and abs(float(answer) - expected) <= 1e-6 * abs(expected)
        except (TypeError, ValueError):
            return False
    return bool(expected == answer)
