"""An account ends: what was kept under its id goes, and what it shared with it, if that was wished."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.service.curation.test_sharing import WHO, opened

from horde.api.generation.v1 import generation_service_pb2 as generation_pb2
from horde.api.moderation.v1 import moderation_service_pb2 as moderation_pb2
from horde.api.rating.v1 import rating_service_pb2 as rating_pb2
from horde.curation.core.images import digest_requester
from horde.internal.curation.v1 import account_service_pb2 as pb
from horde.internal.curation.v1.account_service_pb2_grpc import AccountServiceStub
from horde.testkit.curation import MODERATOR, visitor
from horde.testkit.data_releases import job_id

ANNA, MODERATES = visitor("anna"), visitor("mod", roles=[MODERATOR])


async def test_an_accounts_ratings_and_the_words_of_its_reports_go_and_the_case_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as (it, _):
        reported = moderation_pb2.ReportImageRequest(
            image_id=job_id(1), reason=moderation_pb2.REPORT_REASON_CHILD_SAFETY, detail="my own words"
        )
        await it.moderation.ReportImage(reported, metadata=ANNA)
        shown = await it.rating.GetNextImage(rating_pb2.GetNextImageRequest(), metadata=ANNA)
        it.clock.jump(60)
        rated = rating_pb2.RateImageRequest(image_id=shown.image.image_id, score=7)
        await it.rating.RateImage(rated, metadata=ANNA)
        accounts: Any = AccountServiceStub(it.channel)
        for _ in range(2):
            assert (await accounts.ForgetAccount(pb.ForgetAccountRequest(account_id="anna"))).left == 0
        listed = await it.rating.ListRatings(rating_pb2.ListRatingsRequest(), metadata=ANNA)
        assert list(listed.ratings) == []
        case_of = moderation_pb2.GetCaseRequest(case_id=job_id(1))
        case = (await it.moderation.GetCase(case_of, metadata=MODERATES)).case
        assert (case.urgent, case.withheld, case.report_count) == (True, True, 1)
        assert [report.detail for report in case.reports] == [""]


@pytest.mark.parametrize("withdraw", [False, True])
async def test_with_the_account_goes_a_wish_for_what_it_shared_if_that_was_asked(
    tmp_path: Path, withdraw: bool
) -> None:
    async with opened(tmp_path) as (it, stub):
        accounts: Any = AccountServiceStub(it.channel)
        request = pb.ForgetAccountRequest(account_id="user-1", withdraw_shared=withdraw)
        assert (await accounts.ForgetAccount(request)).left == 0
        with sqlite3.connect(it.settings.state_dir / "curation.sqlite") as database:
            kept = [requester for (requester,) in database.execute("SELECT requester FROM wish")]
        assert kept == ([digest_requester("user-1")] if withdraw else [])
        answer = await stub.ListSharedImages(generation_pb2.ListSharedImagesRequest(), metadata=WHO)
        assert len(answer.images) == 3
