"""Between the contract's messages and the scheduler's values: workers. No decisions."""

from __future__ import annotations

from typing import Any

from horde.api.job.v1 import job_pb2
from horde.api.ledger.v1 import ledger_pb2
from horde.api.model.v1 import model_service_pb2
from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core.attaching import HeldLease
from horde.scheduler.core.board import Limits
from horde.scheduler.core.effects import SaySettled
from horde.scheduler.core.fleet import Capabilities, Offer, Pace, Worker
from horde.scheduler.core.hindrances import Report
from horde.scheduler.core.job import JobId, LeaseId
from horde.scheduler.core.leases import Stage
from horde.scheduler.core.outcomes import Broken, Cancelled, Censored, Failed, Refused, Result
from horde.scheduler.doors.wire import MULTIPLE_BIT, MULTIPLES, SAMPLER_BIT, SCHEDULE_BIT

MAX_OFFERS = 256
MAX_DETAIL = 500
PROGRESS_INTERVAL_MS = 250
"""More often than this nobody is told."""
MAX_PACE_SECONDS = 3_600.0


def text(value: str) -> str:
    """Words of a stranger, as they may be kept."""
    return value[:MAX_DETAIL].replace("\0", "")


REFUSALS_OF_A_JOB = (
    worker_service_pb2.REFUSAL_REASON_CONTENT_DECLINED,
    worker_service_pb2.REFUSAL_REASON_INPUT_UNAVAILABLE,
    worker_service_pb2.REFUSAL_REASON_SPEC_NOT_UNDERSTOOD,
)
"""They say nothing of other jobs of the model."""
NETWORK_FAILURES = frozenset({worker_service_pb2.FAILURE_REASON_TIMEOUT})
"""Reasons of failures that are not the worker's own. What the router refused is: it looked at what was brought."""


def capabilities_of(message: worker_pb2.Capabilities) -> Capabilities:
    """What a worker says that it can do; models beyond the first MAX_OFFERS do not count, nor other kinds of work."""
    named = [model for model in message.models if model.name and model.WhichOneof("kind") == "image"][:MAX_OFFERS]
    offers = {
        feature.name: Offer(feature.loaded, max(0, feature.image.max_pixels), _abilities(feature.image), feature.sha256)
        for feature in named
    }
    return Capabilities(offers, message.SerializeToString())


def _abilities(offer: worker_pb2.ImageOffer) -> int:
    """What can be asked for, as a mask; what this version does not know cannot."""
    bits: list[int] = [feature for feature in offer.features if 0 < feature < SAMPLER_BIT]
    bits += [SAMPLER_BIT + sampler for sampler in offer.samplers if 0 < sampler < SCHEDULE_BIT - SAMPLER_BIT]
    bits += [SCHEDULE_BIT + schedule for schedule in offer.schedules if 0 < schedule < MULTIPLE_BIT - SCHEDULE_BIT]
    bits += [MULTIPLE_BIT + index for index, multiple in enumerate(MULTIPLES) if multiple >= offer.size_multiple]
    return sum({1 << bit for bit in bits})


def pace_of(hello: worker_service_pb2.Hello) -> Pace | None:
    """How fast a worker says it works that cannot say how far it is; None of one that can."""
    if not hello.HasField("expected_pace"):
        return None
    pace = hello.expected_pace
    job_seconds = pace.megapixel_step.ToTimedelta().total_seconds(), pace.each_job.ToTimedelta().total_seconds()
    return Pace(*(min(max(seconds, 0.0), MAX_PACE_SECONDS) for seconds in job_seconds))


def show_abilities(message: model_service_pb2.Model, mask: int) -> None:
    """Say what of a mask can be asked for: features, samplers, noise schedules."""
    message.features.extend(feature for feature in worker_pb2.Feature.values() if feature and mask >> feature & 1)
    message.samplers.extend(
        sampler for sampler in job_pb2.Sampler.values() if sampler and mask >> SAMPLER_BIT + sampler & 1
    )
    schedules = [
        noise_schedule
        for noise_schedule in job_pb2.NoiseSchedule.values()
        if noise_schedule and mask >> SCHEDULE_BIT + noise_schedule & 1
    ]
    message.schedules.extend(schedules)


def capabilities_from(words: bytes) -> Capabilities:
    """The same, of what was written."""
    return capabilities_of(worker_pb2.Capabilities.FromString(words))


def stage_of(state: int) -> Stage:
    """How far a lease is; a state that is newer than this contract says nothing."""
    return Stage(state) if state in Stage._value2member_map_ else Stage.UNSAID


def fill_terms(message: worker_service_pb2.Terms, worker: Worker, limits: Limits) -> None:
    """What a worker is granted now."""
    message.max_slots = worker.standing.slots(limits.max_slots)
    message.prepare_grace.FromMilliseconds(int(limits.prepare_grace * 1000))
    message.upload_grace.FromMilliseconds(int(limits.upload_grace * 1000))
    message.progress_interval.FromMilliseconds(PROGRESS_INTERVAL_MS)


