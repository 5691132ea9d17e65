"""Ratings as the builder of data releases takes them: a file of JSON lines, for it alone to read.

Raters have names of that file alone: nobody, and no second file, tells which accounts they are.

`python -m horde.curation.exporting FILE` writes one for an operator who builds releases by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from horde.curation.core.rating import Rating
from horde.curation.core.releases import Asked, State
from horde.curation.settings import CurationSettings
from horde.curation.store.port import RatingStore
from horde.curation.store.sql import sql_store
from horde.services.clock import SystemClock
from horde.services.settings import load_or_exit
from horde.services.telemetry import get_logger

log = get_logger(__name__)

PAGE: Final = 1_000
KEPT: Final = timedelta(days=7)
"""So long a release that failed or was cancelled can be taken up again with the ratings that it was begun with."""
PREFIX, SUFFIX = "ratings-", ".jsonl"


class RatingsFile:
    """The file of one release. It is written once: a builder that goes on must find the same."""

    def __init__(self, store: RatingStore, folder: Path) -> None:
        self._store = store
        self._folder = folder

    async def of(self, asked: Asked) -> Path:
        """The file, with what was rated until the release was asked for."""
        path = self._path(asked.name)
        if not await asyncio.to_thread(path.exists):
            await export(self._store, path, asked.created_at)
        return path

    async def tidy(self, states: Mapping[str, State], now: datetime) -> None:
        """Forget every file that is not needed any more, however its release ended. `states`: of all releases that were
        asked for."""
        await asyncio.to_thread(self._tidy, states, now)

    def _tidy(self, states: Mapping[str, State], now: datetime) -> None:
        for path in self._folder.glob(f"{PREFIX}*{SUFFIX}*"):
            state = states.get(path.name.removeprefix(PREFIX).removesuffix(".part").removesuffix(SUFFIX))
            try:
                written_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                if state is not State.BUILDING and (state is not State.FAILED or now - written_at >= KEPT):
                    path.unlink(missing_ok=True)
            except FileNotFoundError:
                continue
            except OSError as error:  # A folder, or one that is not ours: the other releases go on.
                log.warning("ratings of a release could not be deleted", path=str(path), error=repr(error))

    def _path(self, name: str) -> Path:
        return self._folder / f"{PREFIX}{name}{SUFFIX}"


async def export(store: RatingStore, path: Path, until: datetime) -> int:
    """Write what was rated before a time, all of it or nothing; how many ratings. Memory holds a page."""
    part = path.with_name(path.name + ".part")
    await asyncio.to_thread(_begin, part)
    salt = secrets.token_bytes(32)
    count, after = 0, ("", "")
    while page := await store.export(until, after, PAGE):
        await asyncio.to_thread(_append, part, [row_of(rating, word, salt) for rating, word in page])
        count += len(page)
        after = (page[-1][0].image_id, page[-1][0].account_id)
    await asyncio.to_thread(part.replace, path)
    return count


def row_of(rating: Rating, word: float, salt: bytes) -> dict[str, Any]:
    """A rating in the columns of `ratings.parquet`, its rater by a name that `salt` hides. A word counts in full at
    most."""
    return {
        "id": rating.image_id,
        "rater": hashlib.sha256(salt + rating.account_id.encode()).hexdigest(),
        "rating": rating.score,
        "artifacts": rating.artifacts,
        "rated_at": rating.rated_at.isoformat(),
        "weight": min(1.0, word),
    }


def _begin(part: Path) -> None:
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _append(part: Path, rows: list[dict[str, Any]]) -> None:
    with part.open("a", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


async def main_of(settings: CurationSettings, path: Path) -> int:
    """Export all that there is; how many ratings."""
    async with sql_store(settings.url()) as store:
        return await export(store, path, SystemClock().now())


def main() -> int:
    """Write all ratings that there are to a file, for `horde release create --ratings FILE`."""
    parser = argparse.ArgumentParser(prog="python -m horde.curation.exporting", description=main.__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.jsonl")
    options = parser.parse_args()
    count = asyncio.run(main_of(load_or_exit(CurationSettings, []), options.file))
    sys.stderr.write(f"{count} ratings\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
