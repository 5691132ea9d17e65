"""Paths as the contract's annotations write them: `/v1/generations/{generation_id}:watch`, `/v1/models/{name=**}`.

The syntax is that of `google.api.http`: segments by slashes, `*` one segment, `**` the rest, `{field=pattern}` what is
bound to a field, and a verb after a colon at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

_PART = re.compile(r"\{(?P<field>[a-z0-9_.]+)(?:=(?P<pattern>[^}]+))?\}|(?P<star>\*\*?)|(?P<plain>[^{}*]+)")
_PATTERNS = {"*": "[^/]+", "**": ".+"}


@dataclass(frozen=True)
class Template:
    """A path with fields in it."""

    text: str

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The paths of the fields that stand in it."""
        return tuple(part["field"] for part in self._parts() if part["field"])

    @cached_property
    def rank(self) -> tuple[int, int]:
        """Lower comes first where several match: the one that says more by itself."""
        plain = sum(len(part["plain"] or "") for part in self._parts())
        return ("**" in self.text, -plain)

    @cached_property
    def openapi(self) -> str:
        """The path as OpenAPI writes it."""
        return re.sub(r"=[^}]+\}", "}", self.text)

    def match(self, path: str) -> Mapping[str, str] | None:
        """The fields' values in a path that is still percent-encoded; None where it is another path."""
        found = self._regex.fullmatch(path)
        if found is None:
            return None
        return {name: unquote(found[index]) for index, name in enumerate(self.fields, start=1)}

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        text = ""
        for part in self._parts():
            if part["field"]:
                text += f"({_pattern(part['pattern'] or '*')})"
            elif part["star"]:
                text += _PATTERNS[part["star"]]
            else:
                text += re.escape(part["plain"])
        return re.compile(text)

    def _parts(self) -> list[re.Match[str]]:
        parts = list(_PART.finditer(self.text))
        if "".join(part[0] for part in parts) != self.text:
            raise ValueError(f"{self.text} is no path template")
        return parts


def _pattern(text: str) -> str:
    return "/".join(_PATTERNS.get(segment) or re.escape(segment) for segment in text.split("/"))
