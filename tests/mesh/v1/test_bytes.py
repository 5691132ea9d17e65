"""Pictures out and inputs in, through the door."""

from __future__ import annotations

import base64
import hashlib
import uuid
from typing import Any

import pytest
from tests.mesh.probing import png
from tests.mesh.v1.calling import Caller, asked, nobody

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def painted(caller: Caller, **spec: Any) -> tuple[str, dict[str, Any]]:
    """The path of a picture, and what is told of it."""
    generation = await asked(caller, **spec)
    ended = await caller.finished(generation["generation_id"])
    image: dict[str, Any] = ended["images"][0]
    assert image["ending"] == "JOB_ENDING_DONE", image
    return f"/v1/generations/{generation['generation_id']}/images/{image['job_id']}", image


async def test_a_private_picture_is_whole_and_kept_by_nobody_on_the_way(rita: Caller) -> None:
    path, image = await painted(rita)
    answer = await rita.call("GET", path)
    assert answer.status_code == 200
    assert hashlib.sha256(answer.content).digest() == base64.b64decode(image["sha256"])
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["etag"] == f'"{base64.b64decode(image["sha256"]).hex()}"'
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    head = await rita.call("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == image["size_bytes"]


async def test_a_picture_that_is_known_is_not_sent_again(rita: Caller) -> None:
    path, _ = await painted(rita)
    etag = (await rita.call("HEAD", path)).headers["etag"]
    for tags in (etag, f'"other", W/{etag}'):
        again = await rita.call("GET", path, **{"if-none-match": tags})
        assert (again.status_code, again.content) == (304, b"")
    assert (await rita.call("GET", path, **{"if-none-match": '"other"'})).status_code == 200


async def test_a_part_of_a_picture(rita: Caller) -> None:
    path, _ = await painted(rita)
    whole = (await rita.call("GET", path)).content
    size = len(whole)
    for asked_for, first, end in (
        ("0-9", 0, 10),
        ("10-", 10, size),
        ("-5", size - 5, size),
        (f"7-{size * 2}", 7, size),
    ):
        part = await rita.call("GET", path, range=f"bytes={asked_for}")
        assert part.status_code == 206
        assert part.headers["content-range"] == f"bytes {first}-{end - 1}/{size}"
        assert part.content == whole[first:end]
    past = await rita.call("GET", path, range=f"bytes={size}-")
    assert (past.status_code, past.headers["content-range"]) == (416, f"bytes */{size}")
    for whole_again in (
        {"range": "bytes=0-1,5-6"},
        {"range": "lines=1-2"},
        {"range": "bytes=0-1", "if-range": '"old"'},
    ):
        assert (await rita.call("GET", path, **whole_again)).content == whole


async def test_a_shared_picture_may_be_kept_by_its_requesters_browser(rita: Caller) -> None:
    path, _ = await painted(rita, share=True)
    assert (await rita.call("GET", path)).headers["cache-control"] == "private, max-age=86400, immutable"


async def test_a_picture_is_its_requesters_or_whoever_has_its_ticket(rita: Caller) -> None:
    path, image = await painted(rita)
    status, problem = await rita.by(nobody()).refused("GET", path)
    assert (status, problem["reason"]) == (404, "GENERATION_NOT_FOUND")
    status, problem = await rita.refused("GET", path[:-1] + "?")
    assert (status, problem["reason"]) == (404, "IMAGE_NOT_FOUND")
    by_ticket = await rita.by("").call("GET", f"/v1/images/{image['download']['ticket']}")
    assert hashlib.sha256(by_ticket.content).digest() == base64.b64decode(image["sha256"])
    assert by_ticket.headers["cache-control"] == "private, no-store"
    status, problem = await rita.refused("GET", "/v1/images/nonsense")
    assert (status, problem["reason"]) == (401, "TOKEN_MALFORMED")


async def test_a_picture_is_painted_from_one_that_was_put(rita: Caller) -> None:
    content = png()
    input_id = str(uuid.uuid4())
    raw = await rita.http.put(f"/v1/inputs/{input_id}", content=content, headers={"authorization": rita.credential})
    assert raw.status_code == 200, raw.text
    stored = raw.json()["input"]
    assert base64.b64decode(stored["sha256"]) == hashlib.sha256(content).digest()
    # The same as a form: the same answer.
    form = await rita.http.post(
        f"/v1/inputs/{input_id}", files={"image": ("photo.png", content)}, headers={"authorization": rita.credential}
    )
    assert form.json() == raw.json()
    source = {"input_id": input_id, "sha256": stored["sha256"]}
    await painted(rita, image={"source_image": source, "denoising_strength": 0.5})


BAD_INPUTS = {
    "nothing": (b"", "image/png", 400),
    "text": (b"This is not a picture." * 100, "image/png", 400),
    "cut off": (png(256, 256)[:-40], "image/png", 400),
    "too large": (png() + bytes(17 * 1024 * 1024), "image/png", 413),
    "text that is long": (b"This is not a picture." * 400_000, "image/png", 400),
    "form without an end": (b"--x\r\n\r\nabc", "multipart/form-data; boundary=x", 400),
    "form without a boundary": (b"--x\r\n\r\nabc\r\n--x--", "multipart/form-data", 400),
    "form that is none": (b"abc", "multipart/form-data; boundary=x", 400),
    "form of two": (b"--x\r\n\r\na\r\n--x\r\n\r\nb\r\n--x--", "multipart/form-data; boundary=x", 400),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
async def test_a_bad_input_is_refused(name: str, rita: Caller) -> None:
    content, kind, status = BAD_INPUTS[name]
    headers = {"authorization": rita.credential, "content-type": kind}
    answer = await rita.http.put(f"/v1/inputs/{uuid.uuid4()}", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
