"""Between the contract's messages and the worker's words: one function a shape, no decisions."""

from __future__ import annotations

from datetime import timedelta

from horde.api.job.v1 import job_pb2
from horde.api.ledger.v1 import ledger_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.worker_agent.core import session
from horde.worker_agent.core.jobs import (
    MAX_CATEGORY_CHARACTERS,
    MAX_DETAIL_CHARACTERS,
    MAX_DEVIATION_CHARACTERS,
    MAX_DEVIATIONS,
    Assignment,
    Cancelled,
    Capabilities,
    Censored,
    Deviation,
    DeviationKind,
    Disposition,
    Failed,
    FailureReason,
    InputId,
    InputRef,
    JobId,
    LeaseId,
    Lora,
    MilliKudos,
    ModelOffer,
    NoiseSchedule,
    Outcome,
    Painted,
    Picture,
    RefusalReason,
    Refused,
    Result,
    RevocationReason,
    Sampler,
    Settlement,
)
from horde.worker_agent.core.texts import fit

DEFAULT_TTL = timedelta(minutes=2)
_SAMPLERS = {each.value: each for each in Sampler}
_SCHEDULES = {each.value: each for each in NoiseSchedule}
_POST_PROCESSORS = {value: name.removeprefix("POST_PROCESSOR_") for name, value in job_pb2.PostProcessor.items()}
_ESCROW_REASONS = {value: name for name, value in ledger_pb2.EscrowReason.items()}
_MULTIPLIERS = {value: name for name, value in job_pb2.MultiplierReason.items()}
_REVOCATIONS = {each.value: each for each in RevocationReason}
_DISPOSITIONS = {each.value: each for each in Disposition}


def request(message: session.Message) -> pb.AttachRequest:
    """What the worker says."""
    match message:
        case session.Progress(lease_id, step):
            return pb.AttachRequest(progress=pb.LeaseProgress(lease_id=lease_id, step=step))
        case Outcome():
            return pb.AttachRequest(outcome=outcome_to_proto(message))
        case session.Preview(lease_id, step, image):
            return pb.AttachRequest(preview=pb.LeasePreview(lease_id=lease_id, step=step, image=image))
        case session.Demand():
            return pb.AttachRequest(demand=demand(message))
        case session.Restatement(epoch, wanted, leases, outcomes):
            return pb.AttachRequest(
                restatement=pb.Restatement(
                    epoch=epoch,
                    demand=demand(wanted),
                    leases=[
                        pb.HeldLease(lease_id=each.lease_id, job_id=each.job_id, step=each.step) for each in leases
                    ],
                    outcomes=[outcome_to_proto(each) for each in outcomes],
                )
            )
        case Capabilities():
            return pb.AttachRequest(capabilities=capabilities(message))
        case session.Hello(name, offered, agent):
            return pb.AttachRequest(hello=pb.Hello(worker_name=name, capabilities=capabilities(offered), agent=agent))


def demand(wanted: session.Demand) -> pb.Demand:
    return pb.Demand(slots=wanted.slots, draining=wanted.draining)


def capabilities(offered: Capabilities) -> worker_pb2.Capabilities:
    return worker_pb2.Capabilities(models=[_model_offer(each, offered.max_pixels) for each in offered.models])


def _model_offer(model: ModelOffer, max_pixels: int) -> worker_pb2.ModelOffer:
    samplers = [job_pb2.Sampler.ValueType(each.value) for each in sorted(model.samplers) if each.value]
    image = worker_pb2.ImageOffer(
        max_pixels=min(model.max_pixels or max_pixels, max_pixels),
        features=[worker_pb2.Feature.ValueType(each.value) for each in sorted(model.features)],
        samplers=samplers,
        # Which of them a sampler knows is told as a deviation where it does not.
        schedules=[job_pb2.NoiseSchedule.ValueType(each.value) for each in NoiseSchedule if each.value and samplers],
        # Other sizes are painted larger and cut, as a deviation; so every multiple of 8 can be asked for.
    )
    return worker_pb2.ModelOffer(name=model.name, loaded=model.loaded, sha256=model.sha256, image=image)


