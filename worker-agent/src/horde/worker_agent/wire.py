"""Between the contract's messages and the worker's words: one function a shape, no decisions."""

from __future__ import annotations

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.ledger.v1 import ledger_pb2
from horde.api.mesh.v1 import mesh_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.worker_agent.core import messages
from horde.worker_agent.core.jobs import (
    MAX_CATEGORY_CHARACTERS,
    MAX_DETAIL_CHARACTERS,
    MAX_DEVIATION_CHARACTERS,
    MAX_DEVIATIONS,
    Cancelled,
    Capabilities,
    Censored,
    Deviation,
    DeviationKind,
    Failed,
    FailureReason,
    JobId,
    LeaseId,
    Making,
    MilliKudos,
    ModelOffer,
    NoiseSchedule,
    Outcome,
    Painted,
    RefusalReason,
    Refused,
    Result,
    Sampler,
)
from horde.worker_agent.core.leases import Stage
from horde.worker_agent.core.settling import Disposition, RevocationReason, Settlement
from horde.worker_agent.core.texts import fit

_ESCROW_REASONS = {value: name for name, value in ledger_pb2.EscrowReason.items()}
_MULTIPLIERS = {value: name for name, value in job_pb2.MultiplierReason.items()}
_REVOCATIONS = {reason.value: reason for reason in RevocationReason}
SESSION_FEATURES = (
    worker_pb2.SESSION_FEATURE_PREVIEWS,
    worker_pb2.SESSION_FEATURE_LEASE_STATES,
    worker_pb2.SESSION_FEATURE_IDLE_REPORTS,
    worker_pb2.SESSION_FEATURE_PROMPT_CANCEL,
)
_IDLE = {
    generation_pb2.INELIGIBLE_REASON_MODEL: "this worker does not offer the model",
    generation_pb2.INELIGIBLE_REASON_SIZE: "the size or the steps are more than this worker offers",
    generation_pb2.INELIGIBLE_REASON_FEATURE: "this worker lacks a feature, a sampler or a noise schedule",
    generation_pb2.INELIGIBLE_REASON_DENIED: "the requester wants other workers",
    generation_pb2.INELIGIBLE_REASON_SLOW: "the requester wants a faster worker",
    generation_pb2.INELIGIBLE_REASON_PAUSED: "this worker is paused",
    generation_pb2.INELIGIBLE_REASON_TRIED_BEFORE: "this worker has tried it before, and others are to try first",
    generation_pb2.INELIGIBLE_REASON_NO_SLOTS: "this worker has no free slot",
    generation_pb2.INELIGIBLE_REASON_RESTING: "this worker failed several times in a row, and rests",
    generation_pb2.INELIGIBLE_REASON_REFUSED_MODEL: "this worker refused work with the model lately",
    generation_pb2.INELIGIBLE_REASON_BACKING_OFF: "this worker has tried it before, and may again after a pause",
}
_DISPOSITIONS = {disposition.value: disposition for disposition in Disposition}


def request(message: messages.Message) -> pb.AttachRequest:
    """What the worker says."""
    match message:
        case messages.Progress(lease_id, step, stage):
            progress = pb.LeaseProgress(lease_id=lease_id, step=step, state=_state(stage))
            return pb.AttachRequest(progress=progress)
        case messages.IdleQuestion():
            return pb.AttachRequest(idle_question=pb.IdleQuestion())
        case Outcome():
            return pb.AttachRequest(outcome=outcome_to_proto(message))
        case messages.Preview(lease_id, step, image):
            return pb.AttachRequest(preview=pb.LeasePreview(lease_id=lease_id, step=step, image=image))
        case messages.Demand():
            return pb.AttachRequest(demand=demand(message))
        case messages.Restatement(epoch, wanted, leases, outcomes):
            return pb.AttachRequest(
                restatement=pb.Restatement(
                    epoch=epoch,
                    demand=demand(wanted),
                    leases=[
                        pb.HeldLease(
                            lease_id=held.lease_id, job_id=held.job_id, step=held.step, state=_state(held.stage)
                        )
                        for held in leases
                    ],
                    outcomes=[outcome_to_proto(outcome) for outcome in outcomes],
                )
            )
        case Capabilities():
            return pb.AttachRequest(capabilities=capabilities(message))
        case messages.Hello(name, offered, agent):
            hello = pb.Hello(
                worker_name=name,
                capabilities=capabilities(offered),
                agent=agent,
                revision=mesh_pb2.CONTRACT_REVISION_1,
                features=SESSION_FEATURES,
            )
            return pb.AttachRequest(hello=hello)


