"""What curation keeps for a builder of releases, and for how long."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from horde.curation.core.rating import Rating
from horde.curation.core.releases import Asked, Estimate, State, Terms
from horde.curation.estimates import KEPT_SECONDS, Estimates
from horde.curation.exporting import KEPT, RatingsFile
from horde.services.loops import Loops
from horde.testkit.loopback import ManualClock

NOW = datetime(2026, 11, 26, 10, tzinfo=UTC)


class Kept:
    """A store with two ratings by one account, and one by another."""

    async def export(self, until: datetime, after: tuple[str, str], limit: int) -> Sequence[tuple[Rating, float]]:
        said = [("image-1", "anna"), ("image-1", "bert"), ("image-2", "anna")]
        return [(Rating(image, who, 7, None, NOW), 1.0) for image, who in said if (image, who) > after]


@pytest.mark.parametrize(
    ("state", "old", "stays"),
    [
        (State.BUILDING, True, True),
        (State.FAILED, False, True),
        (State.FAILED, True, False),
        (State.FINISHED, False, False),
        (None, False, False),
    ],
)
async def test_ratings_are_kept_while_their_release_can_still_be_made(
    tmp_path: Path, state: State | None, old: bool, stays: bool
) -> None:
    store: Any = Kept()
    file = RatingsFile(store, tmp_path)
    path = await file.of(Asked("2026-11.1", Terms(), NOW, "ops"))
    broken_off = path.with_name(path.name + ".part")
    broken_off.touch()
    written_at = NOW - (KEPT if old else KEPT - timedelta(seconds=1))
    for left in (path, broken_off):
        os.utime(left, (written_at.timestamp(), written_at.timestamp()))
    states: Mapping[str, State] = {} if state is None else {"2026-11.1": state}
    await file.tidy(states, NOW)
    assert (path.exists(), broken_off.exists()) == (stays, stays)


async def test_a_folder_with_such_a_name_stops_nothing(tmp_path: Path) -> None:
    store: Any = Kept()
    file = RatingsFile(store, tmp_path)
    (tmp_path / "ratings-0.jsonl").mkdir()
    path = await file.of(Asked("2026-11.1", Terms(), NOW, "ops"))
    await file.tidy({"2026-11.1": State.FINISHED}, NOW)
    assert [left.name for left in tmp_path.iterdir()] == ["ratings-0.jsonl"]
    assert not path.exists()


async def test_raters_are_nobody_in_what_is_kept_and_one_is_still_one(tmp_path: Path) -> None:
    store: Any = Kept()
    file = RatingsFile(store, tmp_path)
    texts = [(await file.of(Asked(name, Terms(), NOW, "ops"))).read_text() for name in ("a", "b")]
    for text in texts:
        assert "anna" not in text
        assert len({line.split('"rater"')[1].split(",")[0] for line in text.splitlines()}) == 2
    assert texts[0] != texts[1], "names of two files cannot be laid side by side"


class Counts:
    """A builder that counts one more image each time."""

    def __init__(self) -> None:
        self.images = 0

    async def estimate(self, name: str, terms: Terms) -> Estimate:
        self.images += 1
        return Estimate(name, terms, "", NOW, NOW, self.images, 0, 0, {})


async def test_what_was_counted_long_ago_is_counted_anew() -> None:
    builder: Any = Counts()
    clock = ManualClock(NOW)
    estimates = Estimates(builder, clock)
    async with Loops() as loops:
        loops.start("estimates", estimates.run())
        told = await estimates.ask("a", Terms())
        assert told is not None
        assert told.images == 1
        # Asked for by somebody who never came back for it.
        await estimates.count("a", Terms()).done.wait()
        clock.jump(KEPT_SECONDS - 1)
        told = await estimates.ask("a", Terms())
        assert told is not None
        assert told.images == 2
        await estimates.count("a", Terms()).done.wait()
        clock.jump(KEPT_SECONDS)
        told = await estimates.ask("a", Terms())
        assert told is not None
        assert told.images == 4
        loops.leave()
