"""Reads cases: a name and steps. A step is what a driver is asked to do and what must come of it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from horde.cli.conform.matching import Variables

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a driver does."""

    op: str
    arguments: Json
    """Of the operation, with variables (`$name`) still in it."""
    expect: Json = field(default_factory=dict)
    """What the answer must have in it."""
    error: Json | None = None
    """What the error must have in it; None: there must be none."""
    save: Mapping[str, str] = field(default_factory=dict)
    """Parts of the answer to keep as variables: name to path."""
    holds: Sequence[str] = ()
    """Invariants of `invariants.py` that must hold of the answer."""


@dataclass(frozen=True, slots=True)
class Case:
    """A sentence, and the steps that show whether it is true."""

    name: str
    steps: Sequence[Step]
    needs: frozenset[str] = frozenset()
    """`account`: registration is open. `worker`: somebody paints the model that the suite was given."""
    script: Json = field(default_factory=dict)
    """What the gateway of the kit does in this case; see `script.py`."""
    unsaid: str = ""
    """Why a door cannot say it, if so."""


_OF_A_STEP = ("expect", "error", "save", "holds")


def read_cases(name: str, door: str = "") -> list[Case]:
    """The cases of `mesh` or `sdk`, in their order; at a door with words of its own, in those."""
    table = _table(name)
    refused = [_refused(row) for row in table.get("refused", [])]
    cases = [*refused, *(_case(row) for row in table.get("case", []))]
    words = _table(door) if door else {}
    otherwise = {row["name"]: _case(row) for row in words.get("case", [])}
    unsaid: Mapping[str, str] = words.get("unsaid", {})
    if strange := {*otherwise, *unsaid} - {case.name for case in cases}:
        raise ValueError(f"{door}.toml names cases that there are not: {', '.join(sorted(strange))}")
    cases = [otherwise.get(case.name, case) for case in cases]
    return [replace(case, unsaid=unsaid.get(case.name, "")) for case in cases]


def _table(name: str) -> Json:
    return tomllib.loads((files(__package__) / f"{name}.toml").read_text("utf-8"))


def _case(row: Json) -> Case:
    steps = [_step(step) for step in row["steps"]]
    return Case(row["name"], steps, frozenset(row.get("needs", [])), row.get("script", {}))


def _step(row: Json) -> Step:
    arguments = {key: value for key, value in row.items() if key not in ("op", *_OF_A_STEP)}
    return Step(row["op"], arguments, **{key: row[key] for key in _OF_A_STEP if key in row})


def _refused(row: Json) -> Case:
    """A spec with something wrong: refused by quote and create alike, naming the field."""
    error = {"code": "INVALID_ARGUMENT", "reason": "INVALID_FIELD", "violations": [row["field"]]}
    if "reason" in row:
        error = {"code": row["code"], "reason": row["reason"]}
    arguments = {"as": row.get("as", "nobody"), "spec": row["spec"]}
    return Case(row["name"], [Step(op, arguments, error=error) for op in ("quote", "generate")])


def filled(base: Json, changes: Mapping[str, Any], variables: Variables) -> Json:
    """A spec: the usual one with changes by path, for example `{"job.image.width": 64}`. None takes a field out."""
    spec = deepcopy(base)
    for path, value in changes.items():
        *parents, last = path.split(".")
        target = spec
        for parent in parents:
            target = target.setdefault(parent, {})
        value = variables.fill(value)
        if value == "ABSENT":
            target.pop(last, None)
        elif isinstance(value, dict) and set(value) == {"repeat", "times"}:
            target[last] = value["repeat"] * value["times"]
        else:
            target[last] = value
    return spec
