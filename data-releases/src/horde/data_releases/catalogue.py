"""What was released, as an index on the builder's disk: by id, by bytes, and by likeness.

It holds nothing that is not in the releases themselves, and is made again from their metadata where it is missing. The
order of images is their place in the chain of releases; an image is a duplicate only of one before it, so that a part
that is built again finds what it found the first time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

BANDS: Final = 5
"""Of two hashes that differ in fewer bits than there are bands, one band at least is the same."""
_BAND_BITS: Final = 13
_SIGN: Final = 1 << 63
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS parts (release_id TEXT, number INTEGER, PRIMARY KEY (release_id, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS images (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, release_id TEXT NOT NULL, part INTEGER NOT NULL,
    shard TEXT NOT NULL, sha256 BLOB NOT NULL, source BLOB NOT NULL, phash INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS by_source ON images (source, seq);
CREATE INDEX IF NOT EXISTS by_part ON images (release_id, part);
CREATE TABLE IF NOT EXISTS bands (
    band INTEGER, seq INTEGER, phash INTEGER NOT NULL, PRIMARY KEY (band, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leans (
    release_id TEXT, part INTEGER, id TEXT, PRIMARY KEY (release_id, part, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS withdrawn (id TEXT PRIMARY KEY, hour TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unsafe (id TEXT PRIMARY KEY, hour TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Released:
    """An image in a release."""

    seq: int
    id: str
    release_id: str
    part: int
    shard: str
    sha256: bytes
    source: bytes
    phash: int


def position(release_number: int, part: int, index: int) -> int:
    """An image's place in the chain: the number of the release, of the part in it, of the entry in that."""
    return release_number << 48 | part << 20 | index


