"""The page's files, as the door serves them; `tests/mesh/test_page.py` runs them in a browser."""

from __future__ import annotations

import re

import pytest
from tests.mesh.v1.calling import Caller

from horde.web_door.page import FILES

pytestmark = pytest.mark.asyncio(loop_scope="session")
IMPORT = re.compile(r'from "(\./\w+\.js)"')


async def test_every_file_is_served_with_headers_that_let_nothing_else_run(stranger: Caller) -> None:
    for path in ("", *(file.name for file in FILES.iterdir())):
        answer = await stranger.http.get(f"/{path}")
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = await stranger.http.get(f"/{path}", headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304


async def test_the_page_has_no_script_or_style_of_its_own_and_imports_only_what_is_there(stranger: Caller) -> None:
    page = (await stranger.http.get("/")).text
    assert re.findall(r"<script(?! type=.module. src=.main\.js.>)", page) == []
    assert "style=" not in page
    for file in FILES.glob("*.js"):
        for named in IMPORT.findall(file.read_text("utf-8")):
            assert (FILES / named).exists(), (file.name, named)


@pytest.mark.parametrize("path", ["/../app.py", "/%2e%2e/app.py", "/nothing.html", "/files"])
async def test_nothing_else_is_served(stranger: Caller, path: str) -> None:
    assert (await stranger.http.get(path)).status_code == 404
