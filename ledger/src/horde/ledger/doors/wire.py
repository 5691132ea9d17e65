"""Protobuf to the ledger's values and back: one function a shape, no decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from horde.api.job.v1 import job_pb2 as job
from horde.api.ledger.v1 import ledger_pb2 as pb
from horde.internal.ledger.v1 import ledger_service_pb2 as api
from horde.ledger.core import operations as ops
from horde.ledger.core.accounts import DAY_US, AccountKind, parts_of
from horde.ledger.core.audit import Report
from horde.ledger.core.book import Hold
from horde.ledger.core.chain import Block
from horde.ledger.core.entries import Entry, Settlement
from horde.ledger.core.errors import InvalidField
from horde.ledger.core.identifiers import transfer_id
from horde.ledger.core.journal import Answer
from horde.ledger.core.prices import PriceParts
from horde.ledger.doors.service import Balance, BalancesRead, OwnerRead, Proof
from horde.ledger.store.statistics import Statistics
from horde.services.errors import FieldViolation, ServiceError
from horde.services.status import to_status


def event_of(message: api.Event) -> ops.Event | ServiceError:
    """Read an event; one without an operation that is known here is answered by itself."""
    which = message.WhichOneof("operation")
    if which is None:
        return InvalidField(violations=[FieldViolation("operation", "is missing, or newer than this ledger")])
    return ops.Event(message.event_id, _OPERATIONS[which](getattr(message, which)))


def _place_holds(m: api.PlaceHolds) -> ops.PlaceHolds:
    payer = m.payer
    holds = [ops.HoldAsked(hold.hold_id, hold.job_id, parts_of_message(hold.parts)) for hold in m.holds]
    digest, address = payer.anonymous_digest.hex(), m.address_digest.hex()
    return ops.PlaceHolds(m.generation_id, payer.account_id, digest, holds, address)


def parts_of_message(m: job.PriceParts) -> PriceParts:
    """Read a price."""
    surcharges = (
        tuple((surcharge.reason, surcharge.amount_mkudos) for surcharge in m.surcharges) if m.surcharges else ()
    )
    multipliers = (
        tuple((multiplier.reason, multiplier.permille) for multiplier in m.multipliers) if m.multipliers else ()
    )
    return PriceParts(
        m.table_version, m.price_mkudos, surcharges, m.tax_mkudos, m.total_mkudos, m.base_mkudos, multipliers
    )


def parts_message(parts: PriceParts) -> job.PriceParts:
    """Say a price."""
    return job.PriceParts(
        table_version=parts.table_version,
        price_mkudos=parts.price_mkudos,
        surcharges=[job.Surcharge(reason=why, amount_mkudos=amount) for why, amount in parts.surcharges],  # type: ignore[arg-type]
        tax_mkudos=parts.tax_mkudos,
        total_mkudos=parts.total_mkudos,
        base_mkudos=parts.base_mkudos,
        multipliers=[job.PriceMultiplier(reason=why, permille=p) for why, p in parts.multipliers],  # type: ignore[arg-type]
    )


def _settle(m: api.Settle) -> ops.Settle:
    return ops.Settle(
        m.hold_id, m.job_id, m.ending, m.owner_account_id, m.earned_mkudos, m.tax_mkudos, m.surcharge_mkudos,
        m.worker_id, m.model, m.milli_megapixel_steps, m.shared,
    )  # fmt: skip


_OPERATIONS: Final[dict[str, Callable[[Any], ops.Operation]]] = {
    "open_account": lambda m: ops.OpenAccount(m.account_id, microseconds(m.opened_at)),
    "place_holds": _place_holds,
    "settle": _settle,
    "release": lambda m: ops.Release(m.hold_id, m.job_id, m.ending, m.reason),
    "reward_uptime": lambda m: ops.RewardUptime(
        m.worker_id, m.owner_account_id, m.bucket, m.models, m.offered_permille or 1000, m.sharers or 1
    ),
    "reward_rating": lambda m: ops.RewardRating(m.account_id, m.rating_id, m.amount_mkudos),
    "award": lambda m: ops.Award(m.account_id, m.amount_mkudos, m.awarded_by, m.reason),
    "gift": lambda m: ops.Gift(m.from_account_id, m.to_account_id, m.amount_mkudos, m.message),
    "slash": lambda m: ops.Slash(m.account_id, m.amount_mkudos, m.reason, m.job_id),
    "verify": lambda m: ops.Verify(m.account_id, m.job_id),
    "correct": lambda m: ops.Correct(m.corrected_event_id, m.reason),
    "close_account": lambda m: ops.CloseAccount(m.account_id),
    "set_standing": lambda m: ops.SetStanding(
        m.account_id, m.strikes_delta, m.trusted if m.HasField("trusted") else None, m.reason
    ),
}


def account_of(message: pb.AccountRef) -> tuple[AccountKind, str]:
    """Read an account; raises InvalidField for a kind that is not known here."""
    try:
        return AccountKind(message.kind), message.account_id
    except ValueError:
        raise InvalidField(violations=[FieldViolation("accounts.kind", "is not known")]) from None


def microseconds(stamp: Timestamp) -> int:
    """Read a time."""
    return stamp.seconds * 1_000_000 + stamp.nanos // 1_000


def stamp_of(at_us: int) -> Timestamp:
    """Say a time."""
    seconds, rest = divmod(at_us, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000)


def outcome_message(answer: Answer) -> api.ApplyOutcome:
    """Say an answer."""
    result = answer.result
    if isinstance(result, Entry):
        return api.ApplyOutcome(entry=entry_message(result), repeated_event=answer.repeated)
    return api.ApplyOutcome(error=to_status(result), repeated_event=answer.repeated)


def outcome_messages(answers: Iterable[Answer]) -> list[api.ApplyOutcome]:
    """Say answers."""
    return [outcome_message(answer) for answer in answers]


def entry_message(entry: Entry) -> pb.Entry:
    """Say an entry."""
    event_id = entry.event_id
    return pb.Entry(
        event_id=event_id,
        sequence=entry.sequence,
        kind=entry.kind,  # type: ignore[arg-type]
        created_at=stamp_of(entry.at_us),
        transfers=[
            pb.Transfer(
                transfer_id=transfer_id(event_id, line),
                debit=_ref(debit),
                credit=_ref(credit),
                amount_mkudos=amount,
                code=code,  # type: ignore[arg-type]
            )
            for line, (debit, credit, amount, code) in enumerate(entry.transfers)
        ],
        job_id=entry.job_id,
        generation_id=entry.generation_id,
        settlement=_settlement_message(entry),
        note=entry.note,
        block_number=entry.block_number,
    )


@lru_cache(maxsize=50_000)
def _ref(name: str) -> pb.AccountRef:
    """Kept, and only ever copied from: each transfer names two, and there are few of them."""
    kind, account_id = parts_of(name)
    return pb.AccountRef(kind=kind, account_id=account_id)  # type: ignore[arg-type]


def _settlement_message(entry: Entry) -> pb.Settlement | None:
    """Say how a job's hold was divided. A release divides nothing: all of it went back, which its transfers say."""
    if entry.settlement is not None:
        return settlement_message(entry.event_id, entry.settlement)
    if entry.kind != ops.EventKind.RELEASE:
        return None
    returned = sum(amount for _, _, amount, _ in entry.transfers)
    return pb.Settlement(
        event_id=entry.event_id,
        returned_mkudos=returned,
        payer_account_id=entry.released_to,
        ending=entry.released_for,  # type: ignore[arg-type]
    )


