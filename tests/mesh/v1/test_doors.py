"""One suite for both doors of HTTP: the web door, and Envoy by the file that operators use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from google.rpc import error_details_pb2
from tests.mesh.probing import small
from tests.mesh.v1.browsing import Browser, browsing
from tests.mesh.v1.calling import SMALL, Caller

from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.cli.local.mesh import LocalMesh, free_ports
from horde.cli.local.roles import Role
from horde.testkit.envoy import ENVOY, envoy_of_http
from horde.testkit.waiting import HANG_SECONDS, ticks

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="session")
def envoy(mesh: LocalMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Envoy in front of the same mesh."""
    if not ENVOY.exists():
        pytest.skip("no envoy")
    port, ports = free_ports()[Role.WEB_DOOR], mesh.layout.ports
    folder = tmp_path_factory.mktemp("envoy")
    with envoy_of_http(folder, port, gateway=ports[Role.GATEWAY], storage=ports[Role.STORAGE_ROUTER]):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session", params=["web door", "envoy"])
def base(request: pytest.FixtureRequest, mesh: LocalMesh) -> str:
    """Where one of the doors is."""
    return mesh.web if request.param == "web door" else str(request.getfixturevalue("envoy"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def door(base: str, rita: Caller) -> AsyncIterator[Caller]:
    """One of the doors, for somebody with an account."""
    async with httpx2.AsyncClient(base_url=base, timeout=HANG_SECONDS) as http:
        for _ in ticks():
            with contextlib.suppress(httpx2.TransportError):
                if (await http.get("/v1/mesh")).status_code == 200:
                    break
            await asyncio.sleep(0.1)
        yield Caller(http, rita.credential)


def reason_of(answer: httpx2.Response) -> str:
    """Why a call is refused: a member of a problem, or in the details of a status."""
    told = answer.json()
    for detail in told.get("details", ()):
        if detail["@type"].endswith("ErrorInfo"):
            return str(detail["reason"])
    return str(told.get("reason", ""))


async def watched(door: Caller, generation_id: str) -> list[dict[str, Any]]:
    """The data of all events of a watch."""
    path = f"/v1/generations/{generation_id}:watch"
    async with door.http.stream("GET", path, headers={"authorization": door.credential}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [json.loads(line[5:]) async for line in answer.aiter_lines() if line.startswith("data:")]


def body(prompt: str = "a fox") -> dict[str, Any]:
    return {
        "request_id": str(uuid.uuid4()),
        "spec": {"count": 1, "job": {"model": "paintbox", "image": {"prompt": prompt, **SMALL}}},
    }


async def test_a_picture_is_asked_for_and_watched_to_its_end(door: Caller) -> None:
    created = (await door.done("POST", "/v1/generations", body()))["generation"]
    events = await watched(door, created["generation_id"])
    assert "snapshot" in events[0]
    assert events[-1]["finished"]["images"][0]["ending"] == "JOB_ENDING_DONE"
    shown = await door.done("GET", f"/v1/generations/{created['generation_id']}?read_mask=generationId,finished")
    assert shown == {"generation": {"generation_id": created["generation_id"], "finished": True}}


async def test_a_picture_is_cancelled(door: Caller) -> None:
    created = (await door.done("POST", "/v1/generations", body("[hang]")))["generation"]
    await door.done("POST", f"/v1/generations/{created['generation_id']}:cancel", {})
    events = await watched(door, created["generation_id"])
    assert events[-1]["finished"]["images"][0]["ending"] == "JOB_ENDING_CANCELLED"


async def test_names_are_the_contracts_and_numbers_of_64_bits_are_texts(door: Caller) -> None:
    quote = (await door.done("POST", "/v1/generations:quote", {"spec": body()["spec"]}))["quote"]
    assert isinstance(quote["total_mkudos"], str)
    camel = {
        "spec": {"count": 1, "job": {"model": "paintbox", "image": {"negativePrompt": "x", "prompt": "y", **SMALL}}}
    }
    assert (await door.done("POST", "/v1/generations:quote", camel))["quote"]["total_mkudos"] == quote["total_mkudos"]


async def test_a_list_is_asked_for_by_its_query(door: Caller) -> None:
    for _ in range(2):
        await door.done("POST", "/v1/generations", body())
    page = await door.done("GET", "/v1/generations?page_size=1&model=paintbox")
    assert len(page["generations"]) == 1
    following = await door.call(
        "GET", f"/v1/generations?page_size=1&model=paintbox&page_token={page['next_page_token']}"
    )
    assert following.json()["generations"][0] != page["generations"][0]


async def test_a_name_may_hold_slashes(door: Caller) -> None:
    assert (await door.done("GET", "/v1/models/paintbox"))["model"]["name"] == "paintbox"
    answer = await door.call("GET", "/v1/models/some/body/else")
    assert (answer.status_code, reason_of(answer)) == (404, "MODEL_NOT_FOUND")


REFUSED: dict[str, tuple[str, str, object, int, str | None]] = {
    "wrong fields": ("POST", "/v1/generations:quote", {"spec": {"count": 99}}, 400, "INVALID_FIELD"),
    "not there": ("GET", f"/v1/generations/{uuid.uuid4()}", None, 404, "GENERATION_NOT_FOUND"),
    "not there to watch": ("GET", f"/v1/generations/{uuid.uuid4()}:watch", None, 404, "GENERATION_NOT_FOUND"),
    "a path that is none": ("GET", "/v1/nothing", None, 404, None),
    "an unknown field": ("POST", "/v1/generations:quote", {"sepc": {}}, 400, None),
    "an unknown query": ("GET", "/v1/generations?wat=1", None, 400, None),
    "a value that does not fit": ("POST", "/v1/generations:quote", {"spec": {"count": "many"}}, 400, None),
    "large": ("POST", "/v1/generations:quote", {"spec": {"job": {"model": "x" * 200_000}}}, 413, None),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_done_is_refused(name: str, door: Caller) -> None:
    verb, path, sent, status, reason = REFUSED[name]
    answer = await door.call(verb, path, sent)
    assert answer.status_code == status, answer.text
    assert reason is None or reason_of(answer) == reason


async def test_who_shows_nothing_or_nonsense_is_nobody(door: Caller) -> None:
    for credential, reason in (("", "CREDENTIALS_MISSING"), ("Basic x", "CREDENTIALS_MALFORMED")):
        answer = await door.by(credential).call("GET", "/v1/account")
        assert (answer.status_code, reason_of(answer)) == (401, reason)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def page(base: str, door: Caller) -> AsyncIterator[Browser]:
    """A page that speaks gRPC-Web."""
    async with browsing(base, ProtocolType.GRPC_WEB, door.credential) as made:
        yield made


async def test_a_page_speaks_grpc_web(page: Browser, door: Caller) -> None:
    created = (await door.done("POST", "/v1/generations", body()))["generation"]
    request = pb.WatchGenerationRequest(generation_id=created["generation_id"])
    events = [message.WhichOneof("event") async for message in page.stream("WatchGeneration", request)]
    assert (events[0], events[-1]) == ("snapshot", "finished")
    with pytest.raises(ConnectError) as caught:
        await page.call("QuoteGeneration", pb.QuoteGenerationRequest(spec=small("", count=99)))
    details = {detail.type_name: detail.message_bytes for detail in caught.value.details}
    assert error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"]).reason == "INVALID_FIELD"
