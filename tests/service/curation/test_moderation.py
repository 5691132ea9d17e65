"""Reports, the queue, and decisions, over the wire; and what the shared bucket says of an image after each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio

from horde.api.moderation.v1 import moderation_service_pb2 as pb
from horde.services import failpoints
from horde.services.errors import InvalidArgument, NotFound, Unavailable
from horde.testkit.curation import MODERATOR, CurationBench, curation, stranger, visitor
from horde.testkit.data_releases import START, job_id
from horde.testkit.loopback import ManualClock, assert_raises_reason, fields_of
from horde.testkit.waiting import POLL_SECONDS, ticks

MOD = visitor("mod", roles=[MODERATOR])


@pytest_asyncio.fixture
async def it(tmp_path: Path) -> AsyncIterator[CurationBench]:
    async with curation(tmp_path) as opened:
        for number in range(6):
            await opened.sharing.share(number)
        yield opened


async def report(
    it: CurationBench, number: int, who: Any = None, reason: int = pb.REPORT_REASON_VIOLENT, **named: str
) -> str:
    request = pb.ReportImageRequest(reason=reason, detail="look", **(named or {"image_id": job_id(number)}))  # type: ignore[arg-type]
    answer = await it.moderation.ReportImage(request, metadata=who or visitor())
    return str(answer.report_id)


async def decide(it: CurationBench, number: int, verdict: int, **fields: Any) -> pb.Case:
    request = pb.DecideCaseRequest(case_id=job_id(number), verdict=verdict, why="looked", **fields)  # type: ignore[arg-type]
    answer = await it.moderation.DecideCase(request, metadata=MOD)
    case: pb.Case = answer.case
    return case


async def queue(it: CurationBench, **fields: Any) -> list[str]:
    answer = await it.moderation.ListCases(pb.ListCasesRequest(**fields), metadata=MOD)
    return [case.case_id for case in answer.cases]


async def said(it: CurationBench, number: int) -> Any:
    found = await it.sharing.bucket.read(f"moderation/{job_id(number)}.json")
    return None if found is None else json.loads(found.data)


async def decided(it: CurationBench) -> list[str]:
    entries = await it.sharing.bucket.page("moderation/decided/")
    return [entry.key.removeprefix("moderation/decided/") for entry in entries]


async def test_a_report_puts_an_image_into_the_queue_and_keeps_it_from_releases(it: CurationBench) -> None:
    first = await report(it, 1)
    assert first == await report(it, 1, reason=pb.REPORT_REASON_OTHER)
    assert first != await report(it, 1, stranger())
    assert await queue(it) == [job_id(1)]
    answer = await it.moderation.GetCase(pb.GetCaseRequest(case_id=job_id(1)), metadata=MOD)
    case = answer.case
    assert (case.prompt, case.model, case.verdict, case.report_count) == (
        "a red door, number 1",
        "dreams",
        pb.VERDICT_UNSURE,
        2,
    )
    assert {told.reason for told in case.reports} == {pb.REPORT_REASON_OTHER, pb.REPORT_REASON_VIOLENT}
    claims = jwt.decode(case.ticket, options={"verify_signature": False})
    assert (claims["iss"], claims["act"], claims["job_id"], claims["reviewing"]) == (
        "curation",
        "get_shared",
        job_id(1),
        True,
    )
    assert case.address == it.settings.storage_address
    assert await said(it, 1) == {"verdict": "reported", "withheld": False}
    assert await decided(it) == []


async def test_a_job_is_its_requesters_to_report_and_nobody_elses(it: CurationBench) -> None:
    await report(it, 1, visitor("user-1"), job_id=job_id(1))
    for who in (visitor("user-2"), stranger()):
        with assert_raises_reason(NotFound, "IMAGE_NOT_FOUND", {"image": job_id(1)}):
            await report(it, 1, who, job_id=job_id(1))


async def test_what_is_not_there_or_was_withdrawn_cannot_be_reported(it: CurationBench) -> None:
    with assert_raises_reason(NotFound, "IMAGE_NOT_FOUND"):
        await report(it, 99)
    await it.sharing.images.withdraw(job_id(2))
    with assert_raises_reason(NotFound, "IMAGE_NOT_FOUND"):
        await report(it, 2)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.ReportImageRequest(), ["image_id", "reason"]),
        (pb.ReportImageRequest(image_id="../x", reason=pb.REPORT_REASON_OTHER), ["image_id"]),
        (pb.ReportImageRequest(job_id="a..b", reason=77, detail="\0"), ["job_id", "reason", "detail"]),  # type: ignore[arg-type]
        (pb.ReportImageRequest(image_id="x", reason=pb.REPORT_REASON_OTHER, detail="x" * 501), ["detail"]),
    ],
)
async def test_a_report_that_makes_no_sense_is_refused(
    it: CurationBench, request_: pb.ReportImageRequest, fields: list[str]
) -> None:
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await it.moderation.ReportImage(request_, metadata=visitor())
    assert fields_of(caught.value) == fields


async def test_a_decision_is_recorded_with_who_when_and_why_and_written_where_builders_read_it(
    it: CurationBench,
) -> None:
    await report(it, 1)
    case = await decide(it, 1, pb.VERDICT_UNSAFE, reason=pb.REPORT_REASON_SEXUAL)
    (decision,) = case.decisions
    assert (decision.verdict, decision.moderator_account_id, decision.why, decision.reason) == (
        pb.VERDICT_UNSAFE,
        "mod",
        "looked",
        pb.REPORT_REASON_SEXUAL,
    )
    assert decision.at.ToDatetime() == START.replace(tzinfo=None)
    assert await said(it, 1) == {"verdict": "unsafe", "withheld": False}
    assert await decided(it) == [f"{START:%Y-%m-%dT%H}/{job_id(1)}"]
    assert await queue(it) == []
    assert await queue(it, verdicts=[pb.VERDICT_UNSAFE]) == [job_id(1)]
    case = await decide(it, 1, pb.VERDICT_SAFE)
    assert [decision.verdict for decision in case.decisions] == [pb.VERDICT_UNSAFE, pb.VERDICT_SAFE]
    assert await said(it, 1) == {"verdict": "safe", "withheld": False}


async def test_child_safety_takes_an_image_from_everybody_at_once(it: CurationBench) -> None:
    await report(it, 3)
    await report(it, 3, visitor("bert"))
    await report(it, 4, stranger(), pb.REPORT_REASON_CHILD_SAFETY)
    assert await said(it, 4) == {"verdict": "reported", "withheld": True}
    assert await queue(it) == [job_id(4), job_id(3)]
    assert (await decide(it, 4, pb.VERDICT_UNSAFE)).withheld
    assert await said(it, 4) == {"verdict": "unsafe", "withheld": True}
    assert not (await decide(it, 4, pb.VERDICT_SAFE)).withheld
    assert await said(it, 4) == {"verdict": "safe", "withheld": False}


async def test_the_queue_comes_in_pages(it: CurationBench) -> None:
    for number in range(5):
        await report(it, number)
    await report(it, 3, visitor("bert"))
    pages, token = [], ""
    while True:
        answer = await it.moderation.ListCases(pb.ListCasesRequest(page_size=2, page_token=token), metadata=MOD)
        pages.append([case.case_id for case in answer.cases])
        token = answer.next_page_token
        if not token:
            break
    assert [len(page) for page in pages] == [2, 2, 1]
    assert pages[0][0] == job_id(3)
    assert sorted(case for page in pages for case in page) == [job_id(number) for number in range(5)]


@pytest.mark.parametrize(
    "token", ["x", "W10=", "WzEsIDIsICJhIiwgImIiXQ==", "WzEsIDk5OTk5OTk5OTk5OTk5OTksICJhIiwgImIiXQ=="]
)
async def test_a_page_token_that_nobody_gave_out_is_refused(it: CurationBench, token: str) -> None:
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await it.moderation.ListCases(pb.ListCasesRequest(page_token=token), metadata=MOD)
    assert fields_of(caught.value) == ["page_token"]


async def test_a_decision_that_makes_no_sense_is_refused_and_what_is_no_case_is_none(it: CurationBench) -> None:
    for request in (
        pb.DecideCaseRequest(case_id="x", verdict=pb.VERDICT_UNSURE, why="w"),
        pb.DecideCaseRequest(case_id="x", verdict=pb.VERDICT_SAFE),
        pb.DecideCaseRequest(case_id="x", verdict=pb.VERDICT_SAFE, why="w", reason=pb.REPORT_REASON_OTHER),
    ):
        with assert_raises_reason(InvalidArgument, "INVALID_FIELD"):
            await it.moderation.DecideCase(request, metadata=MOD)
    with assert_raises_reason(NotFound, "CASE_NOT_FOUND", {"case_id": job_id(1)}):
        await decide(it, 1, pb.VERDICT_SAFE)
    with assert_raises_reason(NotFound, "CASE_NOT_FOUND"):
        await it.moderation.GetCase(pb.GetCaseRequest(case_id=job_id(1)), metadata=MOD)


async def test_what_was_kept_and_not_told_is_told_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(START)
    async with curation(tmp_path, clock=clock) as it:
        await it.sharing.share(1)
        failpoints.arm("curation.moderation.after_kept=error")
        try:
            with pytest.raises(Unavailable):
                await report(it, 1)
        finally:
            failpoints.arm("")
        assert await said(it, 1) is None
        assert await queue(it) == [job_id(1)]
    async with curation(tmp_path, clock=clock) as it:
        for _ in ticks():
            if await said(it, 1) is not None:
                break
            await asyncio.sleep(POLL_SECONDS)
        assert await said(it, 1) == {"verdict": "reported", "withheld": False}