def _state(stage: Stage) -> generation_pb2.LeaseState.ValueType:
    return generation_pb2.LeaseState.ValueType(stage.value)


def demand(wanted: messages.Demand) -> pb.Demand:
    return pb.Demand(slots=wanted.slots, draining=wanted.draining)


def capabilities(offered: Capabilities) -> worker_pb2.Capabilities:
    return worker_pb2.Capabilities(models=[_model(offer) for offer in offered.models])


def _model(offer: ModelOffer) -> worker_pb2.ModelOffer:
    image = worker_pb2.ImageOffer(
        max_pixels=offer.max_pixels,
        features=[worker_pb2.Feature.ValueType(feature.value) for feature in sorted(offer.features)],
        samplers=[job_pb2.Sampler.ValueType(sampler.value) for sampler in sorted(offer.samplers)],
        schedules=[job_pb2.NoiseSchedule.ValueType(schedule.value) for schedule in sorted(offer.schedules)],
        size_multiple=offer.size_multiple,
        max_batch=offer.max_batch,
    )
    return worker_pb2.ModelOffer(name=offer.name, loaded=offer.loaded, sha256=offer.sha256, image=image)


def outcome_to_proto(outcome: Outcome) -> pb.Outcome:
    """An outcome within the contract's bounds: its texts are cleaned and cut here, whoever wrote them."""
    proto = pb.Outcome(lease_id=outcome.lease_id, job_id=outcome.job_id)
    match outcome.result:
        case Painted(receipt, deviations, making):
            proto.painted.receipt = receipt
            if making is not None:
                proto.painted.making.CopyFrom(making_to_proto(making))
            proto.painted.deviations.extend(map(deviation_to_proto, _told(deviations)))
        case Censored(category):
            proto.censored.category = fit(category, MAX_CATEGORY_CHARACTERS, one_line=True)
        case Refused(reason, detail):
            proto.refused.reason = pb.RefusalReason.ValueType(reason.value)
            proto.refused.detail = fit(detail, MAX_DETAIL_CHARACTERS)
        case Failed(broke, detail):
            proto.failed.reason = pb.FailureReason.ValueType(broke.value)
            proto.failed.detail = fit(detail, MAX_DETAIL_CHARACTERS)
        case Cancelled(step):
            proto.cancelled.step = step
    # A result whose fields are all at their defaults is still that result.
    getattr(proto, type(outcome.result).__name__.lower()).SetInParent()
    return proto


def _told(deviations: tuple[Deviation, ...]) -> tuple[Deviation, ...]:
    """As many as one outcome carries; the last place says how many more there are."""
    if len(deviations) <= MAX_DEVIATIONS:
        return deviations
    rest = deviations[MAX_DEVIATIONS - 1 :]
    more = Deviation(rest[0].kind, rest[0].field, f"{rest[0].asked} (and {len(rest) - 1} more like this)", rest[0].done)
    return (*deviations[: MAX_DEVIATIONS - 1], more)


def outcome_from_proto(proto: pb.Outcome) -> Outcome:
    """Read an outcome back from disk; raises ValueError for one that says nothing."""
    return Outcome(LeaseId(proto.lease_id), JobId(proto.job_id), _result(proto))


def _result(proto: pb.Outcome) -> Result:
    match proto.WhichOneof("result"):
        case "painted":
            deviations = tuple(map(deviation_from_proto, proto.painted.deviations))
            making = making_from_proto(proto.painted.making) if proto.painted.HasField("making") else None
            return Painted(proto.painted.receipt, deviations, making)
        case "censored":
            return Censored(proto.censored.category)
        case "refused":
            return Refused(RefusalReason(proto.refused.reason), proto.refused.detail)
        case "failed":
            return Failed(FailureReason(proto.failed.reason), proto.failed.detail)
        case "cancelled":
            return Cancelled(proto.cancelled.step)
        case _:
            raise ValueError("an outcome without a result")