class Catalogue:
    """The index. Not safe to share among threads."""

    def __init__(self, path: Path, *, copy_of: Path | None = None) -> None:
        """`copy_of` is another one, if it is there, whose state of now this begins with."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if copy_of is not None and copy_of.exists():
            with closing(sqlite3.connect(copy_of)) as source, closing(sqlite3.connect(path)) as copy:
                source.backup(copy)
        self._sql = sqlite3.connect(path, isolation_level=None)
        # Of what is lost here, everything can be had again.
        self._sql.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-8192;" + _SCHEMA)

    def close(self) -> None:
        self._sql.close()

    def has_part(self, release_id: str, number: int) -> bool:
        """Whether the part's images are in the index."""
        found = self._sql.execute("SELECT 1 FROM parts WHERE release_id=? AND number=?", (release_id, number))
        return found.fetchone() is not None

    @contextmanager
    def part(self, release_id: str, number: int) -> Iterator[None]:
        """Put a part in, in place of what is there of it: what is added within the block, all of it or none."""
        self._sql.execute("BEGIN")
        try:
            self._drop_part(release_id, number)
            yield
            self._sql.execute("INSERT INTO parts VALUES (?,?)", (release_id, number))
        except BaseException:
            self._sql.execute("ROLLBACK")
            raise
        self._sql.execute("COMMIT")

    def add(self, image: Released) -> None:
        """Put an image in; within a part."""
        phash = _signed(image.phash)
        self._sql.execute(
            "INSERT INTO images VALUES (?,?,?,?,?,?,?,?)",
            (image.seq, image.id, image.release_id, image.part, image.shard, image.sha256, image.source, phash),
        )
        bands = [(band, image.seq, phash) for band in _bands(image.phash)]
        self._sql.executemany("INSERT INTO bands VALUES (?,?,?)", bands)

    def lean(self, release_id: str, number: int, ids: Iterable[str]) -> None:
        """Note by which images of its release a part's others were left out or marked; within a part."""
        self._sql.executemany("INSERT INTO leans VALUES (?,?,?)", [(release_id, number, id_) for id_ in ids])

    def stale_parts(self, release_id: str) -> set[int]:
        """Parts of a release that hold something withdrawn or found unsafe, or would be otherwise without it."""
        rows = self._sql.execute(
            "WITH gone AS (SELECT id FROM withdrawn UNION SELECT id FROM unsafe)"
            " SELECT part FROM images JOIN gone USING (id) WHERE release_id=?1"
            " UNION SELECT part FROM leans JOIN gone USING (id) WHERE release_id=?1",
            (release_id,),
        )
        return {part for (part,) in rows}

    def drop_part(self, release_id: str, number: int) -> None:
        """Forget a part's images: it is to be built again."""
        self._sql.execute("BEGIN")
        self._drop_part(release_id, number)
        self._sql.execute("COMMIT")

    def _drop_part(self, release_id: str, number: int) -> None:
        rows = self._sql.execute(
            "SELECT seq, phash FROM images WHERE release_id=? AND part=?", (release_id, number)
        ).fetchall()
        self._sql.executemany(
            "DELETE FROM bands WHERE band=? AND seq=?",
            [(band, seq) for seq, phash in rows for band in _bands(_unsigned(phash))],
        )
        self._sql.execute("DELETE FROM images WHERE release_id=? AND part=?", (release_id, number))
        self._sql.execute("DELETE FROM leans WHERE release_id=? AND part=?", (release_id, number))
        self._sql.execute("DELETE FROM parts WHERE release_id=? AND number=?", (release_id, number))

    def drop_release(self, release_id: str) -> None:
        """Forget a release that was never finished."""
        numbers = self._sql.execute("SELECT number FROM parts WHERE release_id=?", (release_id,)).fetchall()
        for (number,) in numbers:
            self.drop_part(release_id, number)

    def releases(self) -> set[str]:
        """Releases of which there is something here."""
        return {release_id for (release_id,) in self._sql.execute("SELECT DISTINCT release_id FROM parts")}

    def find(self, image_id: str) -> Released | None:
        """An image by its id."""
        return self._one("SELECT * FROM images WHERE id=?", (image_id,))

    def same_bytes(self, source: bytes, before: int) -> Released | None:
        """The first image before `before` that was painted with these bytes."""
        return self._one("SELECT * FROM images WHERE source=? AND seq<? ORDER BY seq LIMIT 1", (source, before))

    def alike(self, phash: int, bits: int, before: int) -> Released | None:
        """The first image before `before` whose hash differs in at most `bits` bits, which are fewer than BANDS."""
        first = before
        for band in _bands(phash):
            rows = self._sql.execute("SELECT seq, phash FROM bands WHERE band=? AND seq<? ORDER BY seq", (band, first))
            for seq, other in rows:
                if (_unsigned(other) ^ phash).bit_count() <= bits:
                    first = seq
                    break
        return None if first == before else self._one("SELECT * FROM images WHERE seq=?", (first,))

    def note_withdrawn(self, entries: Iterable[tuple[str, str]]) -> None:
        """Note ids that were withdrawn, each with its hour. The first hour of an id stays."""
        self._sql.execute("BEGIN")
        self._sql.executemany("INSERT OR IGNORE INTO withdrawn VALUES (?,?)", entries)
        self._sql.execute("COMMIT")

    def is_withdrawn(self, image_id: str) -> bool:
        """Whether the journal says that it was withdrawn."""
        return self._sql.execute("SELECT 1 FROM withdrawn WHERE id=?", (image_id,)).fetchone() is not None

    def note_decided(self, entries: Iterable[tuple[str, str, bool]]) -> None:
        """Note what moderators decided: ids, each with its hour and whether it is unsafe. The last word counts."""
        self._sql.execute("BEGIN")
        for image_id, hour, unsafe in entries:
            if unsafe:
                self._sql.execute("INSERT OR IGNORE INTO unsafe VALUES (?,?)", (image_id, hour))
            else:
                self._sql.execute("DELETE FROM unsafe WHERE id=?", (image_id,))
        self._sql.execute("COMMIT")

    def removed_before(self, seq: int) -> Iterator[tuple[Released, str, str]]:
        """Images before this place in the chain that are to be taken out, each with the hour and why, by id."""
        rows = self._sql.execute(
            "SELECT images.*, hour, why FROM ("
            " SELECT id, hour, 'withdrawn' AS why FROM withdrawn"
            " UNION ALL SELECT id, hour, 'moderated' FROM unsafe WHERE id NOT IN (SELECT id FROM withdrawn))"
            " JOIN images USING (id) WHERE images.seq<? ORDER BY images.id",
            (seq,),
        )
        for row in rows:
            yield _released(row[:8]), row[8], row[9]

    def _one(self, sql: str, parameters: Sequence[Any]) -> Released | None:
        row = self._sql.execute(sql, parameters).fetchone()
        return None if row is None else _released(row)


def _released(row: Sequence[Any]) -> Released:
    seq, image_id, release_id, part, shard, sha256, source, phash = row
    return Released(seq, image_id, release_id, part, shard, sha256, source, _unsigned(phash))


def _signed(number: int) -> int:
    return number - 2 * _SIGN if number >= _SIGN else number


def _unsigned(number: int) -> int:
    return number & (2 * _SIGN - 1)


def _bands(phash: int) -> list[int]:
    mask = (1 << _BAND_BITS) - 1
    return [index << _BAND_BITS | phash >> index * _BAND_BITS & mask for index in range(BANDS)]
