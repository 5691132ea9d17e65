"""The bucket of data releases, read only: which are finished, their files, and ways to those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from horde.buckets.port import MAX_PAGE, Bucket
from horde.curation.core.releases import Finished, is_name, read_finished
from horde.services.telemetry import get_logger

log = get_logger(__name__)

FINISHED: Final = "finished/"
CHECKSUMS: Final = "checksums.sha256"
LINK_LIFETIME: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a release."""

    path: str
    """Within the release."""
    size_bytes: int
    sha256: str
    """Empty: of the list of checksums and its signature nothing says it."""


class ReleaseBucket:
    """Reads the bucket. What is finished never changes, and is kept in memory: there are few."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._finished: dict[str, Finished] = {}
        self._checksums: tuple[str, dict[str, str]] = ("", {})

    async def finished(self) -> list[Finished]:
        """All finished releases, the latest first."""
        after, names = "", []
        while page := await self._bucket.page(FINISHED, after=after):
            names += [entry.key.removeprefix(FINISHED).removesuffix(".json") for entry in page]
            if len(page) < MAX_PAGE:
                break
            after = page[-1].key
        found = [await self.find(name) for name in names]
        return sorted(
            (release for release in found if release is not None),
            key=lambda release: (release.as_of, release.name),
            reverse=True,
        )

    async def find(self, name: str) -> Finished | None:
        """A finished release."""
        if name in self._finished:
            return self._finished[name]
        note = await self._bucket.read(f"{FINISHED}{name}.json") if is_name(name) else None
        if note is None:
            return None
        files = [
            await self._bucket.read(f"releases/{name}/{file}")
            for file in ("stats.json", "release.json", f"{CHECKSUMS}.sig", "signing-key.pem")
        ]
        statistics, description, signature, key = (b"" if file is None else file.data for file in files)
        try:
            found = read_finished(note.data, statistics, description, signature, key, note.head.modified_at)
        except (ValueError, KeyError, TypeError) as error:
            log.error("a finished release cannot be read", release=name, why=repr(error))
            return None
        self._finished[name] = found
        return found

    async def parts(self, name: str) -> int:
        """How many parts of a release that is being built are done."""
        return len(await self._bucket.page(f"building/{name}/parts/"))

    async def files(self, name: str, limit: int, after: str = "") -> Sequence[File]:
        """Files of a finished release, by path, those behind `after`."""
        folder = f"releases/{name}/"
        page = await self._bucket.page(folder, after=folder + after if after else "", limit=limit)
        digests = await self._digests(name)
        return [
            File(path, entry.size_bytes, digests.get(path, ""))
            for entry in page
            for path in [entry.key.removeprefix(folder)]
        ]

    async def link(self, name: str, path: str) -> str | None:
        """A link to a file, good for LINK_LIFETIME; None: this store makes none."""
        return await self._bucket.link(f"releases/{name}/{path}", LINK_LIFETIME)

    async def _digests(self, name: str) -> dict[str, str]:
        known, digests = self._checksums
        if known != name:
            found = await self._bucket.read(f"releases/{name}/{CHECKSUMS}")
            lines = b"" if found is None else found.data
            digests = {
                path: digest for digest, _, path in (line.partition("  ") for line in lines.decode().splitlines())
            }
            # Of one release: whoever reads a list reads all of it.
            self._checksums = name, digests
        return digests
