"""Models that are fetched: from a server of this machine that breaks, lies and forgets what it is told to."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from horde.worker_agent import downloads, library, stocking
from horde.worker_agent.core.catalogue import BadCatalogue, WantedFile, missing_room, wanted_files
from horde.worker_agent.downloads import CannotFetch, fetch, may_be_fetched
from horde.worker_agent.library import CannotAdd, Library
from horde.worker_agent.painters.choice import named_models
from horde.worker_agent.painters.models import find_models
from horde.worker_agent.settings import WorkerSettings

PAINTBOX = Path(library.__file__).parent / "models" / "paintbox"


class Server(ThreadingHTTPServer):
    """Files by path, and what goes wrong with them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.breaks_every = 0
        """Cut each answer off after so many bytes."""
        self.forgets_ranges = False
        self.status = 0
        self.asked: list[tuple[str, str]] = []
        """Paths and ranges."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path, wanted = self.path.lstrip("/"), self.headers.get("Range", "")
        if body:
            self.server.asked.append((path, wanted))
        content = self.server.files.get(path)
        if self.server.status or content is None:
            self.send_error(self.server.status or 404)
            return
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and not self.server.forgets_ranges else 0
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        if body:
            end = begin + self.server.breaks_every if self.server.breaks_every else len(content)
            self.wfile.write(content[begin:end])

    def log_message(self, format: str, *arguments: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as opened:
        thread = threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


@pytest.fixture
def paintbox(server: Server) -> Server:
    """A server that has a whole model."""
    for path in PAINTBOX.rglob("*"):
        if path.is_file():
            server.files[path.relative_to(PAINTBOX).as_posix()] = path.read_bytes()
    return server


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "FIRST_WAIT_SECONDS", 0.0)


CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("forgets", [False, True])
def test_a_download_that_breaks_goes_on_from_where_it_was(server: Server, tmp_path: Path, forgets: bool) -> None:
    server.files["a"] = CONTENT
    server.breaks_every = 0 if forgets else 3_000
    target = tmp_path / "a"
    (tmp_path / "a.part").write_bytes(CONTENT[:1_000])
    server.forgets_ranges = forgets
    fetch(server.url + "a", target, len(CONTENT), DIGEST)
    assert target.read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    ranges = [wanted for _, wanted in server.asked]
    assert ranges == ["bytes=1000-"] if forgets else ["bytes=1000-", "bytes=4000-", "bytes=7000-", "bytes=10000-"]
    server.asked.clear()
    fetch(server.url + "a", target, len(CONTENT), DIGEST)
    assert not server.asked


def test_what_an_earlier_run_left_of_another_file_costs_a_second_try(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT
    (tmp_path / "a.part").write_bytes(b"x" * 5_000)
    fetch(server.url + "a", tmp_path / "a", len(CONTENT), DIGEST)
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("served", "status", "words", "left"),
    [
        (CONTENT[:-1] + b"x", 0, "its sha256 is another", 0),
        (CONTENT + b"x", 0, "larger than the", 0),
        (CONTENT[:5_000], 0, "kept: try again later", 5_000),
        (CONTENT, 404, "404", 0),
        (CONTENT, 503, "503.*kept: try again later", 0),
    ],
    ids=["another file", "too long", "too short", "not there", "broken"],
)
def test_what_cannot_be_had_is_said_and_nothing_takes_its_place(
    server: Server, tmp_path: Path, served: bytes, status: int, words: str, left: int
) -> None:
    server.files["a"], server.status = served, status
    with pytest.raises(CannotFetch, match=words):
        fetch(server.url + "a", tmp_path / "a", len(CONTENT), DIGEST, sleep=lambda seconds: None)
    assert not (tmp_path / "a").exists()
    part = tmp_path / "a.part"
    assert not left or part.stat().st_size == left


def test_only_what_nobody_can_change_on_the_way_is_fetched() -> None:
    assert may_be_fetched("https://models.example/a.safetensors")
    assert may_be_fetched("http://127.0.0.1:8000/a")
    for url in ("http://models.example/a", "file:///etc/passwd", "ftp://models.example/a", "https+x://a/b"):
        assert not may_be_fetched(url)


def test_a_model_is_added_from_its_catalogue_served_and_removed(paintbox: Server, tmp_path: Path) -> None:
    models = Library(tmp_path / "models")
    paintbox.breaks_every = 4_000_000
    entry = models.add("box", paintbox.url + "catalogue.json")
    assert models.entries() == [entry]
    settings = WorkerSettings(api_key="x", name="anna", state_dir=tmp_path, models="other=/m/other")  # type: ignore[arg-type]
    assert named_models(settings) == f"other=/m/other,box={tmp_path / 'models' / 'box'}"
    (found,) = find_models(models.setting(), tmp_path).models
    assert (found.name, found.guidance_scale) == ("box", 3.0)
    # Again: nothing is fetched but the catalogue.
    paintbox.asked.clear()
    assert models.add("box", paintbox.url + "catalogue.json") == entry
    assert [path for path, _ in paintbox.asked] == ["catalogue.json"]
    models.remove("box")
    assert not models.entries()
    assert not (tmp_path / "models" / "box").exists()


def test_a_model_that_lies_elsewhere_is_named_and_stays_when_it_is_removed(tmp_path: Path) -> None:
    folder = shutil.copytree(PAINTBOX, tmp_path / "mine")
    models = Library(tmp_path / "models")
    assert models.add("mine", str(folder)).place == str(folder)
    with pytest.raises(CannotAdd, match="there is a model mine already"):
        models.add("mine", str(PAINTBOX))
    models.remove("mine")
    assert folder.is_dir()


def test_what_its_owner_put_among_the_models_by_himself_stays_when_it_is_removed(tmp_path: Path) -> None:
    folder = shutil.copytree(PAINTBOX, tmp_path / "models" / "mine")
    models = Library(tmp_path / "models")
    models.add("mine", str(folder))
    models.remove("mine")
    assert not models.entries()
    assert (folder / "model_index.json").is_file()


def test_what_a_broken_try_has_brought_needs_no_room_a_second_time(paintbox: Server, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    Library(folder).add("box", paintbox.url + "catalogue.json")
    weights = max((folder / "box").rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    weights.rename(downloads.part_of(weights))
    # All of it is here, so it may take what it takes now and no more.
    taken = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert Library(folder, taken).add("box", paintbox.url + "catalogue.json")
    assert weights.is_file()


def test_one_file_is_fetched_by_its_digest(paintbox: Server, tmp_path: Path) -> None:
    weights = (PAINTBOX / "text_encoder" / "model.safetensors").read_bytes()
    url = paintbox.url + "text_encoder/model.safetensors"
    models = Library(tmp_path / "models")
    with pytest.raises(CannotAdd, match="give its --sha256"):
        models.add("one", url)
    with pytest.raises(CannotAdd, match="its sha256 is another"):
        models.add("one", url, DIGEST)
    place = Path(models.add("one", url, hashlib.sha256(weights).hexdigest()).place)
    assert place.read_bytes() == weights
    # A model's folder has the name that the file of another has.
    with pytest.raises(CannotAdd, match=r"one\.safetensors is where the model one lies"):
        models.add("one.safetensors", paintbox.url + "catalogue.json")
    assert [entry.name for entry in models.entries()] == ["one"]
    models.remove("one")
    assert not place.exists()


def broken_off(server: Server, models: Library, name: str = "box") -> None:
    """A download that ends in the middle of a file."""
    weights = max((path for path in server.files if path.endswith(".safetensors")), key=lambda p: len(server.files[p]))
    content = server.files[weights]
    server.files[weights] = content[:1_000_000]
    with pytest.raises(CannotAdd, match="What has come is kept"):
        models.add(name, server.url + "catalogue.json")
    server.files[weights] = content


def taken(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.parent != folder)


def last_changed(folder: Path, day: float) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (day * 86_400, day * 86_400))


def test_what_a_broken_download_brought_is_listed_not_served_and_goes_on_or_goes(
    paintbox: Server, tmp_path: Path
) -> None:
    models = Library(tmp_path / "models")
    broken_off(paintbox, models)
    (part,) = models.entries()
    shown = models.described(part)
    assert (part.name, part.whole, models.setting()) == ("box", False, "")
    assert shown["bytes"] == taken(tmp_path / "models") >= 1_000_000
    assert "kept_days" in shown
    with pytest.raises(CannotAdd, match="there is a model box already"):
        models.add("box", str(PAINTBOX))
    assert models.add("box", paintbox.url + "catalogue.json").whole
    assert models.setting() == f"box={tmp_path / 'models' / 'box'}"

    broken_off(paintbox, models, "second")
    models.remove("second")
    assert [entry.name for entry in models.entries()] == ["box"]
    assert not (tmp_path / "models" / "second").exists()


def test_what_a_broken_download_brought_goes_by_itself_after_a_week(paintbox: Server, tmp_path: Path) -> None:
    models = Library(tmp_path / "models", now=lambda: 100 * 86_400.0)
    broken_off(paintbox, models)
    last_changed(tmp_path / "models", 93.1)
    models.forget_old()
    assert taken(tmp_path / "models")
    last_changed(tmp_path / "models", 92.9)
    models.forget_old()
    assert not models.entries()
    assert not taken(tmp_path / "models")


def test_what_came_in_part_makes_room_for_what_is_asked_for(
    paintbox: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    room = sum(map(len, paintbox.files.values()))
    models = Library(tmp_path / "models", room + 500_000)
    broken_off(paintbox, models, "first")
    assert models.add("second", paintbox.url + "catalogue.json")
    assert [entry.name for entry in models.entries()] == ["second"]
    assert "first has come in part only, and makes room" in capsys.readouterr().err


def test_what_is_whole_and_no_model_leaves_nothing(paintbox: Server, tmp_path: Path) -> None:
    catalogue = json.loads(paintbox.files["catalogue.json"])
    catalogue["files"] = [file for file in catalogue["files"] if file["path"] != "model_index.json"]
    paintbox.files["catalogue.json"] = json.dumps(catalogue).encode()
    models = Library(tmp_path / "models")
    with pytest.raises(CannotAdd, match="has no model_index"):
        models.add("box", paintbox.url + "catalogue.json")
    assert not models.entries()
    assert not taken(tmp_path / "models")


def test_nothing_is_taken_away_while_it_is_fetched(paintbox: Server, tmp_path: Path) -> None:
    models = Library(tmp_path / "models", now=lambda: 100 * 86_400.0)
    broken_off(paintbox, models)
    last_changed(tmp_path / "models", 90)
    with FileLock(tmp_path / "models" / library.FETCHING):
        with pytest.raises(CannotAdd, match="a model is being fetched"):
            models.remove("box")
        models.forget_old()
    assert [entry.name for entry in models.entries()] == ["box"]


def test_files_that_cannot_be_deleted_are_served_no_more_and_stay_listed(
    paintbox: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Library(tmp_path / "models")
    models.add("box", paintbox.url + "catalogue.json")

    def in_use(path: Path) -> None:
        raise PermissionError("in use")

    with monkeypatch.context() as patched, pytest.raises(CannotAdd, match="cannot be deleted now: in use"):
        patched.setattr(shutil, "rmtree", in_use)
        models.remove("box")
    assert not models.setting()
    assert [entry.name for entry in models.entries()] == ["box"]
    models.remove("box")
    assert not models.entries()


def broken(change: Callable[[dict[str, Any]], None]) -> Callable[[Server], None]:
    def apply(server: Server) -> None:
        catalogue = json.loads(server.files["catalogue.json"])
        change(catalogue)
        server.files["catalogue.json"] = json.dumps(catalogue).encode()

    return apply


def of_first(**fields: Any) -> Callable[[Server], None]:
    return broken(lambda catalogue: catalogue["files"][0].update(fields))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (of_first(path="../outside.json"), "no path within"),
        (of_first(path="/etc/passwd"), "no path within"),
        (of_first(path="C:\\x.json"), "no path within"),
        (of_first(path="unet/run.py"), "may run something"),
        (of_first(path="unet/model.bin"), "may run something"),
        (of_first(sha256="short"), "without a path or a sha256"),
        (of_first(bytes=True), "how large"),
        (of_first(bytes=1 << 50), "how large"),
        (broken(lambda catalogue: catalogue.update(files=[])), "lists no files"),
        (broken(lambda catalogue: catalogue["files"].append(catalogue["files"][0])), "twice"),
        (lambda server: server.files.update({"catalogue.json": b"<html>"}), "is no catalogue"),
        (lambda server: server.files.update({"catalogue.json": b"[]"}), "lists no files"),
        (lambda server: server.files.update({"catalogue.json": b" " * (2 << 20)}), "larger than"),
        (lambda server: server.files.clear(), "404"),
    ],
)
def test_a_catalogue_that_asks_for_what_must_not_be_fetches_nothing(
    paintbox: Server, tmp_path: Path, spoil: Callable[[Server], None], words: str
) -> None:
    spoil(paintbox)
    models = Library(tmp_path / "models")
    with pytest.raises(CannotAdd, match=words):
        models.add("box", paintbox.url + "catalogue.json")
    assert not models.entries()
    assert {path for path, _ in paintbox.asked} == {"catalogue.json"}
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {library.FETCHING}


@pytest.mark.parametrize(
    ("name", "place", "sha256", "words"),
    [
        ("a b", "/m", "", "is no name"),
        ("library.json", "/m", "", "take another name"),
        ("Lock", "/m", "", "take another name"),
        ("a", "/no/such/folder", "", "is not here"),
        ("a", "/m=x", "", "cannot be named"),
        ("a", "http://models.example/catalogue.json", "", "only https"),
        ("a", "https://models.example/a.safetensors", "xyz", "is no sha256"),
    ],
)
def test_what_cannot_be_a_model_is_said(tmp_path: Path, name: str, place: str, sha256: str, words: str) -> None:
    with pytest.raises(CannotAdd, match=words):
        Library(tmp_path / "models").add(name, place, sha256)


def test_models_take_no_more_of_the_disk_than_their_owner_lets_them(paintbox: Server, tmp_path: Path) -> None:
    with pytest.raises(CannotAdd, match=r"it needs 11 MiB; models take 0 MiB already, and may take 10 MiB"):
        Library(tmp_path / "models", 10 << 20).add("box", paintbox.url + "catalogue.json")
    wanted = [WantedFile("a", 100, DIGEST)]
    assert missing_room(wanted, kept=0, free=149, most=0, reserve=50) is not None
    assert missing_room(wanted, kept=0, free=150, most=100, reserve=50) is None


def test_a_list_that_is_damaged_is_named_and_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "library.json").write_text("{")
    with pytest.raises(CannotAdd, match=r"library\.json cannot be read"):
        Library(tmp_path).add("box", str(PAINTBOX))
    assert (tmp_path / "library.json").read_text() == "{"


def library_notes(capsys: pytest.CaptureFixture[str], words: list[str]) -> list[str]:
    capsys.readouterr()
    assert stocking.main(words) == 0
    return capsys.readouterr().err.splitlines()


def test_the_program_adds_lists_and_removes(
    paintbox: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HORDE_WORKER_API_KEY", "x")
    rest = ["--state-dir", str(tmp_path), "--name", "anna"]
    sha256 = hashlib.sha256(paintbox.files["catalogue.json"]).hexdigest()
    assert stocking.main(["add", "box", paintbox.url + "catalogue.json", "--sha256", sha256, *rest]) == 0
    assert stocking.main(["list", *rest, "--json"]) == 0
    assert [load["name"] for load in json.loads(capsys.readouterr().out.partition("\n")[2])] == ["box"]
    assert stocking.main(["remove", "box", *rest]) == 0
    assert stocking.main(["remove", "box", *rest]) == 1
    assert "there is no model box" in capsys.readouterr().err
    assert stocking.main(["add", "box", *rest]) == 2
    # What comes along goes when the first is added, and that is said; it can be kept.
    assert library_notes(capsys, ["add", "box", str(PAINTBOX), *rest]) == [
        "note: paintbox, which comes along, is served no more; `add paintbox` keeps it"
    ]
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "control").touch()
    assert library_notes(capsys, ["add", "paintbox", *rest]) == [
        "note: the worker that runs hears of it in a few seconds"
    ]
    settings = WorkerSettings(api_key="x", name="anna", state_dir=tmp_path)  # type: ignore[arg-type]
    assert [model.name for model in find_models(named_models(settings), tmp_path).models] == ["box", "paintbox"]
    assert stocking.main(["remove", "paintbox", *rest]) == 0
    assert "note: paintbox, which comes along, is served again" in library_notes(capsys, ["remove", "box", *rest])
    # Two models of one name, and the worker would not start any more.
    assert stocking.main(["add", "box", str(PAINTBOX), *rest, "--models", "other=/m,box=/m/box"]) == 1
    assert "the settings name a model box already" in capsys.readouterr().err


def test_a_catalogue_names_every_file_once() -> None:
    with pytest.raises(BadCatalogue):
        wanted_files({"files": "x"})
