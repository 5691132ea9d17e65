"""The models that an owner added to those of the settings: fetched, verified, listed, taken away."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urljoin

from filelock import FileLock, Timeout

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
from horde.worker_agent.settings import WorkerSettings

FILE = "library.json"
LOCK = "lock"
FETCHING = "fetching"
"""Locked by whoever brings files, or takes away what was brought in part."""
KEPT_DAYS = 7.0
"""How long what a broken download has brought stays, after its last byte."""
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
    whole: bool = True
    """False: it is being fetched or taken away, or that broke off; it is not served."""


class Library:
    """A folder of models, and a list of those that lie elsewhere."""

    def __init__(self, folder: Path, most_bytes: int = 0, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._most = most_bytes
        self._now = now

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
        return ",".join(
            f"{entry.name}={entry.place}" if entry.place else entry.name for entry in self.entries() if entry.whole
        )

    def add(self, name: str, place: str, sha256: str = "") -> Entry:
        """Take a model in, fetched if need be. What a broken try has brought is used by the next. Raises CannotAdd."""
        if not NAME.fullmatch(name):
            raise CannotAdd(f"{name!r} is no name: letters, digits, '-', '_' and '.'")
        if name.lower() in (FILE, LOCK, FETCHING):
            raise CannotAdd(f"{name} is what a file of this list is called: take another name")
        if sha256 and not SHA256.fullmatch(sha256):
            raise CannotAdd(f"{sha256!r} is no sha256: 64 hexadecimal digits")
        make_private(self._folder)
        with self._bringing():
            self._forget_old()
            known = {entry.name: entry for entry in self.entries()}
            if name in known and known[name].origin != place:
                raise CannotAdd(f"there is a model {name} already, from {known[name].origin}: remove it first")
            try:
                lies_at = self._fetched(name, place, sha256) if "://" in place else self._named(place)
                find_models(f"{name}={lies_at}" if lies_at else name, self._folder)
            except (BadCatalogue, BadModel, BadWeights, CannotFetch, OSError) as error:
                part = [entry for entry in self.entries() if entry.name == name and not entry.whole]
                # What is all here and of no use is no part of anything, and neither is nothing.
                if part and (isinstance(error, (BadModel, BadWeights)) or not self._bytes_of(part[0])):
                    self._take_away(part[0])
                raise CannotAdd(f"{place or name}: {error}") from error
            entry = Entry(name, lies_at, place)
            self._note(entry)
        return entry

    def remove(self, name: str) -> Entry:
        """Strike a model off, also one that came in part; its files go too, if they were fetched. Raises CannotAdd."""
        make_private(self._folder)
        found = [entry for entry in self.entries() if entry.name == name]
        if not found:
            raise CannotAdd(f"there is no model {name}")
        try:
            with FileLock(self._folder / FETCHING, blocking=False):
                self._take_away(found[0])
        except Timeout:
            raise CannotAdd("a model is being fetched: wait for it, or break it off first") from None
        except OSError as error:
            raise CannotAdd(f"its files stay, for they cannot be deleted now: {error}; say it again later") from error
        return found[0]

    def forget_old(self) -> None:
        """Delete what downloads brought that broke off long ago, unless one is at work. Raises CannotAdd where the list
        cannot be read."""
        if any(map(self._is_old, self.entries())):
            with suppress(OSError, Timeout), FileLock(self._folder / FETCHING, blocking=False):
                self._forget_old()

    def _forget_old(self) -> None:
        for entry in filter(self._is_old, self.entries()):
            self._take_away(entry)

    def _is_old(self, entry: Entry) -> bool:
        return not entry.whole and self._now() - self._changed_at(entry) > KEPT_DAYS * 86_400

    def described(self, entry: Entry) -> dict[str, object]:
        """A model for its owner to see."""
        if entry.whole:
            return asdict(entry)
        days = max(0.0, KEPT_DAYS - (self._now() - self._changed_at(entry)) / 86_400)
        return asdict(entry) | {"bytes": self._bytes_of(entry), "kept_days": round(days, 1)}

    def _named(self, place: str) -> str:
        """The path of what lies on this machine; nothing for what comes along. Raises CannotAdd."""
        if not place:
            return ""
        lies_at = Path(place).expanduser().absolute()
        if "," in str(lies_at) or "=" in str(lies_at):
            raise CannotAdd(f"{lies_at}: a path with ',' or '=' cannot be named in the settings")
        if not lies_at.exists():
            raise CannotAdd(f"{lies_at} is not here")
        return str(lies_at)

    def _fetched(self, name: str, url: str, sha256: str) -> str:
        """Where it lies, all of it."""
        if not may_be_fetched(url):
            raise CannotAdd(f"{url}: only https, or http of this machine")
        content = b""
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
        lies_at = target if content else target / wanted[0].path
        beside = [entry.name for entry in self.entries() if entry.name != name and Path(entry.place) == lies_at]
        if beside:
            raise CannotAdd(f"{lies_at.name} is where the model {beside[0]} lies: take another name")
        # What a broken try has brought takes its room already.
        left = [
            replace(file, bytes=max(0, file.bytes - _bytes_at(part_of(target / file.path))))
            for file in wanted
            if _bytes_at(target / file.path) != file.bytes
        ]
        self._make_room(name, left, url)
        if not any(entry.name == name and entry.whole for entry in self.entries()):
            self._note(Entry(name, str(lies_at), url, whole=False))
        for file in wanted:
            fetch(urls[file.path], target / file.path, file.bytes, file.sha256, _Telling(f"{name}: {file.path}"))
        if content:
            (target / "catalogue.json").write_bytes(content)
        return str(lies_at)

    def _make_room(self, name: str, left: Sequence[WantedFile], url: str) -> None:
        """See that there is room; what others brought in part goes for it, the oldest first. Raises CannotAdd."""
        parts = sorted((entry for entry in self.entries() if not entry.whole), key=self._changed_at)
        parts = [entry for entry in parts if entry.name != name]
        while why := missing_room(left, self._taken(), shutil.disk_usage(self._folder).free, self._most, RESERVE_BYTES):
            if not parts:
                raise CannotAdd(f"{url}: {why}")
            sys.stderr.write(f"{parts[0].name} has come in part only, and makes room\n")
            self._take_away(parts.pop(0))

    def _take_away(self, entry: Entry) -> None:
        """Strike it off, with the files that were fetched. Raises OSError: then it is not served, and listed still."""
        place = Path(entry.place)
        # What its owner put into this folder by himself is his.
        if "://" in entry.origin and place.parent == self._folder.absolute():
            self._note(replace(entry, whole=False))
            if place.is_dir():
                shutil.rmtree(place)
            place.unlink(missing_ok=True)
            part_of(place).unlink(missing_ok=True)
        self._note(entry, gone=True)

    def _files_of(self, entry: Entry) -> Iterator[Path]:
        place = Path(entry.place)
        yield from (path for path in (place, part_of(place), *place.rglob("*")) if path.is_file())

    def _bytes_of(self, entry: Entry) -> int:
        return sum(path.stat().st_size for path in self._files_of(entry))

    def _changed_at(self, entry: Entry) -> float:
        return max((path.stat().st_mtime for path in self._files_of(entry)), default=0.0)

    def _taken(self) -> int:
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())

    def _note(self, entry: Entry, *, gone: bool = False) -> None:
        """Write an entry into the list, or strike it off."""
        # Two at once would each forget the other's.
        with FileLock(self._folder / LOCK):
            entries = [known for known in self.entries() if known.name != entry.name]
            entries += [] if gone else [entry]
            fresh = self._folder / f"{FILE}.new"
            fresh.write_text(json.dumps([asdict(known) for known in entries], indent=2), "utf-8")
            fresh.replace(self._folder / FILE)

    @contextmanager
    def _bringing(self) -> Iterator[None]:
        """One brings files at a time."""
        lock = FileLock(self._folder / FETCHING)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            sys.stderr.write("another model is being fetched: waiting for that\n")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


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
