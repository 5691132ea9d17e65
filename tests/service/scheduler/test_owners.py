"""What gateways are told of owners, and the amnesty, over the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from tests.service.scheduler.mesh import OWNER, Gateway, Running, scheduler

from horde.api.standing.v1 import standing_service_pb2 as standing_pb2
from horde.internal.scheduler.v1 import owner_service_pb2 as pb
from horde.internal.scheduler.v1.owner_service_pb2_grpc import OwnerServiceStub
from horde.scheduler.core.job import AccountId, JobId, WorkerId
from horde.scheduler.core.owner_rows import owner_row, restore_owner
from horde.scheduler.core.standing import Standing
from horde.scheduler.core.strikes import Strike, StrikeReason
from horde.services.errors import InvalidArgument
from horde.testkit.loopback import assert_raises_reason


@pytest_asyncio.fixture
async def it() -> AsyncIterator[Running]:
    async with scheduler() as running:
        yield running


def stub_of(it: Running) -> Any:
    return OwnerServiceStub(it.loopback.channel)


def struck(it: Running, count: int) -> None:
    now = it.engine.term.now()
    for number in range(count):
        it.engine.board.strikes.add(
            Strike(f"s{number}", AccountId(OWNER), WorkerId("w"), "rig", StrikeReason.FAILURES, now + number, "why")
        )


async def test_an_owner_is_shown_with_its_work_and_one_of_whom_nothing_is_known_with_zeros(it: Running) -> None:
    async with Gateway(it) as gateway:
        await gateway.attach("rig")
        struck(it, 2)
        shown = await stub_of(it).GetOwner(pb.GetOwnerRequest(owner_account_id=OWNER))
        assert (shown.strikes, shown.proven) == (2, True)
        standing = it.engine.board.fleet.standings[AccountId(OWNER)]
        for number in range(3):
            standing.was_right()
            standing.was_wrong(JobId(f"j{number}"), strange=False)
        standing.pardon()
        restored = Standing(AccountId(OWNER), 1, 1)
        restore_owner(restored, owner_row(standing, 0))
        shown = await stub_of(it).GetOwner(pb.GetOwnerRequest(owner_account_id=OWNER))
        assert (shown.images_verified, shown.images_refuted) == (3, 2) == (restored.verified, restored.refuted)
        nobody = await stub_of(it).GetOwner(pb.GetOwnerRequest(owner_account_id="nobody"))
        assert not nobody.strikes


async def test_strikes_come_in_pages_newest_first(it: Running) -> None:
    struck(it, 5)
    first = await stub_of(it).ListStrikes(pb.ListStrikesRequest(owner_account_id=OWNER, page_size=3))
    assert [strike.strike_id for strike in first.strikes] == ["s4", "s3", "s2"]
    assert first.strikes[0].reason == standing_pb2.STRIKE_REASON_FAILURES
    assert first.strikes[0].counts_until.seconds - first.strikes[0].at.seconds == 7 * 86_400
    request = pb.ListStrikesRequest(owner_account_id=OWNER, page_size=3, page_token=first.next_page_token)
    second = await stub_of(it).ListStrikes(request)
    assert [strike.strike_id for strike in second.strikes] == ["s1", "s0"]
    assert not second.next_page_token


async def test_an_amnesty_forgives_a_window_and_says_so(it: Running) -> None:
    struck(it, 3)
    request = pb.ForgiveStrikesRequest(because="the router was away")
    begin = it.world.clock.now()
    getattr(request, "from").FromDatetime(begin)
    request.until.FromDatetime(begin)
    request.until.seconds += 2
    answer = await stub_of(it).ForgiveStrikes(request)
    assert (answer.strikes, answer.owners) == (2, 1)
    listed = await stub_of(it).ListStrikes(pb.ListStrikesRequest(owner_account_id=OWNER))
    assert [strike.forgiven_because for strike in listed.strikes] == ["", "the router was away", "the router was away"]
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD"):
        await stub_of(it).ForgiveStrikes(pb.ForgiveStrikesRequest())
