"""A ledger entry as somebody's line of a statement: what it was, how much it moved, and every part by itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from horde.api.job.v1.job_pb2 import JobEnding
from horde.api.ledger.v1.ledger_pb2 import Entry, EscrowReason, EventKind, LedgerAccountKind, Settlement, TransferCode
from horde.clients.price_words import multipliers_text, surcharges_text

_WHAT: Final = {
    EventKind.EVENT_KIND_OPEN_ACCOUNT: "account opened",
    EventKind.EVENT_KIND_PLACE_HOLDS: "set aside for a generation",
    EventKind.EVENT_KIND_SETTLE: "image ended",
    EventKind.EVENT_KIND_RELEASE: "ended without an image, all given back",
    EventKind.EVENT_KIND_UPTIME_REWARD: "uptime of a worker",
    EventKind.EVENT_KIND_AWARD: "award",
    EventKind.EVENT_KIND_GIFT: "gift",
    EventKind.EVENT_KIND_PROMOTION: "escrow released: the account is trusted",
    EventKind.EVENT_KIND_SLASH: "escrow burned",
    EventKind.EVENT_KIND_CORRECTION: "correction",
    EventKind.EVENT_KIND_STANDING: "standing changed",
    EventKind.EVENT_KIND_RATING: "ratings",
    EventKind.EVENT_KIND_CLOSE_ACCOUNT: "account closed",
    EventKind.EVENT_KIND_VERIFICATION: "escrow released: the picture was looked at, and is what it should be",
}
_PAINTED: Final = {
    JobEnding.JOB_ENDING_DONE: "image painted",
    JobEnding.JOB_ENDING_CANCELLED: "image cancelled while it was painted: the painted steps are paid",
    JobEnding.JOB_ENDING_CENSORED: "image withheld by your checker: the censor subsidy pays",
}
_ASKED: Final = {
    JobEnding.JOB_ENDING_DONE: "image paid",
    JobEnding.JOB_ENDING_CANCELLED: "image cancelled: the steps already painted are paid, the rest is given back",
    JobEnding.JOB_ENDING_CENSORED: "image withheld by the worker's checker: it costs nothing, all given back",
}
_GIVEN_BACK: Final = {
    JobEnding.JOB_ENDING_CANCELLED: "image cancelled before it was begun, all given back",
    JobEnding.JOB_ENDING_FAULTED: "image failed, all given back",
    JobEnding.JOB_ENDING_EXPIRED: "image not painted in time, all given back",
}
_WHY_ESCROW: Final = {
    EscrowReason.ESCROW_REASON_OWNER_UNTRUSTED: "half is paid out once the mesh trusts the owner",
    EscrowReason.ESCROW_REASON_ANONYMOUS_BOUND: "over the daily bound for anonymous work: waits for an operator",
    EscrowReason.ESCROW_REASON_SUBSIDY_BOUND: "over the daily bound for subsidised work: waits for an operator",
    EscrowReason.ESCROW_REASON_OWNER_UNVERIFIED: "the owner's work is being checked: waits for what is found",
    EscrowReason.ESCROW_REASON_UNPAID: "not paid in full: a subsidy does not pay for it, or has no more today",
}
_MOVED: Final = {
    TransferCode.TRANSFER_CODE_HOLD: "set aside",
    TransferCode.TRANSFER_CODE_RELEASE: "given back",
    TransferCode.TRANSFER_CODE_UPTIME: "for ten minutes",
    TransferCode.TRANSFER_CODE_PROMOTION: "from escrow",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an entry, by name."""

    name: str
    mkudos: int
    remark: str = ""
    transfer_ids: tuple[str, ...] = ()
    """The transfers that moved it, where it was moved."""


@dataclass(frozen=True, slots=True)
class StatementLine:
    """An entry, from one account's side."""

    sequence: int
    at: datetime
    event_id: str
    block: int
    what: str
    spend_mkudos: int
    """What it did to the spendable balance."""
    escrow_mkudos: int
    held_mkudos: int
    """What it did to what this account has set aside of its own."""
    parts: tuple[Part, ...]
    job_id: str
    generation_id: str
    model: str
    """What was painted with, where something was painted."""
    worker_id: str
    note: str


def line_for(entry: Entry, account_id: str) -> StatementLine:
    """The line of an entry on the statement of `account_id`."""
    return StatementLine(
        sequence=entry.sequence,
        at=entry.created_at.ToDatetime(tzinfo=UTC),
        event_id=entry.event_id,
        block=entry.block_number,
        what=_what(entry, account_id),
        spend_mkudos=_moved(entry, account_id, LedgerAccountKind.LEDGER_ACCOUNT_KIND_SPEND),
        escrow_mkudos=_moved(entry, account_id, LedgerAccountKind.LEDGER_ACCOUNT_KIND_ESCROW),
        held_mkudos=_held(entry, account_id),
        parts=tuple(_parts(entry, account_id)),
        job_id=entry.job_id,
        generation_id=entry.generation_id,
        model=entry.settlement.model,
        worker_id=entry.settlement.worker_id,
        note=entry.note,
    )


