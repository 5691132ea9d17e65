"""Bringing a release home: by links and by nothing that leads out of its folder."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from horde.api.release.v1 import data_release_service_pb2 as pb
from horde.clients.errors import DamagedImage
from horde.clients.releases import Releases
from horde.clients.retrying import Attempts, Patience

DATA = b"rows" * 1_000


class Doors:
    """A gateway that lists these files."""

    gateway: Any = type("Channel", (), {"unary_unary": lambda *_, **__: None})()

    def __init__(self, *files: pb.ReleaseFile) -> None:
        self.files = files

    async def ask(self, method: Callable[..., Awaitable[Any]], request: object) -> pb.ListReleaseFilesResponse:
        return pb.ListReleaseFilesResponse(files=self.files)

    def attempts(self) -> Attempts:
        return Attempts(Patience())


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        if self.path.startswith("/expired/"):
            self.send_error(403, "AccessDenied: Request has expired")
        else:
            super().do_GET()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "x.tar").write_bytes(DATA)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def file(path: str, url: str, data: bytes = DATA) -> pb.ReleaseFile:
    return pb.ReleaseFile(path=path, url=url, size_bytes=len(data), sha256=hashlib.sha256(data).digest())


def releases(*files: pb.ReleaseFile) -> Releases:
    return Releases(Doors(*files))  # type: ignore[arg-type]


async def test_a_link_is_followed_once_and_what_is_whole_stays(server: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    pulled = releases(file("shards/00000.tar", f"{server}/x.tar"))
    assert await pulled.pull("a", home) == len(DATA)
    assert (home / "shards" / "00000.tar").read_bytes() == DATA
    assert await pulled.pull("a", home) == 0
    (home / "shards" / "00000.tar").write_bytes(b"damaged")
    assert await pulled.pull("a", home) == len(DATA)


async def test_a_link_that_has_expired_meanwhile_is_asked_for_again(server: str, tmp_path: Path) -> None:
    doors = Doors(file("x.tar", f"{server}/expired/x.tar"))
    ask = doors.ask

    async def ask_once(method: Callable[..., Awaitable[Any]], request: object) -> pb.ListReleaseFilesResponse:
        listed = await ask(method, request)
        # Links are made anew with each listing.
        doors.files = (file("x.tar", f"{server}/x.tar"),)
        return listed

    doors.ask = ask_once  # type: ignore[method-assign]
    assert await Releases(doors).pull("a", tmp_path / "home") == len(DATA)  # type: ignore[arg-type]


async def test_bytes_that_are_not_the_releases_are_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(DamagedImage):
        await releases(file("x", f"{server}/x.tar", b"x" * len(DATA))).pull("a", tmp_path / "home")
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "c:x", "a\\x"])
async def test_no_path_leads_out_of_the_folder(server: str, tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="leads out"):
        await releases(file(path, f"{server}/x.tar")).pull("a", tmp_path / "home")


async def test_a_link_that_is_none_is_not_followed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="link"):
        await releases(file("x", f"file://{tmp_path}/x")).pull("a", tmp_path / "home")
