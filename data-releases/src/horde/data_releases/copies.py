"""A researcher's copy of a release: brought home, checked, and kept up with what was taken back."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from horde.buckets.port import Bucket
from horde.data_releases.core import layout
from horde.data_releases.core.checksums import BadChecksums, read_checksums, write_checksums
from horde.data_releases.core.sampling import SAMPLED, Sampler
from horde.data_releases.drawing import SHEET_IMAGES, draw_contact_sheet
from horde.data_releases.keys import is_signed
from horde.data_releases.tables import open_writer

CHUNK: Final = 8 << 20
REMOVED_MEMBER: Final = "__removed__"
"""A name in a shard that loaders skip."""


@dataclass(slots=True)
class Report:
    """What a check found."""

    release_id: str
    files: int = 0
    images: int = 0
    pruned: int = 0
    """Images that were taken out because they were withdrawn."""
    faults: list[str] = field(default_factory=list)


async def pull(bucket: Bucket, release_id: str, folder: Path) -> int:
    """Bring a release home. What is there already and right is not fetched again. Returns the bytes fetched."""
    listed = await bucket.read(layout.release(release_id, layout.CHECKSUMS))
    if listed is None:
        raise LookupError(release_id)
    digests = read_checksums(listed.data)
    fetched = 0
    if not _is_copy_of(folder, listed.data):
        # What was taken out of a copy of something else, under the same name, tells nothing of this one.
        (folder / layout.PRUNED).unlink(missing_ok=True)
    pruned = _pruned_digests(folder)
    for name, digest in digests.items():
        path = folder / name
        if path.exists() and _digest(path) in (digest, pruned.get(name)):
            continue
        fetched += await _fetch(bucket, layout.release(release_id, name), path)
        if _digest(path) != digest:
            path.unlink()
            raise BadChecksums(f"{name} is not what {layout.CHECKSUMS} says")
    for name in (layout.SIGNATURE, layout.CHECKSUMS):
        fetched += await _fetch(bucket, layout.release(release_id, name), folder / name)
    return fetched


def _is_copy_of(folder: Path, checksums: bytes) -> bool:
    path = folder / layout.CHECKSUMS
    return path.exists() and path.read_bytes() == checksums


async def _fetch(bucket: Bucket, key: str, path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    offset = 0
    with part.open("wb") as out:
        while data := await bucket.get(key, offset, CHUNK):
            out.write(data)
            offset += len(data)
            if len(data) < CHUNK:
                break
    part.replace(path)
    return offset


def verify(folder: Path, public_key: bytes | None = None, removed: Path | None = None) -> Report:
    """Check signature, files, and that images, rows and their digests agree; also in a copy that was pruned.

    `public_key` (PEM) is the operator's, had from elsewhere; without it the key in the release itself is used, and the
    check says only that the copy is whole. With `removed`, that nothing is in it that this list names.
    """
    report = Report(folder.name)
    try:
        listed = (folder / layout.CHECKSUMS).read_bytes()
        digests = read_checksums(listed)
        signature = (folder / layout.SIGNATURE).read_bytes()
        own_key = (folder / layout.SIGNING_KEY).read_bytes()
    except (OSError, BadChecksums) as error:
        report.faults.append(f"not a finished release: {error}")
        return report
    report.release_id = _release_id(folder)
    if not is_signed(listed, signature, public_key or own_key):
        report.faults.append(f"{layout.CHECKSUMS} is not signed with this key")
    pruned = _pruned_digests(folder)
    for name, digest in digests.items():
        path = folder / name
        report.files += 1
        if not path.exists():
            report.faults.append(f"{name} is missing")
        elif _digest(path) != pruned.get(name, digest):
            report.faults.append(f"{name} is not what its checksum says")
    if any(fault.endswith(" is missing") for fault in report.faults):
        return report
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    known = {*digests, layout.CHECKSUMS, layout.SIGNATURE, *([layout.PRUNED] if pruned else [])}
    report.faults += [f"{name} is no part of the release" for name in sorted(here - known)]
    gone = set() if removed is None else set(pq.read_table(removed, columns=["id"])["id"].to_pylist())
    _verify_images(folder, sorted(name for name in digests if name.endswith(".tar")), gone, report)
    report.pruned = int(json.loads((folder / layout.DESCRIPTION).read_bytes())["images"]) - report.images
    return report


def _verify_images(folder: Path, shards: Iterable[str], removed: set[str], report: Report) -> None:
    rows = 0
    for name in shards:
        path = folder / name
        table = pq.read_table(path.with_suffix(".parquet"), columns=["file_name", "sha256", "id"])
        expected = dict(zip(table["file_name"].to_pylist(), table["sha256"].to_pylist(), strict=True))
        rows += len(expected)
        found = removed.intersection(table["id"].to_pylist())
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name != REMOVED_MEMBER and Path(member.name).stem in removed:
                    found.add(Path(member.name).stem)
                if member.name.endswith((".txt", ".json")):
                    continue
                opened = tar.extractfile(member)
                data = b"" if opened is None else opened.read()
                if member.name == REMOVED_MEMBER:
                    if data.strip(b"\0"):
                        report.faults.append(f"{name} still holds something that was taken out")
                    continue
                if hashlib.sha256(data).hexdigest() != expected.pop(member.name, None):
                    report.faults.append(f"{name}: {member.name} is not what its row says")
                report.images += 1
        report.faults += [f"{name} lacks {missing}" for missing in expected]
        report.faults += [f"{name} holds {image_id}, which was withdrawn" for image_id in sorted(found)]
    whole = pq.ParquetFile(folder / layout.METADATA).metadata.num_rows
    if whole != rows:
        report.faults.append(f"{layout.METADATA} has {whole} rows, the shards have {rows}")


def prune(folder: Path, removed: Path) -> int:
    """Take out what the list names, and write the new checksums of what changed beside the signed ones.

    Returns how many images were taken out. Only shards that hold such are touched, and in them only such: an image
    becomes zeros under a name that loaders skip, so that every other byte stays where `tar_offset` says. May be
    repeated, with the same list or a later one; after a crash, again does the rest.
    """
    release_id = _release_id(folder)
    table = pq.read_table(removed, columns=["id", "release_id", "shard"])
    table = table.filter(pc.equal(table["release_id"], release_id))
    gone = set(table["id"].to_pylist())
    before = pq.ParquetFile(folder / layout.METADATA).metadata.num_rows
    touched = set()
    for name in sorted(set(table["shard"].to_pylist())):
        if _blank(folder / name, gone):
            touched.add(name)
        rows = str(Path(name).with_suffix(".parquet"))
        if _drop_rows(folder / rows, gone):
            touched.add(rows)
    if _drop_rows(folder / layout.RATINGS, gone):
        touched.add(layout.RATINGS)
    if touched or _holds(folder / layout.METADATA, gone):
        _redraw(folder, gone)
        touched |= {layout.CONTACT_SHEET, layout.METADATA}
        # The table as a whole is the last: what it still names was not done to the end.
        _drop_rows(folder / layout.METADATA, gone)
        digests = {**_pruned_digests(folder), **{name: _digest(folder / name) for name in touched}}
        _write(folder / layout.PRUNED, write_checksums(digests))
    return int(before - pq.ParquetFile(folder / layout.METADATA).metadata.num_rows)


def _blank(path: Path, gone: set[str]) -> bool:
    """Overwrite the members of these images. Whether there were any."""
    with tarfile.open(path) as tar:
        doomed = [member for member in tar if Path(member.name).stem in gone]
    if not doomed:
        return False
    with path.open("r+b") as opened:
        for member in doomed:
            opened.seek(member.offset_data)
            opened.write(bytes(member.size))
        # Their names last: by them they are found again after a crash.
        opened.flush()
        os.fsync(opened.fileno())
        for member in doomed:
            blank = tarfile.TarInfo(REMOVED_MEMBER)
            blank.size, blank.mode = member.size, member.mode
            opened.seek(member.offset)
            opened.write(blank.tobuf(tarfile.USTAR_FORMAT))
        opened.flush()
        os.fsync(opened.fileno())
    return True


def _holds(path: Path, gone: set[str]) -> bool:
    return any(
        gone.intersection(batch["id"].to_pylist()) for batch in pq.ParquetFile(path).iter_batches(columns=["id"])
    )


def _drop_rows(path: Path, gone: set[str]) -> bool:
    """Write a table again without these images. Whether any of them was in it."""
    if not _holds(path, gone):
        return False
    source = pq.ParquetFile(path)
    part = path.with_name(path.name + ".part")
    with open_writer(part, source.schema_arrow) as writer:
        for group in range(source.num_row_groups):
            table = source.read_row_group(group)
            writer.write_table(table.filter(pc.invert(pc.is_in(table["id"], pa.array(sorted(gone), pa.string())))))
    part.replace(path)
    return True


def _redraw(folder: Path, gone: set[str]) -> None:
    """The contact sheet, of images that stay."""
    sampler = Sampler(SHEET_IMAGES)
    for batch in pq.ParquetFile(folder / layout.METADATA).iter_batches(columns=["id", *SAMPLED]):
        for row in batch.to_pylist():
            if row["id"] not in gone:
                sampler.offer(row)
    pictures = []
    for sample in sampler.chosen():
        with (folder / sample.shard).open("rb") as opened:
            opened.seek(sample.tar_offset)
            pictures.append(opened.read(sample.bytes))
    _write(folder / layout.CONTACT_SHEET, draw_contact_sheet(pictures))


def _release_id(folder: Path) -> str:
    return str(json.loads((folder / layout.DESCRIPTION).read_bytes())["plan"]["release_id"])


def _pruned_digests(folder: Path) -> dict[str, str]:
    path = folder / layout.PRUNED
    return read_checksums(path.read_bytes()) if path.exists() else {}


def _digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)
