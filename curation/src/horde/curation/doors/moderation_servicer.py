"""ModerationService on the wire, but for the prompt filters, which are the gateway's own."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from horde.api.moderation.v1 import moderation_service_pb2 as pb
from horde.api.moderation.v1.moderation_service_pb2_grpc import ModerationServiceServicer
from horde.curation.core.cases import Decision, Place, Reason
from horde.curation.core.errors import InvalidModerationField
from horde.curation.core.fields import Fields
from horde.curation.core.images import Verdict
from horde.curation.doors import wire
from horde.curation.doors.visitors import visitor_of
from horde.curation.moderation import Moderation, Told
from horde.curation.tickets import Tickets
from horde.services.clock import Clock
from horde.services.pages import read_place, write_place

MAX_PAGE: Final = 100
USUAL_PAGE: Final = 20
MAX_CHARACTERS: Final = 500
MAX_REPORTS: Final = 2**31
"""What a column holds."""
NAMED_REASONS: Final = frozenset(wire.REASON_NUMBERS) - {pb.REPORT_REASON_UNSPECIFIED}
WAITING: Final = (Verdict.NONE, Verdict.UNSURE)

Context = Any


class ModerationServicer(ModerationServiceServicer):
    """Decode, call, encode."""

    def __init__(self, moderation: Moderation, tickets: Tickets, clock: Clock) -> None:
        self._moderation = moderation
        self._tickets = tickets
        self._clock = clock

    async def ReportImage(self, request: pb.ReportImageRequest, context: Context) -> pb.ReportImageResponse:
        report_id = await self._moderation.report(visitor_of(context), read_report(request))
        return pb.ReportImageResponse(report_id=report_id)

    async def ListCases(self, request: pb.ListCasesRequest, context: Context) -> pb.ListCasesResponse:
        verdicts, limit, after = read_cases(request)
        # One more than is shown tells whether there are more.
        cases = await self._moderation.cases(verdicts, limit + 1, after)
        shown = cases[:limit]
        return pb.ListCasesResponse(
            cases=map(wire.write_case, shown),
            next_page_token=_token(shown[-1].place) if len(cases) > limit else "",
        )

    async def GetCase(self, request: pb.GetCaseRequest, context: Context) -> pb.GetCaseResponse:
        case = await self._moderation.case(request.case_id)
        return pb.GetCaseResponse(case=wire.write_case(case, self._tickets.image(case.image, reviewing=True)))

    async def DecideCase(self, request: pb.DecideCaseRequest, context: Context) -> pb.DecideCaseResponse:
        decision = read_decision(request, visitor_of(context).account_id, self._clock.now())
        case = await self._moderation.decide(request.case_id, decision)
        return pb.DecideCaseResponse(case=wire.write_case(case))


def read_report(request: pb.ReportImageRequest) -> Told:
    """A report. Raises InvalidModerationField."""
    fields = Fields(InvalidModerationField)
    named = request.WhichOneof("image") or "image_id"
    report = Told(
        image_id=fields.name(named, getattr(request, named)),
        by_job=named == "job_id",
        reason=wire.REASON_NUMBERS.get(fields.known("reason", request.reason, NAMED_REASONS), Reason.NONE),
        detail=fields.text("detail", request.detail, MAX_CHARACTERS),
    )
    fields.check()
    return report


def read_cases(request: pb.ListCasesRequest) -> tuple[Collection[Verdict], int, Place | None]:
    """Which cases, how many at most, and behind which place. Raises InvalidModerationField."""
    fields = Fields(InvalidModerationField)
    verdicts = {
        wire.VERDICT_NUMBERS.get(fields.known(f"verdicts[{index}]", number, wire.VERDICT_NUMBERS), Verdict.NONE)
        for index, number in enumerate(request.verdicts)
    }
    limit = fields.page(request.page_size, request.page_token, MAX_PAGE, USUAL_PAGE)
    after = None
    if request.page_token and not fields.found:
        place = read_place(request.page_token, bool, int, str, str)
        after = None if place is None else _place(*place)
        if after is None:
            fields.add("page_token", "is not one that was given out")
    fields.check()
    return verdicts or WAITING, limit, after


def read_decision(request: pb.DecideCaseRequest, moderator: str, now: datetime) -> Decision:
    """A decision. Raises InvalidModerationField."""
    fields = Fields(InvalidModerationField)
    fields.known("verdict", request.verdict, (pb.VERDICT_SAFE, pb.VERDICT_UNSAFE))
    fields.known("reason", request.reason, wire.REASON_NUMBERS)
    if request.verdict == pb.VERDICT_SAFE and request.reason:
        fields.add("reason", "says what is wrong with an image that is UNSAFE")
    why = fields.text("why", request.why, MAX_CHARACTERS, required=True)
    fields.check()
    return Decision(wire.VERDICT_NUMBERS[request.verdict], moderator, now, why, wire.REASON_NUMBERS[request.reason])


def _token(place: Place) -> str:
    return write_place(place.urgent, place.reports, place.opened_at.isoformat(), place.image_id)


def _place(urgent: bool, reports: int, opened_at: str, image_id: str) -> Place | None:
    try:
        opened = datetime.fromisoformat(opened_at)
    except ValueError:
        return None
    return Place(urgent, reports, opened, image_id) if opened.tzinfo and 0 <= reports < MAX_REPORTS else None