def outcome_to_proto(outcome: Outcome) -> pb.Outcome:
    """An outcome within the contract's bounds: its texts are cleaned and cut here, whoever wrote them."""
    proto = pb.Outcome(lease_id=outcome.lease_id, job_id=outcome.job_id)
    match outcome.result:
        case Painted(receipt, deviations):
            proto.painted.receipt = receipt
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
            return Painted(
                proto.painted.receipt, tuple(deviation_from_proto(each) for each in proto.painted.deviations)
            )
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


def assignment(proto: pb.Assignment) -> Assignment:
    return Assignment(
        lease_id=LeaseId(proto.lease_id),
        job_id=JobId(proto.job_id),
        picture=picture(proto.spec) if proto.spec.WhichOneof("kind") == "image" else None,
        grant=proto.grant,
        storage_address=proto.storage_address,
        tickets={InputId(each.input_id): each.ticket for each in proto.inputs},
        lease_ttl=proto.lease_ttl.ToTimedelta() if proto.HasField("lease_ttl") else DEFAULT_TTL,
        traceparent=proto.traceparent,
        price=MilliKudos(proto.price_mkudos),
    )


def picture(spec: job_pb2.JobSpec) -> Picture:
    image = spec.image
    return Picture(
        model=spec.model,
        prompt=image.prompt,
        width=image.width,
        height=image.height,
        steps=image.steps,
        seed=image.seed,
        negative_prompt=image.negative_prompt,
        guidance_scale=image.guidance_scale if image.HasField("guidance_scale") else None,
        sampler=_sampler(image.sampler),
        schedule=_SCHEDULES.get(image.schedule, NoiseSchedule.DEFAULT),
        clip_skip=image.clip_skip,
        loras=tuple(Lora(each.name, each.strength) for each in image.loras),
        source_image=input_ref(image.source_image) if image.HasField("source_image") else None,
        mask=input_ref(image.mask) if image.HasField("mask") else None,
        control_image=input_ref(image.controls[0].image) if image.controls else None,
        control_type=image.controls[0].type if image.controls else "",
        denoising_strength=image.denoising_strength if image.HasField("denoising_strength") else None,
        post_processors=tuple(_POST_PROCESSORS.get(each, str(each)) for each in image.post_processors),
        unheard_of=_unheard_of(image),
    )


def _unheard_of(image: job_pb2.ImageSpec) -> tuple[Deviation, ...]:
    """What a newer mesh asks for by a number that this agent does not know, and what this agent does not do."""
    own = "the model's own default"
    found = []
    if image.sampler not in _SAMPLERS:
        found.append(Deviation(DeviationKind.SUBSTITUTED, "sampler", str(image.sampler), own))
    if image.schedule not in _SCHEDULES:
        found.append(Deviation(DeviationKind.SUBSTITUTED, "schedule", str(image.schedule), own))
    for index, lora in enumerate(image.loras):
        if lora.HasField("clip_strength"):
            asked = f"{lora.clip_strength:g}"
            found.append(Deviation(DeviationKind.OMITTED, f"loras[{index}].clip_strength", asked))
        if lora.trigger:
            found.append(Deviation(DeviationKind.OMITTED, f"loras[{index}].trigger", lora.trigger))
    return tuple(found)


def _sampler(number: int) -> Sampler:
    return _SAMPLERS.get(number, Sampler.DEFAULT)


def input_ref(proto: job_pb2.InputImage) -> InputRef:
    return InputRef(InputId(proto.input_id), proto.sha256)


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
            (_in_words(_multiplier(each), "MULTIPLIER_REASON_"), each.permille) for each in proto.multipliers
        ),
    )


def _multiplier(proto: job_pb2.PriceMultiplier) -> str:
    return _MULTIPLIERS.get(proto.reason, str(proto.reason))


def _in_words(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", " ")
