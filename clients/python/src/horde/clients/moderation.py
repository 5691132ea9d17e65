"""Moderation: reporting an image, and for moderators the queue, and deciding."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from horde.api.moderation.v1 import moderation_service_pb2 as pb
from horde.api.moderation.v1.moderation_service_pb2_grpc import ModerationServiceStub
from horde.clients.doors import Doors
from horde.clients.specs import new_request_id

PAGE_SIZE: Final = 100


class Moderation:
    """Reports and cases of shared images."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = ModerationServiceStub(doors.gateway)

    async def report(
        self, image_id: str, reason: pb.ReportReason.ValueType, detail: str = "", *, own: bool = False
    ) -> str:
        """Say that something is wrong with a shared image; the report's id. Another report by you replaces it.

        `own`: it is one that you asked for, and is named by its job. Raises NotFound, also for what you may not see.
        """
        request = pb.ReportImageRequest(reason=reason, detail=detail)
        if own:
            request.job_id = image_id
        else:
            request.image_id = image_id
        return (await self._doors.ask(self._stub.ReportImage, request)).report_id

    async def filters(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[pb.Filter]:
        """The rules that prompts are held against, oldest first. Needs MODERATOR, as all about filters."""
        request = pb.ListFiltersRequest(page_size=page_size)
        while True:
            page = await self._doors.ask(self._stub.ListFilters, request)
            for rule in page.filters:
                yield rule
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def add_filter(
        self,
        kind: pb.FilterKind.ValueType,
        pattern: str,
        message: str,
        note: str = "",
        *,
        request_id: str | None = None,
    ) -> pb.Filter:
        """Refuse prompts that hold this; it holds within five seconds. `message` is what requesters are told."""
        named = request_id or new_request_id()
        request = pb.CreateFilterRequest(request_id=named, kind=kind, pattern=pattern, message=message, note=note)
        return (await self._doors.ask(self._stub.CreateFilter, request)).filter

    async def remove_filter(self, filter_id: str) -> None:
        """End a rule; one that is not there is as good as ended."""
        await self._doors.ask(self._stub.DeleteFilter, pb.DeleteFilterRequest(filter_id=filter_id))

    async def test_filters(self, prompt: str) -> list[pb.Filter]:
        """The rules that a prompt would meet."""
        request = pb.TestFiltersRequest(prompt=prompt)
        return list((await self._doors.ask(self._stub.TestFilters, request)).filters)

    async def cases(
        self, verdicts: Sequence[pb.Verdict.ValueType] = (), *, page_size: int = PAGE_SIZE
    ) -> AsyncIterator[pb.Case]:
        """The queue, page by page as it is read; those that stand so, else all that wait. Needs MODERATOR."""
        request = pb.ListCasesRequest(verdicts=verdicts, page_size=page_size)
        while True:
            page = await self._doors.ask(self._stub.ListCases, request)
            for case in page.cases:
                yield case
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def case(self, case_id: str) -> pb.Case:
        """One case, with a way to its image's bytes. Needs MODERATOR."""
        return (await self._doors.ask(self._stub.GetCase, pb.GetCaseRequest(case_id=case_id))).case

    async def decide(
        self,
        case_id: str,
        verdict: pb.Verdict.ValueType,
        why: str,
        reason: pb.ReportReason.ValueType = pb.REPORT_REASON_UNSPECIFIED,
    ) -> pb.Case:
        """Decide, SAFE or UNSAFE, and say why. With CHILD_SAFETY nobody fetches it any more. Needs MODERATOR."""
        request = pb.DecideCaseRequest(case_id=case_id, verdict=verdict, why=why, reason=reason)
        return (await self._doors.ask(self._stub.DecideCase, request)).case
