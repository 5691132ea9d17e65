"""Requests in JSON: what is understood becomes the message, and everything else is refused by name."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st

from horde.services.errors import InvalidArgument, ServiceError
from horde.services.unknown_fields import UnknownField
from horde.web_door.contract import rpcs
from horde.web_door.core.templates import Template
from horde.web_door.v1.reading import message_of
from horde.web_door.v1.rules import Routes, Rule, rules

PROTOS = Path(__file__).resolve().parents[3] / "protos"
ROUTES = Routes()
RULES = list(rules())


def read(verb: str, path: str, body: object = None, query: tuple[tuple[str, str], ...] = ()) -> Any:
    found = ROUTES.find(verb, path)
    assert found is not None, path
    return message_of(*found, query, b"" if body is None else json.dumps(body).encode())


def wrong(error: ServiceError) -> dict[str, str]:
    return {violation.field: violation.description for violation in error.violations}


def test_every_service_of_the_contract_is_known_here() -> None:
    named = {
        f"{path.relative_to(PROTOS).parent.as_posix().replace('/', '.')}.{line.split()[1]}"
        for path in (PROTOS / "horde" / "api").rglob("*.proto")
        for line in path.read_text("utf-8").splitlines()
        if line.startswith("service ")
    }
    assert {rpc.service.full_name for rpc in rpcs()} == named


def test_every_annotated_path_finds_its_own_rpc() -> None:
    for rule in RULES:
        path = rule.template.openapi.replace("{", "").replace("}", "")
        found = ROUTES.find(rule.verb, path)
        assert found is not None
        assert found[0].rpc.path == rule.rpc.path, path
        assert set(found[1]) == set(rule.template.fields)


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/v1/a/{b}", "/v1/a/x%2Fy", {"b": "x/y"}),
        ("/v1/a/{b}", "/v1/a/x/y", None),
        ("/v1/a/{b}", "/v1/a/", None),
        ("/v1/a/{b}:c", "/v1/a/x:c", {"b": "x"}),
        ("/v1/a/{b=**}", "/v1/a/x/y", {"b": "x/y"}),
        ("/v1/a/{b.c}", "/v1/a/x", {"b.c": "x"}),
        ("/v1/a/{b=c/*}/d", "/v1/a/c/x/d", {"b": "c/x"}),
        ("/v1/a/*/d", "/v1/a/c/d", {}),
    ],
)
def test_a_template_matches(template: str, path: str, values: dict[str, str] | None) -> None:
    assert Template(template).match(path) == values


def test_a_body_becomes_the_message_by_either_form_of_its_names() -> None:
    image = {"prompt": "a fox", "negativePrompt": "a dog", "width": 64}
    message = read("POST", "/v1/generations:quote", {"spec": {"count": 2, "job": {"image": image}}})
    assert message.spec.count == 2
    assert message.spec.job.image.negative_prompt == "a dog"


def test_a_query_becomes_the_message() -> None:
    query = (
        ("page_size", "7"),
        ("finished", "false"),
        ("read_mask", "generation_id,images.job_id"),
        ("accepted_after", "2026-11-26T00:00:00Z"),
        ("placement", "PLACEMENT_SHARED"),
    )
    message = read("GET", "/v1/generations", query=query)
    assert message.page_size == 7
    assert message.HasField("finished")
    assert list(message.read_mask.paths) == ["generation_id", "images.job_id"]
    assert message.accepted_after.seconds == 1_795_651_200
    assert message.placement == 2


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"sepc": {}}, {"sepc"}),
        (
            {"spec": {"job": {"image": {"loras": [{"name": "a"}, {"nmae": "b"}]}}}, "x": 1},
            {"spec.job.image.loras[1].nmae", "x"},
        ),
        ({"spec": {"job": {"vid€o": {}}}}, {"spec.job.vid€o"}),
    ],
)
def test_names_that_are_not_known_are_all_named(body: object, names: set[str]) -> None:
    with pytest.raises(UnknownField) as caught:
        read("POST", "/v1/generations:quote", body)
    assert set(wrong(caught.value)) == names


def test_a_query_of_what_has_a_body_is_not_known() -> None:
    with pytest.raises(UnknownField) as caught:
        read("POST", "/v1/generations:quote", {}, (("spec.count", "1"),))
    assert set(wrong(caught.value)) == {"spec.count"}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"spec": {"job": {"image": {"width": "wide"}}}}, "spec.job.image.width"),
        ({"spec": {"job": {"image": {"width": 1.5}}}}, "spec.job.image.width"),
        ({"spec": {"job": {"image": {"width": 2**40}}}}, "spec.job.image.width"),
        ({"spec": {"job": {"image": {"sampler": "SAMPLER_MAGIC"}}}}, "spec.job.image.sampler"),
        ({"spec": {"time_to_live": "soon"}}, "spec.time_to_live"),
        ({"spec": 3}, "spec"),
        ({"spec": {"denied_worker_ids": "me"}}, "spec.denied_worker_ids"),
        ({"spec": {"job": {"model": 3}}}, "spec.job.model"),
        ({"spec": {"count": 1}, "spec ": 1}, "spec "),
        (
            {"spec": {"job": {"image": {"negative_prompt": "a", "negativePrompt": "b"}}}},
            "spec.job.image.negativePrompt",
        ),
    ],
)
def test_a_value_that_does_not_fit_names_its_field(body: object, path: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read("POST", "/v1/generations:quote", body)
    assert set(wrong(caught.value)) == {path}
    assert caught.value.reason in ("INVALID_FIELD", "UNKNOWN_FIELD")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"3", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":"\\ud800"}', b"\xff", b"[" * 9999]
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    found = ROUTES.find("POST", "/v1/generations:quote")
    assert found is not None
    with pytest.raises(InvalidArgument):
        message_of(*found, (), body)


def test_a_body_where_there_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        read("DELETE", "/v1/generations/x", {})


def test_what_the_path_and_the_body_tell_differently_is_refused() -> None:
    assert read("POST", "/v1/generations/x:cancel", {"generation_id": "x"}).generation_id == "x"
    with pytest.raises(InvalidArgument) as caught:
        read("POST", "/v1/generations/x:cancel", {"generation_id": "y"})
    assert wrong(caught.value) == {"generation_id": "is told twice"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=6), inside, max_size=3),
    max_leaves=6,
)


def names(kind: Descriptor, depth: int = 3) -> Iterator[str]:
    for field in kind.fields:
        yield field.name
        if depth and field.message_type is not None:
            yield from (f"{field.name}.{name}" for name in names(field.message_type, depth - 1))


PATHS = {rule.rpc.path: sorted(set(names(rule.rpc.request.DESCRIPTOR))) or ["x"] for rule in RULES}  # type: ignore[arg-type]


@given(st.data())
def test_any_value_anywhere_is_taken_or_refused(data: st.DataObject) -> None:
    rule: Rule = data.draw(st.sampled_from(RULES))
    body: Any = {}
    for path in data.draw(st.lists(st.sampled_from(PATHS[rule.rpc.path]), max_size=3)):
        *parents, last = path.split(".")
        place = body
        for name in parents:
            inside = place.get(name)
            place[name] = place = inside if isinstance(inside, dict) else {}
        place[last] = data.draw(VALUES)
    query = data.draw(st.lists(st.tuples(st.sampled_from(PATHS[rule.rpc.path]), st.text(max_size=6)), max_size=2))
    text = json.dumps(body).encode() if rule.body else b""
    with contextlib.suppress(InvalidArgument):
        message_of(rule, dict.fromkeys(rule.template.fields, "x"), () if rule.body else query, text).SerializeToString()
