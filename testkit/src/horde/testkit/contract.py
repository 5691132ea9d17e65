"""What the contracts say about their errors, read from the words above each reason."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from google.rpc import code_pb2, error_details_pb2, status_pb2

from horde.services import status
from horde.services.errors import ServiceError

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
    line = " ".join(splitline.strip().removeprefix("//").strip() for splitline in comment.strip().splitlines())
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


def differences(status: status_pb2.Status, reasons: Mapping[tuple[str, str], Reason]) -> list[str]:
    """Where a refusal is not what the contract says of its reason. Bare codes and other domains are not looked at."""
    info, details = error_details_pb2.ErrorInfo(), set()
    for detail in status.details:
        name = detail.type_url.rpartition(".")[2]
        if name == "ErrorInfo":
            info.MergeFromString(detail.value)
        else:
            details.add(name)
    if not info.reason or info.domain not in {domain for domain, _ in reasons}:
        return []
    label = f"{info.domain}/{info.reason}"
    reason = reasons.get((info.domain, info.reason))
    if reason is None:
        return [f"{label} is not in the contract"]
    found, keys, code = [], set(info.metadata), code_pb2.Code.Name(status.code)
    if code != reason.code:
        found.append(f"{label} came as {code}, not {reason.code}")
    if missing := reason.metadata - keys:
        found.append(f"{label} lacks {sorted(missing)}")
    if more := keys - reason.metadata - reason.sometimes:
        found.append(f"{label} has {sorted(more)}, which the contract does not name")
    if details != reason.details:
        found.append(f"{label} came with {sorted(details)}, not {sorted(reason.details)}")
    return found


@contextmanager
def refusals_watched() -> Iterator[list[str]]:
    """Hold every refusal that is said within the block to the contract; what is not as it says."""
    reasons = {(reason.domain, reason.name): reason for reason in read_reasons()}
    say = status.to_status
    found: list[str] = []

    def watched(error: ServiceError) -> status_pb2.Status:
        refusal = say(error)
        if not error.remote:
            found.extend(differences(refusal, reasons))
        return refusal

    sayers = [module for name, module in sys.modules.items() if getattr(module, "to_status", None) is say]
    for module in sayers:
        module.to_status = watched  # type: ignore[attr-defined]
    try:
        yield found
    finally:
        for module in sys.modules.values():
            if getattr(module, "to_status", None) is watched:
                module.to_status = say  # type: ignore[attr-defined]
