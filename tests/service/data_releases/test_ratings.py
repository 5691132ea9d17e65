"""Ratings join a release without names, each once; and a predictor learns from what a release holds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from horde.buckets.directory import DirectoryBucket
from horde.data_releases.planning import Order
from horde.testkit.data_releases import START, Moment, Sharing, job_id, plain_folder, release


@pytest.fixture
async def sharing(tmp_path: Path) -> AsyncIterator[Sharing]:
    clock = Moment(START)
    async with plain_folder(tmp_path / "shared", clock) as bucket:
        yield Sharing(bucket, clock)


@pytest.fixture
async def releases(sharing: Sharing, tmp_path: Path) -> AsyncIterator[DirectoryBucket]:
    async with plain_folder(tmp_path / "releases", sharing.clock) as bucket:
        yield bucket


def rating(number: int, rater: str, score: int, at: datetime, **more: Any) -> dict[str, Any]:
    told = {"id": job_id(number), "rater": rater, "rating": score, "artifacts": None, "rated_at": at.isoformat()}
    return {**told, "weight": 1.0, **more}


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def told(folder: Path, release_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "releases" / release_id / "ratings.parquet").to_pylist()
    return rows


async def test_each_rating_joins_one_release_also_of_an_image_that_was_released_before(
    sharing: Sharing, releases: DirectoryBucket, tmp_path: Path
) -> None:
    start = sharing.clock.at
    for number in range(3):
        await sharing.share(number)
    early = [
        rating(0, "ann", 7, start + timedelta(hours=1), artifacts=2),
        rating(0, "bob", 3, start + timedelta(hours=2), weight=0.25),
        rating(1, "ann", 9, start + timedelta(days=7, hours=12)),
        rating(99, "ann", 9, start + timedelta(hours=1)),
    ]
    first = write(tmp_path / "first.jsonl", early)
    await release(sharing, releases, tmp_path / "state", Order("r1"), first)
    rows = told(tmp_path / "releases", "r1")
    # That of image 1 is younger than a day when the release is made: it may still be replaced.
    assert [(row["id"], row["artifacts"], row["weight"]) for row in sorted(rows, key=lambda row: -row["weight"])] == [
        (job_id(0), 2, 1.0),
        (job_id(0), None, 0.25),
    ]
    assert {row["rated_at"] for row in rows} == {start.replace(minute=0) + timedelta(hours=n) for n in (1, 2)}
    assert not {row["rater"] for row in rows} & {"ann", "bob"}

    await sharing.share(5)
    await sharing.images.withdraw(job_id(2))
    late = sharing.clock.at + timedelta(hours=3)
    more = [rating(0, "cat", 5, late), rating(2, "cat", 5, late), rating(5, "ann", 6, late)]
    second = write(tmp_path / "second.jsonl", [*early, *more])
    await release(sharing, releases, tmp_path / "state", Order("r2"), second)
    again = told(tmp_path / "releases", "r2")
    assert sorted((row["id"], row["rating"]) for row in again) == [(job_id(0), 5), (job_id(1), 9), (job_id(5), 6)]
    # Ann has other names in another release.
    assert not {row["rater"] for row in rows} & {row["rater"] for row in again}


async def test_a_rating_outside_its_scale_makes_no_release(
    sharing: Sharing, releases: DirectoryBucket, tmp_path: Path
) -> None:
    await sharing.share(0)
    wrong = write(tmp_path / "wrong.jsonl", [rating(0, "ann", 11, START)])
    with pytest.raises(ValueError, match="outside its scale"):
        await release(sharing, releases, tmp_path / "state", Order("r1"), wrong)
