"""Fetching a file over HTTP: from where it broke off, until its digest is the one that was named."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRIES = 6
"""In a row, without a single byte between them."""
FIRST_WAIT_SECONDS = 0.5
SILENCE_SECONDS = 60.0
CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int], None]
"""Is told how many bytes are there, and of how many."""


class CannotFetch(Exception):
    """A file cannot be had; the message says why."""


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """What was asked for over TLS is not taken without."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise CannotFetch(f"{req.full_url} leads to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_NoDowngrade)


def may_be_fetched(url: str) -> bool:
    """Whether a URL is https, or of this machine."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1"))


def fetch_text(url: str, most: int = 1 << 20) -> bytes:
    """A small file. Raises CannotFetch."""
    try:
        with _OPENER.open(url, timeout=SILENCE_SECONDS) as answer:
            content: bytes = answer.read(most + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CannotFetch(f"{url}: {error}") from error
    if len(content) > most:
        raise CannotFetch(f"{url} is larger than {most} bytes")
    return content


def size_of(url: str) -> int:
    """How many bytes are behind a URL. Raises CannotFetch."""
    try:
        with _OPENER.open(urllib.request.Request(url, method="HEAD"), timeout=SILENCE_SECONDS) as answer:  # noqa: S310
            size = answer.headers.get("Content-Length")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CannotFetch(f"{url}: {error}") from error
    if size is None or not size.isdecimal():
        raise CannotFetch(f"{url} does not say how large it is")
    return int(size)


def fetch(
    url: str,
    target: Path,
    size: int,
    sha256: str,
    progress: Progress = lambda done, size: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Bring a file of so many bytes and this digest to its place, which it takes when it is whole and right.

    What a broken try has brought stays in `target.part` for the next, also of another run. Raises CannotFetch.
    """
    if target.is_file() and target.stat().st_size == size and digest(target) == sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(target)
    for again in (True, False):
        _complete(url, part, size, progress, sleep)
        if digest(part) == sha256:
            part.replace(target)
            return
        # What an earlier run left may have been of another file: once more from the beginning.
        part.unlink()
        if not again:
            raise CannotFetch(f"{url} is not the file that was named: its sha256 is another")


def part_of(target: Path) -> Path:
    """Where lies what has come of a file so far."""
    return target.with_name(target.name + ".part")


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _complete(url: str, part: Path, size: int, progress: Progress, sleep: Callable[[float], None]) -> None:
    """Fetch until the part has all its bytes."""
    part.touch()
    tries = 0
    while (there := part.stat().st_size) < size:
        why = "it ended too early"
        try:
            _go_on(url, part, there, size, progress)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 416, 429):
                raise CannotFetch(f"{url}: {error}") from error
            why = str(error) or type(error).__name__
        if part.stat().st_size > there:
            tries = 0
            continue
        tries += 1
        if tries >= TRIES:
            raise CannotFetch(f"{url}: {why}; tried {TRIES} times. What has come is kept: try again later")
        sleep(FIRST_WAIT_SECONDS * 2.0**tries)


def _go_on(url: str, part: Path, there: int, size: int, progress: Progress) -> None:
    """One try, from the byte that is missing first."""
    request = urllib.request.Request(url)  # noqa: S310 - `may_be_fetched` has looked at it
    if there:
        request.add_header("Range", f"bytes={there}-")
    with _OPENER.open(request, timeout=SILENCE_SECONDS) as answer:
        went_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")
        if not went_on:
            there = 0
        with part.open("ab" if went_on else "wb", buffering=0) as opened:
            while chunk := answer.read1(CHUNK_BYTES):
                there += len(chunk)
                if there > size:
                    raise CannotFetch(f"{url} is larger than the {size} bytes that were named")
                try:
                    opened.write(chunk)
                except OSError as error:
                    raise CannotFetch(f"{part}: {error}") from error
                progress(there, size)
