"""Ratings that join a release: read from an operator's file, chosen, and told without names.

An image may be rated long after it was released. So a release has all ratings of its own images, and those of earlier
releases' images that came since the one before; never the same twice, or the pseudonyms of two releases could be laid
side by side. A rating can be replaced for a day, so what is younger waits for the next release.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from horde.data_releases.core.pseudonyms import Pseudonyms

SETTLING: Final = timedelta(days=1)
"""So long a rating can be replaced."""
MAX_RATING: Final = 10
MAX_ARTIFACTS: Final = 5
_BATCH: Final = 4_096

Row = dict[str, Any]


def read_file(path: Path) -> Iterator[Row]:
    """The ratings in a file: lines of JSON, if it is called so, else Parquet."""
    if path.suffix != ".jsonl":
        for batch in pq.ParquetFile(path).iter_batches(_BATCH):
            yield from batch.to_pylist()
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield {**row, "rated_at": datetime.fromisoformat(row["rated_at"])}


def joining(
    path: Path,
    as_of: datetime,
    since: datetime | None,
    place: Callable[[str], bool | None],
    names: Pseudonyms,
) -> Iterator[list[Row]]:
    """What joins the release that speaks for `as_of`, in batches. `since` is the `as_of` of the release before; `place`
    says whether an image is this release's (True), an earlier one's (False), or is in none. Raises ValueError for what
    cannot be a rating."""
    rows = filter(None, (_joined(row, as_of, since, place, names) for row in read_file(path)))
    # The order of an image's raters must not be that of their names.
    ordered = (
        row for _, group in groupby(rows, lambda row: row["id"]) for row in sorted(group, key=lambda r: r["rater"])
    )
    while batch := list(islice(ordered, _BATCH)):
        yield batch


def _joined(
    row: Row, as_of: datetime, since: datetime | None, place: Callable[[str], bool | None], names: Pseudonyms
) -> Row | None:
    rating, artifacts, at = row["rating"], row["artifacts"], row["rated_at"]
    at = at.replace(tzinfo=at.tzinfo or UTC)
    if not (rating is None or 1 <= rating <= MAX_RATING) or not (artifacts is None or 0 <= artifacts <= MAX_ARTIFACTS):
        raise ValueError(f"a rating of {row['id']} is outside its scale")
    if at >= as_of - SETTLING or (own := place(row["id"])) is None:
        return None
    if not own and (since is None or at < since - SETTLING):
        return None
    return {
        "id": row["id"],
        "rater": names.of("rater", row["rater"]),
        "rating": rating,
        "artifacts": artifacts,
        "rated_at": at.replace(minute=0, second=0, microsecond=0),
        "weight": row.get("weight"),
    }
