"""The contract over HTTP, through a whole mesh: asked, watched, fetched and cancelled, as curl would."""

from __future__ import annotations

import uuid

import pytest
from tests.mesh.v1.calling import SMALL, Caller, asked, nobody

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_picture_is_asked_for_watched_and_shown(rita: Caller) -> None:
    generation = await asked(rita)
    path = f"/v1/generations/{generation['generation_id']}"
    names = []
    async for event in rita.events(f"{path}:watch"):
        names.append(event.name)
        assert list(event.data) == [event.name]
        last = event
    assert names[0] == "snapshot"
    assert names[-1] == "finished"
    assert last.id == "last"
    assert last.data["finished"]["images"][0]["ending"] == "JOB_ENDING_DONE"
    shown = await rita.done("GET", f"{path}?read_mask=generation_id,finished")
    assert shown == {"generation": {"generation_id": generation["generation_id"], "finished": True}}


async def test_after_the_end_there_is_nothing_to_watch_again(rita: Caller) -> None:
    generation = await asked(rita)
    await rita.finished(str(generation["generation_id"]))
    path = f"/v1/generations/{generation['generation_id']}:watch"
    assert (await rita.call("GET", path, **{"last-event-id": "last"})).status_code == 204
    again = [event.name async for event in rita.events(path, **{"last-event-id": "1"})]
    assert again[0] == "snapshot"
    assert again[-1] == "finished"


async def test_an_error_tells_its_reason_and_every_wrong_field(rita: Caller) -> None:
    body = {"spec": {"count": 99, "job": {"model": "m", "image": {"prompt": "", "width": 7}}}}
    status, problem = await rita.refused("POST", "/v1/generations:quote", body)
    assert (status, problem["reason"], problem["domain"]) == (400, "INVALID_FIELD", "horde.api.generation.v1")
    named = {violation["field"] for violation in problem["field_violations"]}
    assert {"spec.count", "spec.job.image.prompt", "spec.job.image.width"} <= named


async def test_what_is_somebody_elses_is_not_there(rita: Caller) -> None:
    generation = await asked(rita)
    status, problem = await rita.by(nobody()).refused("GET", f"/v1/generations/{generation['generation_id']}")
    assert (status, problem["reason"]) == (404, "GENERATION_NOT_FOUND")
    status, problem = await rita.by("").refused("GET", f"/v1/generations/{generation['generation_id']}")
    assert (status, problem["reason"]) == (401, "CREDENTIALS_MISSING")


async def test_the_same_key_has_one_effect(rita: Caller) -> None:
    model = (await rita.done("GET", "/v1/models"))["models"][0]["name"]
    spec = {"count": 1, "job": {"model": model, "image": {"prompt": "once", **SMALL}}}
    key = str(uuid.uuid4())
    told = [await rita.done("POST", "/v1/generations", {"spec": spec}, **{"idempotency-key": key}) for _ in range(2)]
    assert told[0]["generation"]["generation_id"] == told[1]["generation"]["generation_id"]
    spec["count"] = 2
    status, problem = await rita.refused("POST", "/v1/generations", {"spec": spec}, **{"idempotency-key": key})
    assert (status, problem["reason"], problem["metadata"]) == (409, "REQUEST_CONFLICT", {"field": "spec.count"})


async def test_cancelling_ends_it(rita: Caller) -> None:
    generation = await asked(rita, "[hang]")
    cancelled = await rita.done("POST", f"/v1/generations/{generation['generation_id']}:cancel")
    assert cancelled["generation"]["generation_id"] == generation["generation_id"]
    ended = await rita.finished(str(generation["generation_id"]))
    assert ended["images"][0]["ending"] == "JOB_ENDING_CANCELLED"


async def test_a_pass_opens_its_generation_alone(rita: Caller) -> None:
    model = (await rita.done("GET", "/v1/models"))["models"][0]["name"]
    body = {
        "request_id": str(uuid.uuid4()),
        "spec": {"count": 1, "job": {"model": model, "image": {"prompt": "passed", **SMALL}}},
    }
    answer = await rita.done("POST", "/v1/generations", body)
    holder, generation_id = rita.by(f"Pass {answer['pass_id']}"), answer["generation"]["generation_id"]
    assert (await holder.done("GET", f"/v1/generations/{generation_id}"))["generation"][
        "generation_id"
    ] == generation_id
    await holder.finished(generation_id)
    other = await asked(rita)
    assert (await holder.refused("GET", f"/v1/generations/{other['generation_id']}"))[0] == 404


async def test_the_contract_is_described_and_can_be_tried(rita: Caller) -> None:
    assert (await rita.call("GET", "/v1/")).json() == {"docs": "/v1/docs/", "openapi": "/v1/openapi.json"}
    document = await rita.call("GET", "/v1/openapi.json")
    assert document.json()["openapi"] == "3.1.0"
    page = await rita.call("GET", "/v1/docs/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for name in ("docs.js", "docs.css"):
        assert (await rita.call("GET", f"/v1/docs/{name}")).status_code == 200
    # A problem's type is a place on that page.
    _, problem = await rita.refused("GET", "/v1/generations/x")
    assert problem["type"].startswith("/v1/docs/#horde.api.")
