"""Events as messages, for tests that speak to a ledger as its callers do."""

from __future__ import annotations

from horde.api.job.v1 import job_pb2 as job
from horde.internal.ledger.v1 import ledger_service_pb2 as api
from horde.ledger.core.operations import (
    Award,
    CloseAccount,
    Correct,
    Event,
    Gift,
    OpenAccount,
    PlaceHolds,
    Release,
    RewardRating,
    RewardUptime,
    SetStanding,
    Settle,
    Slash,
    Verify,
)
from horde.ledger.doors.wire import parts_message, stamp_of


def event_message(event: Event) -> api.Event:
    """Say an event."""
    message = api.Event(event_id=event.event_id)
    match event.operation:
        case OpenAccount(account_id, opened_us):
            message.open_account.CopyFrom(api.OpenAccount(account_id=account_id, opened_at=stamp_of(opened_us)))
        case PlaceHolds(generation_id, account_id, digest, asked, address):
            payer = job.Requester(account_id=account_id, anonymous_digest=bytes.fromhex(digest))
            holds = [api.Hold(hold_id=h.hold_id, job_id=h.job_id, parts=parts_message(h.parts)) for h in asked]
            message.place_holds.CopyFrom(
                api.PlaceHolds(
                    generation_id=generation_id, payer=payer, holds=holds, address_digest=bytes.fromhex(address)
                )
            )
        case Settle() as s:
            message.settle.CopyFrom(
                api.Settle(
                    hold_id=s.hold_id,
                    job_id=s.job_id,
                    ending=s.ending,  # type: ignore[arg-type]
                    owner_account_id=s.owner_id,
                    earned_mkudos=s.earned_mkudos,
                    tax_mkudos=s.tax_mkudos,
                    surcharge_mkudos=s.surcharge_mkudos,
                    worker_id=s.worker_id,
                    model=s.model,
                    milli_megapixel_steps=s.milli_megapixel_steps,
                    shared=s.shared,
                )
            )
        case Release(hold_id, job_id, ending, note):
            message.release.CopyFrom(
                api.Release(hold_id=hold_id, job_id=job_id, ending=ending, reason=note)  # type: ignore[arg-type]
            )
        case RewardUptime(worker_id, owner_id, bucket, models, permille, sharers):
            message.reward_uptime.CopyFrom(
                api.RewardUptime(
                    worker_id=worker_id,
                    owner_account_id=owner_id,
                    bucket=bucket,
                    models=models,
                    offered_permille=permille,
                    sharers=sharers,
                )
            )
        case RewardRating(account_id, rating_id, amount):
            message.reward_rating.CopyFrom(
                api.RewardRating(account_id=account_id, rating_id=rating_id, amount_mkudos=amount)
            )
        case Verify(account_id, job_id):
            message.verify.CopyFrom(api.Verify(account_id=account_id, job_id=job_id))
        case Award(account_id, amount, by, note):
            message.award.CopyFrom(api.Award(account_id=account_id, amount_mkudos=amount, awarded_by=by, reason=note))
        case Gift(giver, taker, amount, note):
            message.gift.CopyFrom(
                api.Gift(from_account_id=giver, to_account_id=taker, amount_mkudos=amount, message=note)
            )
        case Slash(account_id, amount, note, job_id):
            message.slash.CopyFrom(api.Slash(account_id=account_id, amount_mkudos=amount, reason=note, job_id=job_id))
        case Correct(corrected_id, note):
            message.correct.CopyFrom(api.Correct(corrected_event_id=corrected_id, reason=note))
        case CloseAccount(account_id):
            message.close_account.CopyFrom(api.CloseAccount(account_id=account_id))
        case SetStanding(account_id, strikes, trusted, note):
            message.set_standing.CopyFrom(
                api.SetStanding(account_id=account_id, strikes_delta=strikes, trusted=trusted, reason=note)
            )
    return message


def caller_of(event: Event) -> str:
    """Who may send it."""
    if isinstance(event.operation, RewardRating):
        return "curation"
    return (
        "scheduler" if isinstance(event.operation, PlaceHolds | Settle | Release | RewardUptime | Verify) else "gateway"
    )
