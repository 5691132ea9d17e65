"""Between the contract's messages and the values of this service. Shapes only, no decisions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from horde.api.moderation.v1 import moderation_service_pb2 as pb
from horde.curation.core.cases import Case, Decision, Reason, Report, Voice
from horde.curation.core.images import Verdict
from horde.curation.tickets import Ticket

VERDICTS: Final[dict[Verdict, pb.Verdict.ValueType]] = {
    Verdict.NONE: pb.VERDICT_UNSPECIFIED,
    Verdict.SAFE: pb.VERDICT_SAFE,
    Verdict.UNSAFE: pb.VERDICT_UNSAFE,
    Verdict.UNSURE: pb.VERDICT_UNSURE,
}
VERDICT_NUMBERS: Final[dict[int, Verdict]] = {number: verdict for verdict, number in VERDICTS.items()}
REASONS: Final[dict[Reason, pb.ReportReason.ValueType]] = {
    reason: pb.ReportReason.Value(f"REPORT_REASON_{reason.name if reason else 'UNSPECIFIED'}") for reason in Reason
}
REASON_NUMBERS: Final[dict[int, Reason]] = {number: reason for reason, number in REASONS.items()}


def timestamp(at: datetime) -> Timestamp:
    """A time as a message."""
    message = Timestamp()
    message.FromDatetime(at)
    return message


def duration(span: timedelta) -> Duration:
    """A span as a message."""
    message = Duration()
    message.FromTimedelta(span)
    return message


def write_case(case: Case, ticket: Ticket | None = None) -> pb.Case:
    """A case, with a way to the image's bytes if there is one."""
    standing = case.standing
    message = pb.Case(
        case_id=case.image.image_id,
        image_id=case.image.image_id,
        prompt=case.image.prompt,
        negative_prompt=case.image.negative_prompt,
        model=case.image.model,
        opened_at=timestamp(standing.opened_at or case.image.shared_at),
        verdict=VERDICTS[standing.verdict],
        voices=map(_write_voice, case.voices),
        reports=map(_write_report, case.reports),
        decisions=map(_write_decision, case.decisions),
        report_count=standing.reports,
        urgent=standing.urgent,
        withheld=standing.withheld,
    )
    if ticket is not None:
        message.address, message.ticket = ticket.address, ticket.token
        message.expires_in.CopyFrom(duration(ticket.expires_in))
    return message


def _write_voice(voice: Voice) -> pb.CheckerVoice:
    return pb.CheckerVoice(checker=voice.checker, verdict=VERDICTS[voice.verdict], score=voice.score)


def _write_report(report: Report) -> pb.Report:
    return pb.Report(reason=REASONS[report.reason], detail=report.detail, at=timestamp(report.at))


def _write_decision(decision: Decision) -> pb.Decision:
    return pb.Decision(
        verdict=VERDICTS[decision.verdict],
        moderator_account_id=decision.moderator_account_id,
        at=timestamp(decision.at),
        why=decision.why,
        reason=REASONS[decision.reason],
    )
