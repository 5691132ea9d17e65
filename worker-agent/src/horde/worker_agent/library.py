"""The models of this machine: `python -m horde.worker_agent.library list`.

`list`, `add NAME PLACE [--sha256 HEX]`, `remove NAME`, then the worker's own options. A place is a folder, a
`.safetensors` file, or a URL of such a file (with its digest) or of a `catalogue.json`, which lists the model's files
with theirs. What is added is served from the worker's next start. Ends with 1 if that cannot be done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urljoin

from filelock import FileLock

from horde.services.settings import load_or_exit
from horde.worker_agent.core.catalogue import (
    MAX_BYTES,
    NAME,
    SHA256,
    BadCatalogue,
    WantedFile,
    mib,
    missing_room,
    wanted_files,
)
from horde.worker_agent.downloads import CannotFetch, fetch, fetch_text, may_be_fetched, part_of, size_of
from horde.worker_agent.outcomes import make_private
from horde.worker_agent.painters.models import BadModel, find_models
from horde.worker_agent.painters.weights import BadWeights
from horde.worker_agent.settings import WorkerSettings, find_config

FILE = "library.json"
LOCK = "lock"
RESERVE_BYTES = 2 << 30
"""Of the disk, that models never take: pictures must find room to wait, and so must the rest of the machine."""
SAY_SECONDS = 1.0


class CannotAdd(Exception):
    """A model cannot be added or removed; the message says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the library."""

    name: str
    place: str
    origin: str
    """Where it came from: a URL, or the place itself."""


class Library:
    """A folder of models, and a list of those that lie elsewhere."""

    def __init__(self, folder: Path, most_bytes: int = 0) -> None:
        self._folder = folder
        self._most = most_bytes

    def entries(self) -> list[Entry]:
        """The models, by name. Raises CannotAdd where the list cannot be read."""
        try:
            entries = json.loads((self._folder / FILE).read_text("utf-8"))
            return [Entry(**entry) for entry in entries]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise CannotAdd(f"{self._folder / FILE} cannot be read: {error}") from error

    def setting(self) -> str:
        """As the setting `models` names them."""
        return ",".join(f"{entry.name}={entry.place}" for entry in self.entries())

    def add(self, name: str, place: str, sha256: str = "") -> Entry:
        """Take a model in, fetched if need be. What a broken try has brought is used by the next. Raises CannotAdd."""
        if not NAME.fullmatch(name):
            raise CannotAdd(f"{name!r} is no name: letters, digits, '-', '_' and '.'")
        if name.lower() in (FILE, LOCK):
            raise CannotAdd(f"{name} is what a file of this list is called: take another name")
        if sha256 and not SHA256.fullmatch(sha256):
            raise CannotAdd(f"{sha256!r} is no sha256: 64 hexadecimal digits")
        make_private(self._folder)
        with self._alone():
            known = {entry.name: entry for entry in self.entries()}
            if name in known and known[name].origin != place:
                raise CannotAdd(f"there is a model {name} already, from {known[name].origin}: remove it first")
            try:
                lies_at = self._fetched(name, place, sha256) if "://" in place else Path(place).expanduser().absolute()
                if "," in str(lies_at) or "=" in str(lies_at):
                    raise CannotAdd(f"{lies_at}: a path with ',' or '=' cannot be named in the settings")
                if not lies_at.exists():
                    raise CannotAdd(f"{lies_at} is not here")
                find_models(f"{name}={lies_at}", self._folder)
            except (BadCatalogue, BadModel, BadWeights, CannotFetch, OSError) as error:
                raise CannotAdd(f"{place}: {error}") from error
            entry = Entry(name, str(lies_at), place)
            self._write([*(kept for kept in known.values() if kept.name != name), entry])
        return entry

    def remove(self, name: str) -> Entry:
        """Strike a model off; its files go too, if they were fetched. Raises CannotAdd."""
        make_private(self._folder)
        with self._alone():
            found = [entry for entry in self.entries() if entry.name == name]
            if not found:
                raise CannotAdd(f"there is no model {name}")
            self._write([entry for entry in self.entries() if entry.name != name])
            place = Path(found[0].place)
            # What its owner put into this folder by himself is his.
            if "://" in found[0].origin and place.parent == self._folder.absolute():
                if place.is_dir():
                    shutil.rmtree(place)
                else:
                    place.unlink(missing_ok=True)
        return found[0]

    def _fetched(self, name: str, url: str, sha256: str) -> Path:
        if not may_be_fetched(url):
            raise CannotAdd(f"{url}: only https, or http of this machine")
        if url.split("?")[0].endswith(".safetensors"):
            if not sha256:
                raise CannotAdd(f"{url}: give its --sha256, or nobody knows whether it is the right file")
            wanted = [WantedFile(f"{name}.safetensors", size_of(url), sha256)]
            urls, target = {wanted[0].path: url}, self._folder.absolute()
        else:
            content = fetch_text(url)
            if sha256 and hashlib.sha256(content).hexdigest() != sha256:
                raise CannotAdd(f"{url} is not the catalogue that was named: its sha256 is another")
            try:
                wanted = wanted_files(json.loads(content))
            except ValueError as error:
                raise CannotAdd(f"{url} is no catalogue, and no .safetensors file: {error}") from error
            urls, target = {file.path: urljoin(url, file.path) for file in wanted}, self._folder.absolute() / name
        # What a broken try has brought takes its room already.
        left = [
            replace(file, bytes=max(0, file.bytes - _bytes_at(part_of(target / file.path))))
            for file in wanted
            if _bytes_at(target / file.path) != file.bytes
        ]
        free = shutil.disk_usage(self._folder).free
        if why := missing_room(left, self._taken(), free, self._most, RESERVE_BYTES):
            raise CannotAdd(f"{url}: {why}")
        for wanted_file in wanted:
            fetch(
                urls[wanted_file.path],
                target / wanted_file.path,
                wanted_file.bytes,
                wanted_file.sha256,
                _Telling(f"{name}: {wanted_file.path}"),
            )
        if len(wanted) == 1 and target == self._folder.absolute():
            return target / wanted[0].path
        (target / "catalogue.json").write_bytes(content)
        return target

    def _taken(self) -> int:
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())

    def _write(self, entries: Sequence[Entry]) -> None:
        fresh = self._folder / f"{FILE}.new"
        fresh.write_text(json.dumps([asdict(entry) for entry in entries], indent=2), "utf-8")
        fresh.replace(self._folder / FILE)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two that add at once would each forget the other's."""
        with FileLock(self._folder / LOCK):
            yield


