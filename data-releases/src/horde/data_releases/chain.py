"""The releases that a new one goes on from, and the index of them on this disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from horde.buckets.port import Bucket
from horde.data_releases.building import PartNote
from horde.data_releases.catalogue import Catalogue, Released, position
from horde.data_releases.core import layout
from horde.data_releases.core.checksums import read_checksums
from horde.data_releases.releases import Finished, Releases
from horde.data_releases.tables import read_table

_INDEXED = ("id", "shard", "sha256", "source_sha256", "phash")


class Chain:
    """Finished releases, the first first."""

    def __init__(self, releases: Sequence[Finished], bucket: Releases) -> None:
        self._releases = releases
        self._bucket = bucket

    @classmethod
    async def read(cls, bucket: Releases, last: str | None) -> Chain:
        """The releases up to `last`. Raises ReleaseNotFound."""
        found: list[Finished] = []
        while last is not None:
            found.append(await bucket.get(last))
            last = found[-1].plan.previous
        return cls(found[::-1], bucket)

    @property
    def length(self) -> int:
        return len(self._releases)

    @property
    def root(self) -> str | None:
        """The release that it begins with."""
        return self._releases[0].release_id if self._releases else None

    @property
    def ids(self) -> list[str]:
        """Their names, the first first."""
        return [release.release_id for release in self._releases]

    @property
    def last(self) -> Finished | None:
        return self._releases[-1] if self._releases else None

    async def undecided(self) -> list[str]:
        """Images that the last release left out because moderation had not decided."""
        return [] if self.last is None else await self._bucket.undecided(self.last.release_id)

    async def removed(self) -> set[str]:
        """Images that the last release says are to be taken out."""
        if self.last is None:
            return set()
        found = await self._bucket.read(self.last.release_id, layout.REMOVED)
        return set(read_table(found, ["id"])["id"].to_pylist())

    async def index(self, catalogue: Catalogue, bucket: Bucket, building: str) -> None:
        """Bring the catalogue up to date: it reads the metadata of what is not in it, and no picture."""
        for stranger in catalogue.releases() - {release.release_id for release in self._releases} - {building}:
            catalogue.drop_release(stranger)
        for number, release in enumerate(self._releases):
            missing = [part for part in range(release.parts) if not catalogue.has_part(release.release_id, part)]
            if not missing:
                continue
            checksums = await bucket.read(layout.release(release.release_id, layout.CHECKSUMS))
            files = sorted(read_checksums(b"" if checksums is None else checksums.data))
            for part in missing:
                own = [name for name in files if _part_of(name) == part]
                await _index(catalogue, bucket, number, release.release_id, part, own)


async def index_part(catalogue: Catalogue, bucket: Bucket, number: int, release_id: str, note: PartNote) -> None:
    """Put a part that is built, but not in the catalogue, into it."""
    names = [name for name, _, _ in note.files if _part_of(name) == note.number]
    await _index(catalogue, bucket, number, release_id, note.number, names, note.leans_on)


async def _index(
    catalogue: Catalogue,
    bucket: Bucket,
    number: int,
    release_id: str,
    part: int,
    names: Iterable[str],
    leans_on: Sequence[str] = (),
) -> None:
    with catalogue.part(release_id, part):
        catalogue.lean(release_id, part, leans_on)
        index = 0
        for name in names:
            found = await bucket.read(layout.release(release_id, name))
            if found is None:
                raise LookupError(f"{release_id} has lost {name}")
            for row in read_table(found.data, _INDEXED).to_pylist():
                # Left-out entries have left no trace: the order is all that counts.
                seq = position(number, part, index)
                source, sha256 = bytes.fromhex(row["source_sha256"]), bytes.fromhex(row["sha256"])
                phash = int(row["phash"], 16)
                catalogue.add(Released(seq, row["id"], release_id, part, row["shard"], sha256, source, phash))
                index += 1


def _part_of(name: str) -> int | None:
    """Of the rows of a shard."""
    if not name.startswith(layout.SHARDS) or not name.endswith(".parquet"):
        return None
    return int(name.removeprefix(layout.SHARDS).partition(".")[0])
