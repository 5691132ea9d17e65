"""What the gateway passes on to the curation service: whom it lets in, and what it says of them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.moderation.v1 import moderation_service_pb2 as moderation_pb2
from horde.api.moderation.v1.moderation_service_pb2_grpc import (
    ModerationServiceServicer,
    add_ModerationServiceServicer_to_server,
)
from horde.api.rating.v1 import rating_service_pb2 as rating_pb2
from horde.api.release.v1 import data_release_service_pb2 as release_pb2
from horde.api.webhook.v1 import webhook_service_pb2 as webhook_pb2
from horde.curation.core.visitors import Role, Visitor
from horde.curation.doors.visitors import visitor_of
from horde.gateway.core.credentials import new_api_key
from horde.gateway.doors.curated import MODERATION, RATING, RELEASES, WEBHOOKS
from horde.services.errors import PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable, Unimplemented
from horde.services.identity import AllowList, SharedKey, create_key_file
from horde.services.server import Registration, serving
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import ManualClock, assert_raises_reason

NAME = "horde.api.moderation.v1.ModerationService"
FILTERS = {"ListFilters", "CreateFilter", "DeleteFilter", "TestFilters"}


class Recorder(ModerationServiceServicer):
    """Remembers for whom it was asked what."""

    def __init__(self) -> None:
        self.asked: list[tuple[Visitor, Any]] = []

    async def ReportImage(self, request: Any, context: Any) -> moderation_pb2.ReportImageResponse:
        self.asked.append((visitor_of(context), request))
        return moderation_pb2.ReportImageResponse(report_id="r")

    async def ListCases(self, request: Any, context: Any) -> moderation_pb2.ListCasesResponse:
        self.asked.append((visitor_of(context), request))
        return moderation_pb2.ListCasesResponse(next_page_token="n")


@asynccontextmanager
async def relayed(folder: Path, **fields: Any) -> AsyncIterator[tuple[Bench, Recorder]]:
    recorder, key = Recorder(), folder / "run.key"  # type: ignore[abstract]
    create_key_file(key)
    registration = Registration(add_ModerationServiceServicer_to_server, recorder, NAME)
    allow = AllowList({f"/{NAME}/*": {"gateway"}})
    async with (
        serving("127.0.0.1:0", [registration], name="curation", allow=allow, identity=SharedKey.from_file(key)) as told,
        bench(folder, clock=ManualClock(), curation=f"127.0.0.1:{told.port}", **fields) as gateway,
    ):
        yield gateway, recorder


async def open_account(gateway: Bench) -> tuple[str, list[tuple[str, str]]]:
    key = new_api_key().text()
    request = account_pb2.CreateAccountRequest(request_id=str(uuid.uuid4()), display_name="Anna", api_key=key)
    answer = await gateway.accounts.CreateAccount(request)
    return answer.account.account_id, [("authorization", f"Bearer {key}")]


def test_every_method_is_passed_on_or_is_the_gateways_own() -> None:
    assert set(moderation_pb2.DESCRIPTOR.services_by_name["ModerationService"].methods_by_name) == {
        *MODERATION,
        *FILTERS,
    }
    assert set(rating_pb2.DESCRIPTOR.services_by_name["RatingService"].methods_by_name) == set(RATING)
    assert set(release_pb2.DESCRIPTOR.services_by_name["DataReleaseService"].methods_by_name) == set(RELEASES)
    assert set(webhook_pb2.DESCRIPTOR.services_by_name["WebhookService"].methods_by_name) == set(WEBHOOKS)


async def test_a_call_goes_on_as_it_came_with_who_it_is_for(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (gateway, recorder):
        report = moderation_pb2.ReportImageRequest(image_id="image-1", detail="☃")
        anonymous = [("authorization", f"Anonymous {'07' * 16}")]
        answer = await gateway.moderation.ReportImage(report, metadata=anonymous)
        assert answer.report_id == "r"
        ((visitor, request),) = recorder.asked
        assert request == report
        assert visitor.anonymous
        assert visitor.identity.startswith("anonymous:")
        assert len(bytes.fromhex(visitor.network)) == 2
        recorder.asked.clear()

        account_id, credentials = await open_account(gateway)
        await gateway.moderation.ReportImage(report, metadata=credentials)
        ((visitor, _),) = recorder.asked
        assert (visitor.account_id, visitor.identity, visitor.roles) == (account_id, account_id, frozenset())
        recorder.asked.clear()

        cases = await gateway.moderation.ListCases(moderation_pb2.ListCasesRequest(), metadata=gateway.operator)
        assert cases.next_page_token == "n"
        ((visitor, _),) = recorder.asked
        assert visitor.roles == frozenset(Role)


async def test_who_may_not_is_told_so_and_nobody_is_asked(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (gateway, recorder):
        _, credentials = await open_account(gateway)
        with assert_raises_reason(PermissionDenied, "ROLE_MISSING", {"role": "MODERATOR"}):
            await gateway.moderation.ListCases(moderation_pb2.ListCasesRequest(), metadata=credentials)
        with assert_raises_reason(PermissionDenied, "ROLE_MISSING", {"role": "OPERATOR"}):
            await gateway.releases.CreateDataRelease(release_pb2.CreateDataReleaseRequest(), metadata=credentials)
        with assert_raises_reason(PermissionDenied, "ACCOUNT_REQUIRED"):
            await gateway.releases.ListDataReleases(
                release_pb2.ListDataReleasesRequest(), metadata=[("authorization", f"Anonymous {'07' * 16}")]
            )
        with pytest.raises(Unauthenticated):
            await gateway.moderation.ReportImage(moderation_pb2.ReportImageRequest())
        assert recorder.asked == []


async def test_a_header_of_a_callers_own_is_not_believed(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (gateway, recorder):
        account_id, credentials = await open_account(gateway)
        forged = [("mesh-visitor-bin", b"\x0a\x05\x0a\x03eve")]
        await gateway.moderation.ReportImage(moderation_pb2.ReportImageRequest(), metadata=[*credentials, *forged])
        assert [visitor.account_id for visitor, _ in recorder.asked] == [account_id]


async def test_what_nobody_built_and_who_is_away(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (gateway, _):
        with pytest.raises(Unimplemented):
            await gateway.moderation.GetCase(moderation_pb2.GetCaseRequest(), metadata=gateway.operator)
    async with bench(tmp_path, clock=ManualClock(), curation="127.0.0.1:1") as gateway:
        with pytest.raises(Unavailable):
            await gateway.moderation.ListCases(moderation_pb2.ListCasesRequest(), metadata=gateway.operator)


async def test_reports_are_counted_by_who_and_for_anonymous_also_by_where(tmp_path: Path) -> None:
    report = moderation_pb2.ReportImageRequest(image_id="image-1")
    async with relayed(tmp_path, limit_anonymous_reports="1/3600s", limit_address_reports="2/3600s") as (gateway, told):
        tokens = [[("authorization", f"Anonymous {number:032x}")] for number in range(3)]
        await gateway.moderation.ReportImage(report, metadata=tokens[0])
        with assert_raises_reason(ResourceExhausted, "RATE_LIMITED"):
            await gateway.moderation.ReportImage(report, metadata=tokens[0])
        await gateway.moderation.ReportImage(report, metadata=tokens[1])
        with assert_raises_reason(ResourceExhausted, "RATE_LIMITED"):
            await gateway.moderation.ReportImage(report, metadata=tokens[2])
        # What strangers do keeps nobody from reporting who has an account.
        _, credentials = await open_account(gateway)
        await gateway.moderation.ReportImage(report, metadata=credentials)
        assert len(told.asked) == 3
