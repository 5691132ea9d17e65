"""The table of bad input of the gRPC door, in the form of HTTP: the same refusals, nothing held, nothing stored."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from tests.mesh.probing import Buckets, small
from tests.mesh.test_bad_input import FIELDS
from tests.mesh.v1.calling import Caller

from horde.api.generation.v1.generation_pb2 import GenerationSpec
from horde.cli.local.mesh import LocalMesh

pytestmark = pytest.mark.asyncio(loop_scope="session")


def body_of(spec: GenerationSpec) -> dict[str, Any]:
    return {"spec": MessageToDict(spec, preserving_proto_field_name=True)}


async def balances(caller: Caller) -> Any:
    return (await caller.done("GET", "/v1/account"))["spend"]


@pytest.mark.parametrize("name", FIELDS)
async def test_a_wrong_field_is_named_and_nothing_is_left(name: str, rita: Caller) -> None:
    spec, field = FIELDS[name]
    before = await balances(rita)
    for path, body in (
        ("/v1/generations:quote", body_of(spec)),
        ("/v1/generations", {"request_id": str(uuid.uuid4()), **body_of(spec)}),
    ):
        status, problem = await rita.refused("POST", path, body)
        assert (status, problem["reason"]) == (400, "INVALID_FIELD")
        named = [violation["field"] for violation in problem["field_violations"]]
        assert any(each.startswith(field) for each in named), named
    assert await balances(rita) == before


BAD_CREDENTIALS = {
    "none": ("", "CREDENTIALS_MISSING"),
    "unknown key": ("Bearer 0123456789abcdefABCDEF", "API_KEY_UNKNOWN"),
    "malformed key": ("Bearer password", None),
    "empty key": ("Bearer", None),
    "no scheme": ("0123456789abcdefABCDEF", "CREDENTIALS_MALFORMED"),
    "another scheme": ("Basic dXNlcjpwYXNz", "CREDENTIALS_MALFORMED"),
    "short token": ("Anonymous abc", "CREDENTIALS_MALFORMED"),
    "token that is not hexadecimal": (f"Anonymous {'z' * 32}", "CREDENTIALS_MALFORMED"),
    "long": (f"Bearer {'x' * 5000}", "CREDENTIALS_MALFORMED"),
    "not ASCII": ("Bearer \xfc\xfc\xfc", "CREDENTIALS_MALFORMED"),
}


@pytest.mark.parametrize("name", BAD_CREDENTIALS)
async def test_a_bad_credential_is_refused_at_every_path(name: str, rita: Caller) -> None:
    credential, reason = BAD_CREDENTIALS[name]
    for verb, path, body in (
        ("POST", "/v1/generations", body_of(small("x"))),
        ("GET", f"/v1/generations/{uuid.uuid4()}:watch", None),
        ("GET", f"/v1/generations/{uuid.uuid4()}/images/x", None),
        ("GET", "/v1/account", None),
    ):
        headers = {b"authorization": credential.encode("latin-1")} if credential else {}
        answer = await rita.http.request(verb, path, json=body, headers=headers)
        assert answer.status_code == 401, answer.text
        assert answer.headers["www-authenticate"] == "Bearer"
        assert reason is None or answer.json()["reason"] == reason, answer.text


@pytest.mark.parametrize("request_id", ["", "not-a-uuid", "x" * 100_000])
async def test_a_request_id_must_be_a_uuid(request_id: str, rita: Caller) -> None:
    status, problem = await rita.refused("POST", "/v1/generations", {"request_id": request_id, **body_of(small("x"))})
    assert status in (400, 429), problem


REQUESTS: dict[str, tuple[str, str, bytes, int]] = {
    "a path that is none": ("GET", "/v1/nothing", b"", 404),
    "a path of another verb": ("DELETE", "/v1/generations:quote", b"", 405),
    "no JSON": ("POST", "/v1/generations:quote", b"{", 400),
    "a list": ("POST", "/v1/generations:quote", b"[]", 400),
    "a name twice": ("POST", "/v1/generations:quote", b'{"spec":{},"spec":{}}', 400),
    "half a character": ("POST", "/v1/generations:quote", b'{"\\ud800":1}', 400),
    "not UTF-8": ("POST", "/v1/generations:quote", b"\xff\xfe", 400),
    "deep": ("POST", "/v1/generations:quote", b'{"spec":' * 8_000 + b"1" + b"}" * 8_000, 400),
    "large": ("POST", "/v1/generations:quote", json.dumps({"x": "x" * 200_000}).encode(), 413),
    "larger than a message": ("POST", "/v1/generations:quote", bytes(5_000_000), 413),
    "a body where there is none": ("DELETE", f"/v1/generations/{uuid.uuid4()}", b"{}", 400),
    "an unknown query": ("GET", "/v1/generations?wat=1", b"", 400),
    "a query twice": ("GET", "/v1/generations?page_size=1&page_size=2", b"", 400),
    "a query of another type": ("GET", "/v1/generations?page_size=many", b"", 400),
    "a mask of what is not there": ("GET", "/v1/generations?read_mask=nothing", b"", 400),
    "NUL in a path": ("GET", "/v1/generations/%00", b"", 400),
    "half of UTF-8 in a path": ("GET", "/v1/generations/%ff", b"", 400),
    "a long path": ("GET", f"/v1/generations/{'x' * 10_000}", b"", 400),
    "up and away": ("GET", "/v1/docs/..%2f..%2fcalling.py", b"", 404),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_what_is_no_call_is_refused_as_a_problem(name: str, rita: Caller, mesh: LocalMesh) -> None:
    verb, path, body, status = REQUESTS[name]
    before = {file.name for file in Buckets(mesh).private}
    answer = await rita.http.request(verb, path, content=body, headers={"authorization": rita.credential})
    assert answer.status_code == status, answer.text
    if "docs" not in path:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
    assert {file.name for file in Buckets(mesh).private} == before
