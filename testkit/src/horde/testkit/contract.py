"""What the contracts say about their errors, read from the words above each reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PROTOS = Path(__file__).resolve().parents[4] / "protos"
RETRIES = frozenset({"never", "changed", "same", "later"})
DETAILS = frozenset({"BadRequest", "RetryInfo"})

_ENUM = re.compile(r"^enum (\w+ErrorReason) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_VALUE = re.compile(r"((?:^  //[^\n]*\n)+)^  (\w+) = (\d+);", re.MULTILINE)
_FORM = re.compile(
    r"(?P<code>[A-Z_]+); retry: (?P<retry>\w+)"
    r"(?:; metadata: (?P<metadata>`[\w?]+`(?:, `[\w?]+`)*))?"
    r"(?:; details: (?P<details>\w+(?:, \w+)*))?\. ?(?P<words>.*)"
)


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason of an error, as its comment promises it."""

    domain: str
    name: str
    code: str
    retry: str
    metadata: frozenset[str]
    """Keys that are always there."""
    sometimes: frozenset[str]
    details: frozenset[str]
    words: str

    def __str__(self) -> str:
        return f"{self.domain}/{self.name}"


def read_reasons(protos: Path = PROTOS) -> list[Reason]:
    """Every reason of every contract. Raises ValueError for a comment that is not of the form that mesh.proto sets."""
    return [
        reason
        for path in sorted((protos / "horde").rglob("*.proto"))
        for reason in _reasons_of(path.read_text("utf-8"), path.relative_to(protos).as_posix())
    ]


def _reasons_of(text: str, path: str) -> list[Reason]:
    package = re.search(r"^package ([\w.]+);", text, re.MULTILINE)
    found = []
    for enum, body in _ENUM.findall(text):
        domain = "mesh" if enum == "MeshErrorReason" else package[1] if package else ""
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum).upper() + "_"
        values = _VALUE.findall(body)
        if len(values) < len(re.findall(r"^  \w+ = [1-9]\d*;", body, re.MULTILINE)):
            raise ValueError(f"{path}: a reason of {enum} has no comment")
        found += [
            _reason(domain, name.removeprefix(prefix), words, path) for words, name, number in values if number != "0"
        ]
    return found


def _reason(domain: str, name: str, comment: str, path: str) -> Reason:
    line = " ".join(each.strip().removeprefix("//").strip() for each in comment.strip().splitlines())
    form = _FORM.fullmatch(line)
    if form is None:
        raise ValueError(f"{path}: the comment of {name} is not of the form `CODE; retry: WHEN…`: {line}")
    keys = re.findall(r"`([\w?]+)`", form["metadata"] or "")
    return Reason(
        domain,
        name,
        form["code"],
        form["retry"],
        frozenset(key for key in keys if not key.endswith("?")),
        frozenset(key.removesuffix("?") for key in keys if key.endswith("?")),
        frozenset((form["details"] or "").split(", ")) - {""},
        form["words"],
    )
