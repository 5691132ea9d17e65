"""What browsers speak: Connect and gRPC-Web, with the library's own client, and calls from other origins."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from google.rpc import error_details_pb2
from tests.mesh.probing import small
from tests.mesh.v1.browsing import Browser, browsing
from tests.mesh.v1.calling import Caller, asked

from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.mesh.v1 import mesh_service_pb2
from horde.cli.local.mesh import LocalMesh

pytestmark = pytest.mark.asyncio(loop_scope="session")

GENERATIONS = "/horde.api.generation.v1.GenerationService"


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["CONNECT", "GRPC_WEB"])
async def browser(request: pytest.FixtureRequest, mesh: LocalMesh, rita: Caller) -> AsyncIterator[Browser]:
    async with browsing(mesh.web, ProtocolType[request.param], rita.credential) as made:
        yield made


async def test_one_question_has_one_answer(browser: Browser) -> None:
    answer = await browser.call("GetMesh", mesh_service_pb2.GetMeshRequest())
    assert answer.storage_address


async def test_a_picture_is_watched_to_its_end(browser: Browser, rita: Caller) -> None:
    generation = await asked(rita)
    watched = browser.stream("WatchGeneration", pb.WatchGenerationRequest(generation_id=generation["generation_id"]))
    events = [message.WhichOneof("event") async for message in watched]
    assert events[0] == "snapshot"
    assert events[-1] == "finished"


async def test_an_error_carries_all_its_details(browser: Browser) -> None:
    request = pb.QuoteGenerationRequest(spec=small("", count=99))
    with pytest.raises(ConnectError) as caught:
        await browser.call("QuoteGeneration", request)
    assert caught.value.code is Code.INVALID_ARGUMENT
    details = {detail.type_name: detail.message_bytes for detail in caught.value.details}
    info = error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"])
    assert (info.reason, info.domain) == ("INVALID_FIELD", "horde.api.generation.v1")
    bad = error_details_pb2.BadRequest.FromString(details["google.rpc.BadRequest"])
    assert {"spec.count", "spec.job.image.prompt"} <= {violation.field for violation in bad.field_violations}


async def test_a_stream_that_is_refused_says_why(browser: Browser) -> None:
    with pytest.raises(ConnectError) as caught:
        async for _ in browser.stream("WatchGeneration", pb.WatchGenerationRequest(generation_id="x")):
            pass
    assert caught.value.code in (Code.NOT_FOUND, Code.INVALID_ARGUMENT)
    assert {detail.type_name for detail in caught.value.details} >= {"google.rpc.ErrorInfo"}


async def test_what_operators_call_has_no_path_and_is_reached_by_its_name(rita: Caller) -> None:
    answer = await rita.call("POST", "/horde.api.moderation.v1.ModerationService/ListCases", {})
    assert answer.status_code == 403, answer.text
    assert answer.json()["code"] == "permission_denied"


async def test_json_is_read_as_under_v1(rita: Caller) -> None:
    answer = await rita.call("POST", f"{GENERATIONS}/QuoteGeneration", {"sepc": {}})
    assert answer.status_code == 400
    info = error_details_pb2.ErrorInfo.FromString(base64.b64decode(answer.json()["details"][0]["value"] + "=="))
    assert info.reason == "UNKNOWN_FIELD"
    listed = await rita.done("POST", f"{GENERATIONS}/ListGenerations", {"pageSize": 1, "read_mask": "generation_id"})
    assert listed.keys() <= {"generations", "next_page_token"}


BAD: dict[str, tuple[bytes, dict[str, str], int]] = {
    "gRPC itself": (b"", {"content-type": "application/grpc"}, 415),
    "no message": (b"\xff\xff", {"content-type": "application/proto"}, 400),
    "no JSON": (b"{", {"content-type": "application/json"}, 400),
    "unknown media type": (b"{}", {"content-type": "text/plain"}, 415),
    "larger than may be": (bytes(4 * 1024 * 1024 + 100), {"content-type": "application/proto"}, 413),
    "compressed nonsense": (b"abc", {"content-type": "application/proto", "content-encoding": "gzip"}, 400),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_call_is_refused(name: str, rita: Caller) -> None:
    content, headers, status = BAD[name]
    answer = await rita.http.post(
        f"{GENERATIONS}/QuoteGeneration", content=content, headers={"authorization": rita.credential, **headers}
    )
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("path", ["/v1/generations", f"{GENERATIONS}/CreateGeneration"])
async def test_pages_of_a_named_origin_may_call_and_others_may_not(path: str, rita: Caller) -> None:
    asking = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    allowed = await rita.call("OPTIONS", path, origin="https://page.example", **asking)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://page.example"
    refused = await rita.call("OPTIONS", path, origin="https://other.example", **asking)
    assert "access-control-allow-origin" not in refused.headers
    told = await rita.call("POST", path, {}, origin="https://page.example")
    assert "retry-after" in told.headers["access-control-expose-headers"].lower()