def settlement_message(event_id: str, s: Settlement) -> pb.Settlement:
    """Say how a job's hold was divided."""
    return pb.Settlement(
        event_id=event_id,
        owner_account_id=s.owner_id,
        earned_mkudos=s.earned,
        to_spend_mkudos=s.to_spend,
        to_escrow_mkudos=s.to_escrow,
        tax_mkudos=s.tax,
        surcharge_mkudos=s.surcharge,
        returned_mkudos=s.returned,
        from_censor_subsidy_mkudos=s.from_censor_subsidy,
        escrow_reason=s.escrow_reason,  # type: ignore[arg-type]
        charged_mkudos=s.charged,
        from_subsidy_mkudos=s.subsidised,
        payer_account_id=s.payer_id,
        worker_id=s.worker_id,
        model=s.model,
        ending=s.ending,  # type: ignore[arg-type]
        quoted=parts_message(s.parts),
    )


def balances_message(read: BalancesRead) -> api.GetBalancesResponse:
    """Say balances."""
    balances = [_balance(balance, read.sequence) for balance in read.balances]
    return api.GetBalancesResponse(balances=balances, sum_of_all_mkudos=read.sum_mkudos)


def _balance(balance: Balance, sequence: int) -> pb.Balance:
    return pb.Balance(
        account=pb.AccountRef(kind=balance.kind, account_id=balance.account_id),  # type: ignore[arg-type]
        posted_mkudos=balance.posted,
        held_mkudos=balance.held,
        floor_mkudos=balance.floor,
        available_mkudos=balance.available,
        sequence=sequence,
        owner_trusted=balance.owner_trusted,
    )


