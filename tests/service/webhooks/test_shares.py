"""How many generations are followed for whom: a share each, and what waits is taken up when half of a share is free."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.service.webhooks.test_telling import create, said

from horde.api.job.v1 import job_pb2
from horde.api.webhook.v1 import webhook_service_pb2 as pb
from horde.testkit.certificates import Authority
from horde.testkit.waiting import until
from horde.testkit.webhooks import WebhooksBench, ended, generation_of, receiver, visitor, webhooks
from horde.webhooks import following
from horde.webhooks.store.sql import SqlWebhookStore

FINISHED = [pb.WEBHOOK_EVENT_GENERATION_FINISHED]
PLACES = 68
SHARE = 4
"""Of these places, of one who is alone: places / 17."""
DONE = job_pb2.JOB_ENDING_DONE


def names_of(it: WebhooksBench) -> set[str]:
    """What the scheduler was asked to tell of."""
    return {wish.follow.generation_id for wish in it.scheduler.followed}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read of the database to be followed; with few places."""
    monkeypatch.setattr(following, "MAX_FOLLOWED", PLACES)
    found: list[str] = []
    read = SqlWebhookStore.watched

    async def counted(*arguments: object, **named: object) -> object:
        found.append("read")
        return await read(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(SqlWebhookStore, "watched", counted)
    return found


async def test_who_has_more_than_can_be_followed_keeps_nobody_elses_waiting(tmp_path: Path, reads: list[str]) -> None:
    authority = Authority(tmp_path / "authority")
    async with receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        await create(it, heard.url, FINISHED)
        await create(it, heard.url, FINISHED, visitor("bert"))
        names = [f"anna-{number:03}" for number in range(PLACES)]
        for name in names:
            # One image has ended, the other never does.
            it.scheduler.show(generation_of(name, DONE, 0))
        await it.ledger.enter(*(ended(name, f"{name}-0") for name in names))
        await until(lambda: len(names_of(it)) >= SHARE)
        it.scheduler.show(generation_of("bert-1", DONE), "bert")
        await it.ledger.enter(ended("bert-1", "bert-1-0", payer="bert"))
        await until(lambda: said(heard, "generation.finished"))
        assert [told["generation_id"] for told in said(heard, "generation.finished")] == ["bert-1"]
        assert len(names_of(it)) == SHARE + 1

        # When hers are over, the others are taken up: all of them, half a share or more at a time.
        before = len(reads)
        for name in names:
            it.scheduler.show(generation_of(name, DONE, DONE))
        await until(lambda: len(said(heard, "generation.finished")) == len(names) + 1)
        assert len(reads) - before <= 1 + len(names) / (SHARE / 2)


async def test_after_a_restart_each_has_a_share_again(tmp_path: Path, reads: list[str]) -> None:
    authority = Authority(tmp_path / "authority")
    async with receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        feeds = it.ledger, it.scheduler
        for who in ("anna", "bert"):
            await create(it, heard.url, FINISHED, visitor(who))
        names = [f"anna-{number:03}" for number in range(PLACES)]
        await it.ledger.enter(*(ended(name, f"{name}-0") for name in names), ended("zoe", "zoe-0", payer="bert"))
        await until(lambda: "zoe" in names_of(it))
    it.scheduler.followed.clear()
    async with receiver(authority) as heard, webhooks(tmp_path, authority, feeds=feeds) as it:
        await until(lambda: "zoe" in names_of(it))
        assert len(names_of(it)) <= SHARE + 1