def idle_message(report: Report) -> worker_service_pb2.IdleReport:
    """Why a worker is given nothing."""
    message = worker_service_pb2.IdleReport()
    for cause in report.causes:
        message.causes.add(reason=cause.reason, jobs=cause.jobs, model=cause.model)
    for known in report.hindrances:
        hindrance = message.hindrances.add(reason=known.reason, model=known.model, detail=known.detail)
        if known.ends_in is not None:
            hindrance.ends_in.FromMilliseconds(int(known.ends_in * 1000))
    return message


def held_of(message: worker_service_pb2.HeldLease) -> HeldLease:
    return HeldLease(LeaseId(message.lease_id), JobId(message.job_id), message.step, stage_of(message.state))


def result_of(message: worker_service_pb2.Outcome) -> Result:
    """An outcome that brings no receipt."""
    match message.WhichOneof("result"):
        case "censored":
            return Censored(text(message.censored.category))
        case "refused":
            reason = message.refused.reason
            detail = text(message.refused.detail) or _name("RefusalReason", reason)
            leaving = reason == worker_service_pb2.REFUSAL_REASON_DRAINING
            return Refused(detail, leaving, reason in REFUSALS_OF_A_JOB)
        case "cancelled":
            return Cancelled(message.cancelled.step)
        case _:
            by_network = message.failed.reason in NETWORK_FAILURES
            refused = message.failed.reason == worker_service_pb2.FAILURE_REASON_UPLOAD_REFUSED
            detail = text(message.failed.detail) or _name("FailureReason", message.failed.reason)
            return Failed(detail, by_network, refused)


def broken_of(message: pb.InvalidOutcome) -> Broken:
    """An outcome that breaks a limit."""
    wrong = "; ".join(
        f"{field_violation.field} {field_violation.description}" for field_violation in message.invalid.field_violations
    )
    return Broken(text(f"The outcome breaks the contract: {wrong}"), message.invalid.SerializeToString())


def _name(enum: str, number: int) -> str:
    values: Any = getattr(worker_service_pb2, enum)
    return str(values.Name(number)) if number in values.values() else str(number)


def settled_message(effect: SaySettled) -> pb.SessionResponse:
    response = pb.SessionResponse(relay_session_id=effect.route.number)
    settled = response.worker.settled
    settled.lease_id, settled.job_id = effect.lease_id, effect.job_id
    settled.disposition = effect.disposition  # type: ignore[assignment]
    settled.detail = effect.detail
    if effect.invalid:
        settled.invalid.MergeFromString(effect.invalid)
    if effect.settlement:
        settlement = ledger_pb2.Settlement.FromString(effect.settlement)
        if settlement.earned_mkudos:
            settled.settlement.CopyFrom(worker_settlement(settlement))
    return response


def worker_settlement(paid: ledger_pb2.Settlement) -> ledger_pb2.WorkerSettlement:
    """What a worker is told: what its owner earned and why, and nothing of who paid."""
    return ledger_pb2.WorkerSettlement(
        event_id=paid.event_id,
        earned_mkudos=paid.earned_mkudos,
        to_spend_mkudos=paid.to_spend_mkudos,
        to_escrow_mkudos=paid.to_escrow_mkudos,
        escrow_reason=paid.escrow_reason,
        ending=paid.ending,
        model=paid.model,
        price_mkudos=paid.quoted.price_mkudos,
        base_mkudos=paid.quoted.base_mkudos,
        multipliers=paid.quoted.multipliers,
        tax_mkudos=paid.tax_mkudos,
    )


def worker_message(worker: Worker, speeds: dict[tuple[str, int], float], now: float, now_ms: int) -> worker_pb2.Worker:
    """A worker as everybody sees it."""
    session = worker.session
    message = worker_pb2.Worker(
        worker_id=worker.worker_id,
        name=worker.name,
        owner_account_id=worker.owner,
        state=state_of(worker),
        leases=len(worker.leases),
        slots=session.slots if session is not None else 0,
        images_done=worker.images_done,
        jobs_failed=worker.jobs_failed,
        agent=worker.agent,
        description=worker.description,
    )
    message.capabilities.MergeFromString(worker.capabilities.words)
    message.last_seen_at.FromMilliseconds(now_ms if session is not None else worker.last_seen_ms)
    if session is not None:
        message.attached_for.FromMilliseconds(max(0, int((now - session.opened_at) * 1000)))
    for (model, kind), seconds in sorted(speeds.items()):
        if kind == -1:
            message.speeds.add(model=model).megapixel_step.FromMicroseconds(round(seconds * 1_000_000))
    return message


def state_of(worker: Worker) -> worker_pb2.WorkerState.ValueType:
    session = worker.session
    if session is None:
        return worker_pb2.WORKER_STATE_AWAY
    if session.draining:
        return worker_pb2.WORKER_STATE_DRAINING
    if worker.paused:
        return worker_pb2.WORKER_STATE_PAUSED
    return worker_pb2.WORKER_STATE_BUSY if worker.leases else worker_pb2.WORKER_STATE_READY
