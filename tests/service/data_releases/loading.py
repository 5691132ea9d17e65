"""Loads a release as researchers do, each with the library's own call, and prints what each saw. A program of its own:
the libraries have loops, caches and warnings of their own.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import datasets
import duckdb
import mlcroissant
import pandas
import s3fs
import webdataset
from webdataset.gopen import gopen_schemes


def seen(pairs: list[tuple[str, bytes]]) -> dict[str, str]:
    """SHA-256 of each image's file, by id."""
    found = {image_id: hashlib.sha256(data).hexdigest() for image_id, data in pairs}
    assert len(found) == len(pairs), "an image came twice"
    return found


def load_webdataset(urls: list[str]) -> dict[str, str]:
    return seen([(sample["__key__"], sample["webp"]) for sample in webdataset.WebDataset(urls, shardshuffle=False)])


def load_datasets(files: list[str], cache: str, storage: dict[str, Any] | None) -> dict[str, str]:
    loaded = datasets.load_dataset(
        "webdataset", data_files=files, split="train", cache_dir=cache, storage_options=storage
    )
    assert {"json", "txt", "webp"} <= set(loaded.features)
    rows = loaded.cast_column("webp", datasets.Image(decode=False))
    return seen([(row["__key__"], row["webp"]["bytes"]) for row in rows])


def stream_datasets(files: list[str]) -> dict[str, str]:
    """Image by image, with nothing kept on the disk."""
    streamed = datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True)
    rows = streamed.cast_column("webp", datasets.Image(decode=False))
    return seen([(row["__key__"], row["webp"]["bytes"]) for row in rows])


def load_imagefolder(release: Path, folder: Path, cache: str) -> dict[str, str]:
    """As the card says: unpacked, with the table beside."""
    folder.mkdir()
    (folder / "metadata.parquet").write_bytes((release / "metadata.parquet").read_bytes())
    for shard in release.glob("shards/*.tar"):
        left_out = [f"--exclude={name}" for name in ("__*", "*.json", "*.txt")]
        subprocess.run(["tar", "xf", str(shard), "-C", str(folder), *left_out], check=True)
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=cache)
    rows = loaded.cast_column("image", datasets.Image(decode=False))
    return seen([(row["id"], Path(row["image"]["path"]).read_bytes()) for row in rows])


def load_tables(
    metadata: str, storage: dict[str, Any] | None, connection: Any
) -> tuple[dict[str, str], dict[str, str]]:
    table = pandas.read_parquet(metadata, storage_options=storage)
    by_pandas = dict(zip(table["id"], table["sha256"], strict=True))
    by_duckdb = dict(connection.sql(f"SELECT id, sha256 FROM '{metadata}'").fetchall())
    return by_pandas, by_duckdb


def main() -> None:
    release, scratch = Path(sys.argv[1]), Path(tempfile.mkdtemp())
    shards = sorted(str(path) for path in release.glob("shards/*.tar"))
    found = {
        "webdataset": load_webdataset(shards),
        "datasets": load_datasets(shards, str(scratch / "cache"), None),
        "datasets, streamed": stream_datasets(shards),
        "imagefolder": load_imagefolder(release, scratch / "images", str(scratch / "cache")),
    }
    found["pandas"], found["duckdb"] = load_tables(str(release / "metadata.parquet"), None, duckdb.connect())
    description = mlcroissant.Dataset(jsonld=str(release / "croissant.json"))
    rows = description.records("images")
    found["croissant"] = {row["images/id"].decode(): row["images/sha256"].decode() for row in rows}
    if len(sys.argv) > 2:
        endpoint, key, secret, address = sys.argv[2:]
        storage = {"key": key, "secret": secret, "client_kwargs": {"endpoint_url": endpoint}}
        files = s3fs.S3FileSystem(**storage)
        # Its own way to S3 is the program `aws`, which is not everywhere.
        gopen_schemes["s3"] = lambda url, *_, **__: io.BytesIO(files.cat_file(url))
        remote = sorted(f"s3://{path}" for path in files.glob(f"{address}/shards/*.tar"))
        connection = duckdb.connect()
        connection.register_filesystem(files)
        found["webdataset over S3"] = load_webdataset(remote)
        found["datasets over S3"] = load_datasets(remote, str(scratch / "cache-s3"), dict(storage))
        # Through links: `datasets` 5.2 opens a stream with a word that `s3fs` does not know.
        links = [files.url(path, expires=3600) for path in remote]
        found["datasets over S3, streamed"] = stream_datasets(links)
        found["pandas over S3"], found["duckdb over S3"] = load_tables(
            f"s3://{address}/metadata.parquet", storage, connection
        )
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
