"""Between the contract's messages and the values of this service. Shapes only, no decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.gateway.core import spec as domain
from horde.gateway.core.allowance import Bounds, SharedKey
from horde.gateway.core.identities import Account, ApiKey, number_of
from horde.gateway.core.placement import Placement, PlacementDecision, PlacementFacts, PlacementNotice
from horde.gateway.core.pricing import MultiplierReason, Price, SurchargeReason
from horde.gateway.core.requesters import ANONYMOUS, Requester, Role, Scope
from horde.gateway.core.waits import Outlook

PLACEMENTS = {
    Placement.PRIVATE: job_pb2.PLACEMENT_PRIVATE,
    Placement.SHARED: job_pb2.PLACEMENT_SHARED,
}
PLACEMENT_NAMES = {number: placement.value for placement, number in PLACEMENTS.items()}
SURCHARGES = {
    SurchargeReason.FAST_WORKERS_ONLY: job_pb2.SURCHARGE_REASON_FAST_WORKERS_ONLY,
    SurchargeReason.DENIED_WORKERS: job_pb2.SURCHARGE_REASON_DENIED_WORKERS,
}
MULTIPLIERS = {
    MultiplierReason.POST_PROCESSOR: job_pb2.MULTIPLIER_REASON_POST_PROCESSOR,
    MultiplierReason.CONTROL: job_pb2.MULTIPLIER_REASON_CONTROL,
    MultiplierReason.SOURCE_IMAGE: job_pb2.MULTIPLIER_REASON_SOURCE_IMAGE,
    MultiplierReason.HIRES_FIX: job_pb2.MULTIPLIER_REASON_HIRES_FIX,
}
NOTICES = {
    PlacementNotice.NOT_SHARED_HAS_INPUT: (
        generation_pb2.NOTICE_CODE_NOT_SHARED_HAS_INPUT,
        "It stays private: an image made from another picture is never shared.",
    ),
    PlacementNotice.SHARED_ANONYMOUS: (
        generation_pb2.NOTICE_CODE_SHARED_ANONYMOUS,
        "It will be shared with research: what anonymous makes from text always is.",
    ),
    PlacementNotice.SHARED_ASKED: (
        generation_pb2.NOTICE_CODE_SHARED_ASKED,
        "It will be shared with research, as you asked.",
    ),
}
ROLES = {
    Role.MODERATOR: account_pb2.ACCOUNT_ROLE_MODERATOR,
    Role.OPERATOR: account_pb2.ACCOUNT_ROLE_OPERATOR,
}
ROLES_BY_NUMBER: dict[int, Role] = {number: role for role, number in ROLES.items()}
SCOPES = {
    Scope.GENERATE: account_pb2.API_KEY_SCOPE_GENERATE,
    Scope.WORK: account_pb2.API_KEY_SCOPE_WORK,
    Scope.MANAGE: account_pb2.API_KEY_SCOPE_MANAGE,
}
SCOPES_BY_NUMBER: dict[int, Scope] = {number: scope for scope, number in SCOPES.items()}


def requester_message(requester: Requester) -> job_pb2.Requester:
    return job_pb2.Requester(account_id=requester.account_id, anonymous_digest=requester.anonymous_digest)


def requester_of(message: job_pb2.Requester) -> Requester:
    return Requester(message.account_id, message.anonymous_digest)


def generation_spec(message: generation_pb2.GenerationSpec) -> domain.GenerationSpec:
    """What is asked for, to be validated and priced."""
    return domain.GenerationSpec(
        model=message.job.model,
        image=_image_spec(message.job.image) if message.job.HasField("image") else None,
        count=message.count,
        share=message.share,
        fast_workers_only=message.fast_workers_only,
        denied_worker_ids=tuple(message.denied_worker_ids),
        allowed_worker_ids=tuple(message.allowed_worker_ids),
        time_to_live=_span(message.time_to_live) if message.HasField("time_to_live") else None,
        keep_for=_span(message.keep_for) if message.HasField("keep_for") else None,
        wait_for_model=message.wait_for_model,
    )


def _image_spec(message: job_pb2.ImageSpec) -> domain.ImageSpec:
    has = message.HasField
    return domain.ImageSpec(
        prompt=message.prompt,
        negative_prompt=message.negative_prompt,
        width=message.width,
        height=message.height,
        steps=message.steps,
        guidance_scale=message.guidance_scale if has("guidance_scale") else None,
        sampler=message.sampler,
        schedule=message.schedule,
        seed=message.seed if has("seed") else None,
        clip_skip=message.clip_skip,
        loras=tuple(map(_lora, message.loras)),
        source_image=_input(message.source_image) if has("source_image") else None,
        mask=_input(message.mask) if has("mask") else None,
        controls=tuple(map(_control, message.controls)),
        denoising_strength=message.denoising_strength if has("denoising_strength") else None,
        post_processors=tuple(message.post_processors),
        resize_mode=message.resize_mode,
        invert_mask=message.invert_mask,
        hires_fix=_hires_fix(message.hires_fix) if has("hires_fix") else None,
        tiling=message.tiling,
        textual_inversions=tuple(map(_inversion, message.textual_inversions)),
    )


def _lora(message: job_pb2.Lora) -> domain.Lora:
    clip_strength = message.clip_strength if message.HasField("clip_strength") else None
    return domain.Lora(message.name, message.strength, clip_strength, message.source, message.sha256, message.trigger)


def _inversion(message: job_pb2.TextualInversion) -> domain.TextualInversion:
    strength = message.strength if message.HasField("strength") else None
    return domain.TextualInversion(message.name, message.source, message.sha256, message.place, strength)


def _hires_fix(message: job_pb2.HiresFix) -> domain.HiresFix:
    strength = message.denoising_strength if message.HasField("denoising_strength") else None
    return domain.HiresFix(message.width, message.height, strength)


def _control(message: job_pb2.Control) -> domain.Control:
    image = _input(message.image) if message.HasField("image") else None
    return domain.Control(image, message.type, message.strength if message.HasField("strength") else None)


def _input(message: job_pb2.InputImage) -> domain.InputRef:
    return domain.InputRef(message.input_id, message.sha256)


def input_message(ref: domain.InputRef) -> job_pb2.InputImage:
    return job_pb2.InputImage(input_id=ref.input_id, sha256=ref.sha256)


def _span(message: Duration) -> domain.Span:
    return domain.Span(message.seconds, message.nanos)


def outlook(message: generation_pb2.WaitEstimate) -> Outlook:
    """How long a queued image may take, as far as a change of it is news."""
    p50, p90 = (wait.seconds + wait.nanos / 1e9 for wait in (message.p50, message.p90))
    return message.eligible_workers, p50, p90


def quote(
    facts: PlacementFacts, decision: PlacementDecision, price: Price, count: int, consent_text_version: str
) -> generation_pb2.Quote:
    """The frozen part of a quote: price, placement, and why."""
    return generation_pb2.Quote(
        per_image=job_pb2.PriceParts(
            table_version=price.table_version,
            price_mkudos=price.price_mkudos,
            surcharges=[
                job_pb2.Surcharge(reason=SURCHARGES[surcharge.reason], amount_mkudos=surcharge.amount_mkudos)
                for surcharge in price.surcharges
            ],
            tax_mkudos=price.tax_mkudos,
            total_mkudos=price.total_mkudos,
            base_mkudos=price.base_mkudos,
            multipliers=[
                job_pb2.PriceMultiplier(reason=MULTIPLIERS[multiplier.reason], permille=multiplier.permille)
                for multiplier in price.multipliers
            ],
        ),
        total_mkudos=price.total_mkudos * count,
        placement=PLACEMENTS[decision.placement],
        facts=job_pb2.PlacementFacts(
            anonymous=facts.anonymous,
            asked=facts.asked,
            has_input=facts.has_input,
            consent_text_version=consent_text_version,
        ),
        notices=[
            generation_pb2.Notice(code=NOTICES[notice][0], text=NOTICES[notice][1]) for notice in decision.notices
        ],
    )


def timestamp(at: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(at)
    return message


def account_message(account: Account, *, trusted: bool = False) -> account_pb2.Account:
    return account_pb2.Account(
        account_id=account.account_id,
        display_name=account.display_name,
        created_at=timestamp(account.created_at),
        roles=sorted(ROLES[role] for role in account.roles),
        trusted=trusted,
        public=account.public,
        contact=account.contact,
        number=number_of(account.account_id) if account.account_id != ANONYMOUS else 0,
    )


def api_key_message(key: ApiKey) -> account_pb2.ApiKey:
    return account_pb2.ApiKey(
        api_key_id=key.api_key_id,
        label=key.label,
        scopes=sorted(SCOPES[scope] for scope in key.scopes),
        created_at=timestamp(key.created_at),
        last_used_at=None if key.last_used_at is None else timestamp(key.last_used_at),
        revoked=key.revoked,
    )


def shared_key_message(key: SharedKey) -> account_pb2.SharedKey:
    return account_pb2.SharedKey(
        shared_key_id=key.shared_key_id,
        label=key.label,
        created_at=timestamp(key.created_at),
        budget_mkudos=key.budget_mkudos,
        spent_mkudos=key.spent_mkudos,
        expires_at=None if key.expires_at is None else timestamp(key.expires_at),
        bounds=account_pb2.SharedKeyBounds(**asdict(key.bounds)),
        revoked=key.revoked,
        last_used_at=None if key.last_used_at is None else timestamp(key.last_used_at),
    )


def bounds_of(message: account_pb2.SharedKeyBounds) -> Bounds:
    return Bounds(
        max_pixels=message.max_pixels,
        max_steps=message.max_steps,
        max_count=message.max_count,
        max_total_mkudos=message.max_total_mkudos,
        models=tuple(message.models),
        max_open_generations=message.max_open_generations,
    )


def scopes_of(numbers: Sequence[int]) -> tuple[Scope | None, ...]:
    """The scopes that are asked for; None for one that is not known."""
    return tuple(SCOPES_BY_NUMBER.get(number) for number in numbers)
