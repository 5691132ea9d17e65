"""The contract as OpenAPI: valid by somebody else's word, and whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from horde.web_door.v1.rules import rules

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[3] / "protos/gen/horde/api/openapi.json").read_text("utf-8")
)
OPERATIONS = {
    (verb.upper(), path): operation for path, item in DOCUMENT["paths"].items() for verb, operation in item.items()
}


def test_it_is_valid() -> None:
    validate(DOCUMENT)


def test_every_path_of_the_contract_is_in_it() -> None:
    assert {(rule.verb, rule.template.openapi) for rule in rules()} <= OPERATIONS.keys()


@pytest.mark.parametrize("key", sorted(OPERATIONS), ids=" ".join)
def test_every_operation_says_what_it_does(key: tuple[str, str]) -> None:
    assert OPERATIONS[key]["summary"].endswith(".")


def test_comments_of_the_contract_are_in_it() -> None:
    spec = DOCUMENT["components"]["schemas"]["horde.api.generation.v1.CreateGenerationRequest"]
    assert spec["properties"]["request_id"] == {"type": "string", "description": "A UUID, made by the client."}
    reasons = DOCUMENT["components"]["schemas"]["horde.api.generation.v1.GenerationErrorReason"]
    assert "GENERATION_NOT_FOUND`: NOT_FOUND; retry: never" in reasons["description"]