def owner_message(read: OwnerRead) -> api.GetOwnerResponse:
    """Say how an account stands."""
    owner, economy = read.owner, read.economy
    message = api.GetOwnerResponse(
        trusted_from_mkudos=economy.promotion_escrow_mkudos, strikes_limit=economy.strikes_limit
    )
    message.trusted_from_age.FromMicroseconds(economy.promotion_age_us)
    if owner is not None:
        message.trusted, message.by_decree = economy.trusted(owner), owner.decree is not None
        message.opened_at.FromMicroseconds(owner.opened_us)
        message.escrow_mkudos, message.strikes = max(0, read.escrow - owner.parked), owner.strikes
    return message


def holds_message(holds: Iterable[Hold], next_page_token: str) -> api.ListHoldsResponse:
    """Say open holds."""
    listed = [
        api.OpenHold(
            hold_id=hold.hold_id,
            job_id=hold.job_id,
            generation_id=hold.generation_id,
            payer_account_id=hold.payer_id,
            own_mkudos=hold.own,
            subsidised_mkudos=hold.subsidised,
            placed_on=stamp_of(hold.day * DAY_US),
        )
        for hold in holds
    ]
    return api.ListHoldsResponse(holds=listed, next_page_token=next_page_token)


def statistics_message(read: Statistics) -> api.GetStatisticsResponse:
    """Say statistics."""
    totals = read.totals
    return api.GetStatisticsResponse(
        sequence=read.sequence,
        jobs_settled=totals["jobs_settled"],
        jobs_released=totals["jobs_released"],
        minted_mkudos=totals["minted"],
        burned_mkudos=totals["burned"],
        subsidised_mkudos=totals["subsidised"],
        jobs_shared=totals["shared"],
        milli_megapixel_steps=totals["work"],
        leaders=[api.OwnerTotal(account_id=name, jobs=jobs, earned_mkudos=sum_) for name, jobs, sum_ in read.leaders],
        models=[
            api.ModelTotal(
                model=name,
                jobs=jobs,
                earned_mkudos=sum_,
                day_jobs=read.model_periods["day"][name],
                month_jobs=read.model_periods["month"][name],
            )
            for name, jobs, sum_ in read.models
        ],
        **{name: _period(totals) for name, totals in read.periods.items()},
    )


def _period(totals: Counter[str]) -> api.PeriodTotals:
    return api.PeriodTotals(
        jobs_settled=totals["jobs_settled"],
        jobs_released=totals["jobs_released"],
        minted_mkudos=totals["minted"],
        burned_mkudos=totals["burned"],
        subsidised_mkudos=totals["subsidised"],
        jobs_shared=totals["shared"],
        milli_megapixel_steps=totals["work"],
    )


def report_message(report: Report) -> api.AuditResponse:
    """Say what an audit found."""
    found = report.finding
    finding = None
    if found is not None:
        finding = api.AuditFinding(block_number=found.block, what=found.what, event_id=found.event_id)
    return api.AuditResponse(
        blocks=report.blocks,
        entries=report.entries,
        transfers=report.transfers,
        first_finding=finding,
        head_hash=report.head_hash,
        sum_of_all_mkudos=report.sum_mkudos,
    )


def proof_message(proof: Proof) -> api.ProveEntryResponse:
    """Say a proof."""
    return api.ProveEntryResponse(
        entry=entry_message(proof.entry),
        canonical=proof.canonical.encode(),
        path=[api.MerkleStep(sibling=step.sibling, left=step.left) for step in proof.path],
        block=block_message(proof.block),
    )


def block_message(block: Block) -> api.Block:
    """Say a block."""
    return api.Block(
        number=block.number,
        first_sequence=block.first_sequence,
        last_sequence=block.last_sequence,
        previous_hash=block.previous_hash,
        merkle_root=block.merkle_root,
        hash=block.hash,
        writer_epoch=block.writer_epoch,
        created_at=stamp_of(block.at_us),
    )