def _what(entry: Entry, account_id: str) -> str:
    if entry.kind == EventKind.EVENT_KIND_SETTLE:
        words = _PAINTED if entry.settlement.owner_account_id == account_id else _ASKED
        return words.get(entry.settlement.ending, _WHAT[EventKind.EVENT_KIND_SETTLE])
    if entry.kind == EventKind.EVENT_KIND_RELEASE:
        return _GIVEN_BACK.get(entry.settlement.ending, _WHAT[EventKind.EVENT_KIND_RELEASE])
    if entry.kind == EventKind.EVENT_KIND_GIFT:
        given = _moved(entry, account_id, LedgerAccountKind.LEDGER_ACCOUNT_KIND_SPEND) < 0
        return "gift given" if given else "gift received"
    return _WHAT.get(entry.kind, "something newer than this program")


def _held(entry: Entry, account_id: str) -> int:
    # What is held stands in one account of the ledger for all: whose part it was follows from where it came from, and
    # at the end from what the requester was charged and got back.
    if entry.kind == EventKind.EVENT_KIND_SETTLE:
        if entry.settlement.payer_account_id != account_id:
            return 0
        back = sum(
            transfer.amount_mkudos
            for transfer in entry.transfers
            if transfer.code == TransferCode.TRANSFER_CODE_RELEASE and transfer.credit.account_id == account_id
        )
        return -(entry.settlement.charged_mkudos + back)
    spent = _moved(entry, account_id, LedgerAccountKind.LEDGER_ACCOUNT_KIND_SPEND)
    return -spent if entry.kind in (EventKind.EVENT_KIND_PLACE_HOLDS, EventKind.EVENT_KIND_RELEASE) else 0


def _moved(entry: Entry, account_id: str, kind: LedgerAccountKind.ValueType) -> int:
    moved = 0
    for transfer in entry.transfers:
        if transfer.credit.kind == kind and transfer.credit.account_id == account_id:
            moved += transfer.amount_mkudos
        if transfer.debit.kind == kind and transfer.debit.account_id == account_id:
            moved -= transfer.amount_mkudos
    return moved


def _parts(entry: Entry, account_id: str) -> list[Part]:
    if entry.kind == EventKind.EVENT_KIND_SETTLE and entry.HasField("settlement"):
        return settlement_parts(entry.settlement, entry)
    return [
        Part(_moved_words(transfer.code), transfer.amount_mkudos, transfer_ids=(transfer.transfer_id,))
        for transfer in entry.transfers
        if account_id in (transfer.debit.account_id, transfer.credit.account_id)
    ]


def _moved_words(code: TransferCode.ValueType) -> str:
    known = TransferCode.Name(code) if code in TransferCode.values() else "moved"
    return _MOVED.get(code, known.removeprefix("TRANSFER_CODE_").replace("_", " ").lower())


def settlement_parts(settlement: Settlement, entry: Entry | None = None) -> list[Part]:
    """How one job's price came about and its hold was divided, each part that is not nothing by itself.

    With the settlement's entry, each part names the transfers that moved it.
    """
    quoted = settlement.quoted
    subsidy = "anonymous" if settlement.payer_account_id == "anonymous" else "floor"

    def by(*codes: TransferCode.ValueType) -> tuple[str, ...]:
        return tuple(transfer.transfer_id for transfer in entry.transfers if transfer.code in codes) if entry else ()

    parts = [
        Part("base", quoted.base_mkudos, multipliers_text(quoted)),
        Part("price", quoted.price_mkudos, _price_remark(settlement)),
        Part("earned", settlement.earned_mkudos, f"by the worker's owner {settlement.owner_account_id[:8]}"),
        Part("  at once", settlement.to_spend_mkudos, "", by(TransferCode.TRANSFER_CODE_EARNING)),
        Part(
            "  in escrow",
            settlement.to_escrow_mkudos,
            _WHY_ESCROW.get(settlement.escrow_reason, ""),
            by(TransferCode.TRANSFER_CODE_EARNING_ESCROW),
        ),
        Part("  paid by the censor subsidy", settlement.from_censor_subsidy_mkudos),
        Part(
            "surcharges",
            settlement.surcharge_mkudos,
            f"burned: {surcharges_text(quoted.surcharges)}".removesuffix(": "),
            by(TransferCode.TRANSFER_CODE_SURCHARGE),
        ),
        Part("tax", settlement.tax_mkudos, "burned", by(TransferCode.TRANSFER_CODE_TAX)),
        Part("given back", settlement.returned_mkudos, "", by(TransferCode.TRANSFER_CODE_RELEASE)),
        Part(f"paid by the {subsidy} subsidy", settlement.from_subsidy_mkudos),
        Part("charged to the requester", settlement.charged_mkudos),
    ]
    return [part for part in parts if part.mkudos]


def _price_remark(settlement: Settlement) -> str:
    part = settlement.earned_mkudos < settlement.quoted.price_mkudos
    return "as quoted, for all steps" if part else ""