def deviation_to_proto(deviation: Deviation) -> job_pb2.Deviation:
    field, asked, done = (
        fit(text, MAX_DEVIATION_CHARACTERS) for text in (deviation.field, deviation.asked, deviation.done)
    )
    return job_pb2.Deviation(
        kind=job_pb2.DeviationKind.ValueType(deviation.kind.value), field=field, asked=asked, done=done
    )


def deviation_from_proto(proto: job_pb2.Deviation) -> Deviation:
    return Deviation(DeviationKind(proto.kind), proto.field, proto.asked, proto.done)


def making_to_proto(making: Making) -> job_pb2.Making:
    return job_pb2.Making(
        sampler=job_pb2.Sampler.ValueType(making.sampler.value),
        schedule=job_pb2.NoiseSchedule.ValueType(making.schedule.value),
        guidance_scale=making.guidance_scale,
        steps=making.steps,
        engine=fit(making.engine, 128, one_line=True),
        precision=fit(making.precision, 32, one_line=True),
        device_class=fit(making.device_class, 64, one_line=True),
        model_sha256=bytes.fromhex(making.model_sha256),
    )


def making_from_proto(proto: job_pb2.Making) -> Making:
    return Making(
        Sampler(proto.sampler),
        NoiseSchedule(proto.schedule),
        proto.guidance_scale if proto.HasField("guidance_scale") else None,
        proto.steps,
        proto.engine,
        proto.precision,
        proto.device_class,
        proto.model_sha256.hex(),
    )


def why_idle(report: pb.IdleReport) -> list[str]:
    """Why there is nothing to do, in words: first what keeps all jobs away, then what keeps some."""
    parts = []
    for hindrance in report.hindrances:
        where = f" ({hindrance.model})" if hindrance.model else ""
        ends = f", for {hindrance.ends_in.ToTimedelta()} yet" if hindrance.HasField("ends_in") else ""
        parts.append(f"{_IDLE.get(hindrance.reason, str(hindrance.reason))}{where}{ends} {hindrance.detail}".rstrip())
    for cause in report.causes:
        where = f", mostly for {cause.model}" if cause.model else ""
        waiting = "1 job waits" if cause.jobs == 1 else f"{cause.jobs} jobs wait"
        parts.append(f"{waiting} for others: {_IDLE.get(cause.reason, str(cause.reason))}{where}")
    return [fit(words, MAX_DETAIL_CHARACTERS, one_line=True) for words in parts]


def revocation_reason(number: int) -> RevocationReason:
    return _REVOCATIONS.get(number, RevocationReason.UNSPECIFIED)


def settled(proto: pb.Settled) -> tuple[LeaseId, Disposition, Settlement | None, str]:
    paid = settlement(proto.settlement) if proto.HasField("settlement") else None
    disposition = _DISPOSITIONS.get(proto.disposition, Disposition.UNSPECIFIED)
    return LeaseId(proto.lease_id), disposition, paid, proto.detail


def settlement(proto: ledger_pb2.WorkerSettlement) -> Settlement:
    reason = _ESCROW_REASONS.get(proto.escrow_reason, "") if proto.escrow_reason else ""
    return Settlement(
        earned=MilliKudos(proto.earned_mkudos),
        to_spend=MilliKudos(proto.to_spend_mkudos),
        to_escrow=MilliKudos(proto.to_escrow_mkudos),
        tax=MilliKudos(proto.tax_mkudos),
        escrow_reason=_in_words(reason, "ESCROW_REASON_"),
        base=MilliKudos(proto.base_mkudos),
        multipliers=tuple(
            (_in_words(_multiplier(multiplier), "MULTIPLIER_REASON_"), multiplier.permille)
            for multiplier in proto.multipliers
        ),
    )


def _multiplier(proto: job_pb2.PriceMultiplier) -> str:
    return _MULTIPLIERS.get(proto.reason, str(proto.reason))


def _in_words(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", " ")
