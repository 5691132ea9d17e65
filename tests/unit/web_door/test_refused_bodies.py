"""Bodies that are refused before they take anybody's time, and refusals that nobody on the way keeps."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from horde.services.errors import NotFound
from horde.testkit.loopback import ManualClock
from horde.web_door.connect import Connect
from horde.web_door.door import Door
from horde.web_door.room import Room
from horde.web_door.settings import WebDoorSettings
from horde.web_door.v1.calling import MAX_JSON_BYTES
from horde.web_door.v1.forms import file_of
from horde.web_door.v1.problems import HttpProblem, refused, refused_by_http

PART = b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\npicture\r\n'


async def test_connect_reads_no_more_json_than_v1() -> None:
    mesh: Any = None  # Nobody is asked.
    connect = Connect(Door(WebDoorSettings(), mesh, ManualClock(), Room(2**24)))
    body = b'{"a": "' + b"x" * MAX_JSON_BYTES + b'"}'
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(connect), base_url="http://door") as browser:
        answer = await browser.post(
            "/horde.api.mesh.v1.MeshService/GetMesh", content=body, headers={"content-type": "application/json"}
        )
    assert answer.json()["code"] == "resource_exhausted", answer.text


def test_a_form_is_read_no_further_than_to_its_second_part() -> None:
    assert file_of(PART + b"--b--\r\n", "multipart/form-data; boundary=b") == b"picture"
    with pytest.raises(HttpProblem, match="must have one part"):
        file_of(PART + PART + b"--b\r\nthis is no head, and is not read", "multipart/form-data; boundary=b")
    with pytest.raises(HttpProblem, match="no whole form"):
        file_of(b"--b\r\nthis is no head", "multipart/form-data; boundary=b")


def test_a_refusal_is_kept_by_no_cache() -> None:
    told = refused_by_http(HttpProblem(405, "This path takes GET.", {"allow": "GET"}))
    assert (told.headers["cache-control"], told.headers["allow"]) == ("no-store", "GET")
    assert refused(NotFound()).headers["cache-control"] == "no-store"
