"""Restrictions and records in the contract's words, and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from horde.api.standing.v1 import standing_service_pb2 as pb
from horde.gateway.core.decisions import APPEAL, Decision
from horde.gateway.core.restrictions import Restriction, Target, TargetKind, network_of
from horde.gateway.core.standing import Record, Resting, Withheld, sentences
from horde.gateway.core.validation import Violations
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_pb2
from horde.internal.scheduler.v1 import owner_service_pb2 as owner_pb2

DAY_SECONDS = 86_400
_ACTIONS = {
    "pause": pb.DECISION_ACTION_PAUSE,
    "ban": pb.DECISION_ACTION_BAN,
    "lift": pb.DECISION_ACTION_LIFT,
    APPEAL: pb.DECISION_ACTION_APPEAL,
    "set trust": pb.DECISION_ACTION_SET_TRUST,
    "set roles": pb.DECISION_ACTION_SET_ROLES,
    "amnesty": pb.DECISION_ACTION_AMNESTY,
    "create filter": pb.DECISION_ACTION_CREATE_FILTER,
    "delete filter": pb.DECISION_ACTION_DELETE_FILTER,
}
"""Those of this release; what an older or a newer one recorded otherwise is shown without."""
_FIELDS = {
    "worker_id": TargetKind.WORKER,
    "owner_account_id": TargetKind.OWNER,
    "requester_account_id": TargetKind.REQUESTER,
    "network": TargetKind.NETWORK,
}
_NAMES = {kind: name for name, kind in _FIELDS.items()}


def target_of(wrong: Violations, message: pb.RestrictionTarget) -> Target | None:
    """Whom a request is about; None where that makes no sense, which is said."""
    name = message.WhichOneof("target")
    if name is None:
        wrong.add("target", "must name somebody")
        return None
    kind, text = _FIELDS[name], str(getattr(message, name))
    if kind is TargetKind.NETWORK:
        try:
            return Target(kind, network_of(text))
        except ValueError:
            wrong.add("target.network", "must be an address or a network, such as 192.0.2.0/24")
            return None
    wrong.uuid(f"target.{name}", text)
    return Target(kind, text)


def restriction_message(restriction: Restriction) -> pb.Restriction:
    """A restriction."""
    message = pb.Restriction(
        restriction_id=restriction.restriction_id,
        kind=pb.RESTRICTION_KIND_BAN if restriction.ban else pb.RESTRICTION_KIND_PAUSE,
        reason=restriction.reason,
        by_account_id=restriction.by_account_id,
        appeal_note=restriction.appeal_note,
    )
    setattr(message.target, _NAMES[restriction.target.kind], restriction.target.name)
    message.since.FromDatetime(restriction.since)
    if restriction.until is not None:
        message.until.FromDatetime(restriction.until)
    if restriction.lifted_at is not None:
        message.lifted_at.FromDatetime(restriction.lifted_at)
    return message


def decision_message(decision: Decision) -> pb.Decision:
    """What was decided."""
    message = pb.Decision(
        decision_id=decision.decision_id,
        by_account_id=decision.by_account_id,
        action=_ACTIONS.get(decision.action, pb.DECISION_ACTION_UNSPECIFIED),
        subject=decision.subject,
        reason=decision.reason,
        detail=decision.detail,
    )
    message.at.FromDatetime(decision.at)
    return message


def record_of(
    ledgers: ledger_pb2.GetOwnerResponse,
    schedulers: owner_pb2.GetOwnerResponse,
    last_strike: pb.Strike | None,
    restrictions: Sequence[Restriction],
    now: datetime,
) -> Record:
    """What both neighbours and this door know of an account."""
    opened = ledgers.opened_at.ToDatetime(UTC) if ledgers.HasField("opened_at") else now
    return Record(
        trusted=ledgers.trusted,
        by_decree=ledgers.by_decree,
        age_days=max(0, (now - opened).days),
        age_needed_days=ledgers.trusted_from_age.seconds // DAY_SECONDS,
        escrow_mkudos=ledgers.escrow_mkudos,
        escrow_needed_mkudos=ledgers.trusted_from_mkudos,
        paid_images=schedulers.paid_images,
        paid_needed=schedulers.proven_images,
        proven=schedulers.proven,
        contradicted=schedulers.contradicted,
        strikes=schedulers.strikes,
        last_strike_at=None if last_strike is None else last_strike.at.ToDatetime(UTC),
        refuted=schedulers.images_refuted,
        resting=[Resting(rest.worker_name, rest.until.ToDatetime(UTC)) for rest in schedulers.resting],
        withheld=[
            Withheld(offer.worker_name, offer.model, offer.until.ToDatetime(UTC)) for offer in schedulers.withheld
        ],
        restrictions=restrictions,
    )


def standing_message(
    account_id: str, record: Record, ledgers: ledger_pb2.GetOwnerResponse, schedulers: owner_pb2.GetOwnerResponse
) -> pb.Standing:
    """How an account stands."""
    message = pb.Standing(
        account_id=account_id,
        trusted=record.trusted,
        by_decree=record.by_decree,
        strikes=record.strikes,
        images_verified=schedulers.images_verified,
        images_refuted=schedulers.images_refuted,
        restrictions=map(restriction_message, record.restrictions),
        sentences=sentences(record),
    )
    if not record.trusted and not record.by_decree:
        conditions = (
            (pb.TRUST_CONDITION_KIND_AGE_DAYS, record.age_days, record.age_needed_days),
            (pb.TRUST_CONDITION_KIND_EARNED_MKUDOS, record.escrow_mkudos, record.escrow_needed_mkudos),
        )
        for kind, have, need in conditions:
            if have < need:
                message.missing.add(kind=kind, have=have, need=need)
        if ledgers.strikes >= ledgers.strikes_limit:
            need = max(0, ledgers.strikes_limit - 1)
            message.missing.add(kind=pb.TRUST_CONDITION_KIND_STRIKES, have=ledgers.strikes, need=need)
    return message
