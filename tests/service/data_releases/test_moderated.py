"""What moderators decide, as the curation service writes it beside the images: releases go by it, later ones too."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from tests.service.data_releases.test_release import Stage, left_out, rows, stage  # noqa: F401 - a fixture

from horde.curation.core.cases import Standing
from horde.curation.core.images import Verdict
from horde.curation.neighbours.verdicts import Verdicts
from horde.data_releases import copies
from horde.data_releases.core import layout
from horde.testkit.data_releases import job_id

UNSAFE = Standing(Verdict.UNSAFE, decided=True)
SAFE = Standing(Verdict.SAFE, decided=True)
REPORTED = Standing(Verdict.UNSURE, reports=1)


async def say(stage: Stage, number: int, standing: Standing) -> None:  # noqa: F811
    await Verdicts(stage.sharing.bucket, stage.sharing.clock.now, stage.path).tell(job_id(number), standing)


def ids(folder: Path, name: str = layout.METADATA) -> set[str]:
    return {row["id"] for row in rows(folder, name)}


async def test_what_was_reported_waits_also_where_the_unsure_are_let_in_and_comes_when_it_was_found_safe(
    stage: Stage,  # noqa: F811
) -> None:
    for number in range(4):
        await stage.sharing.share(number)
    await say(stage, 1, REPORTED)
    await say(stage, 2, UNSAFE)
    first = await stage.release("a", unsure=True)
    assert ids(first) == {job_id(0), job_id(3)}
    assert left_out(first) == {"reported": 1, "unsafe": 1}
    await say(stage, 1, SAFE)
    second = await stage.release("b", unsure=True)
    assert ids(second) == {job_id(1)}
    assert rows(second, layout.REMOVED) == []


async def test_what_is_found_unsafe_after_a_release_is_in_the_next_ones_removals(
    stage: Stage,  # noqa: F811
    tmp_path: Path,
) -> None:
    for number in range(5):
        await stage.sharing.share(number)
    first = await stage.release("a")
    await say(stage, 2, UNSAFE)
    await say(stage, 3, SAFE)
    await stage.sharing.images.withdraw(job_id(4))
    at = stage.sharing.clock.at
    second = await stage.release("b")
    removed = {row["id"]: (row["reason"], row["withdrawn_at"]) for row in rows(second, layout.REMOVED)}
    hour = at.replace(minute=0, second=0, microsecond=0)
    assert removed == {job_id(2): ("moderated", hour), job_id(4): ("withdrawn", hour)}
    assert isinstance(hour, datetime)
    assert copies.prune(first, second / layout.REMOVED) == 2
    assert copies.verify(first).faults == []


async def test_the_last_word_counts(stage: Stage) -> None:  # noqa: F811
    for number in range(3):
        await stage.sharing.share(number)
    await stage.release("a")
    await say(stage, 1, UNSAFE)
    await say(stage, 1, SAFE)
    assert rows(await stage.release("b"), layout.REMOVED) == []
    await say(stage, 2, SAFE)
    await say(stage, 2, UNSAFE)
    assert ids(await stage.release("c"), layout.REMOVED) == {job_id(2)}


async def test_what_is_found_unsafe_while_a_release_is_built_is_not_in_it(
    stage: Stage,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from horde.data_releases import building

    for number in range(60):
        await stage.sharing.share(number)
    build = building.PartBuilder.build
    done: list[int] = []

    async def built(self: building.PartBuilder, number: int, chosen: list[str]) -> building.BuiltPart:
        part = await build(self, number, chosen)
        if not done:
            await say(stage, 3, UNSAFE)
        done.append(number)
        return part

    monkeypatch.setattr(building.PartBuilder, "build", built)
    assert ids(await stage.release("a")) == {job_id(number) for number in range(60) if number != 3}
    assert done.count(0) == 2