def _bytes_at(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


class _Telling:
    """Says now and then how far a file is."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = self._told = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, size: int) -> None:
        now = time.monotonic()
        self._first = done if self._first is None else self._first
        if now - self._told < SAY_SECONDS:
            return
        self._told = now
        rate = max(1.0, (done - self._first) / max(1e-3, now - self._began))
        left = (size - done) / rate
        sys.stderr.write(f"{self._what}  {100 * done // max(1, size)} % of {mib(size)}, {left:.0f} s more\n")


def library_of(settings: WorkerSettings) -> Library:
    """The models of a worker's settings."""
    folder = settings.models_dir or settings.state_dir / "models"
    return Library(folder, int(settings.max_models_gib * (1 << 30)) or MAX_BYTES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is said; 1 if it cannot be done."""
    rest = list(sys.argv[1:] if arguments is None else arguments)
    sha256 = ""
    if "--sha256" in rest[:-1]:
        at = rest.index("--sha256")
        sha256, rest = rest[at + 1].lower(), rest[:at] + rest[at + 2 :]
    as_json = "--json" in rest
    rest = [argument for argument in rest if argument != "--json"]
    words = []
    while rest and not rest[0].startswith("-"):
        words.append(rest.pop(0))
    find_config(rest)
    settings = load_or_exit(WorkerSettings, rest)
    library = library_of(settings)
    try:
        match words:
            case [] | ["list"]:
                shown = library.entries()
            case ["add", name, _] if name in {part.partition("=")[0].strip() for part in settings.models.split(",")}:
                # Two of a name, and the worker would not start.
                raise CannotAdd(f"the settings name a model {name} already: take another name")
            case ["add", name, place]:
                shown = [library.add(name, place, sha256)]
            case ["remove", name]:
                shown = [library.remove(name)]
            case _:
                sys.stderr.write("error: list, add NAME PLACE [--sha256 HEX], or remove NAME\n")
                return 2
    except CannotAdd as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("broken off; the same command goes on from here\n")
        return 130
    if as_json:
        sys.stdout.write(json.dumps([asdict(entry) for entry in shown], indent=2) + os.linesep)
    else:
        sys.stdout.write("".join(f"{entry.name:<24} {entry.place}\n" for entry in shown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
