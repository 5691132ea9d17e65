"""A ledger entry as somebody's line of a statement: what it was, how much it moved, and every part by itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from horde.api.ledger.v1.ledger_pb2 import Entry, EscrowReason, EventKind, LedgerAccountKind, Settlement, TransferCode

_WHAT = {
    EventKind.EVENT_KIND_OPEN_ACCOUNT: "account opened",
    EventKind.EVENT_KIND_PLACE_HOLDS: "set aside for a generation",
    EventKind.EVENT_KIND_SETTLE: "image ended",
    EventKind.EVENT_KIND_RELEASE: "given back",
    EventKind.EVENT_KIND_UPTIME_REWARD: "uptime of a worker",
    EventKind.EVENT_KIND_AWARD: "award",
    EventKind.EVENT_KIND_GIFT: "gift",
    EventKind.EVENT_KIND_PROMOTION: "escrow released",
    EventKind.EVENT_KIND_SLASH: "escrow burned",
    EventKind.EVENT_KIND_CORRECTION: "correction",
    EventKind.EVENT_KIND_STANDING: "standing changed",
}
_WHY_ESCROW = {
    EscrowReason.ESCROW_REASON_OWNER_UNTRUSTED: "new owner",
    EscrowReason.ESCROW_REASON_ANONYMOUS_BOUND: "over the daily bound for anonymous work",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an entry, by name."""

    name: str
    mkudos: int
    remark: str = ""


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
    transfer_ids: tuple[str, ...]
    job_id: str
    generation_id: str
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
        transfer_ids=tuple(transfer.transfer_id for transfer in entry.transfers),
        job_id=entry.job_id,
        generation_id=entry.generation_id,
        note=entry.note,
    )


def _what(entry: Entry, account_id: str) -> str:
    if _earned(entry, account_id):
        return "image painted"
    if entry.kind == EventKind.EVENT_KIND_GIFT:
        given = _moved(entry, account_id, LedgerAccountKind.LEDGER_ACCOUNT_KIND_SPEND) < 0
        return "gift given" if given else "gift received"
    return _WHAT.get(entry.kind, "something newer than this program")


def _earned(entry: Entry, account_id: str) -> bool:
    return entry.kind == EventKind.EVENT_KIND_SETTLE and entry.settlement.owner_account_id == account_id


def _held(entry: Entry, account_id: str) -> int:
    # What is held stands in one account of the ledger for all: whose part it was follows from where it came from, and
    # at the end from what the requester was charged and got back.
    if _earned(entry, account_id):
        return 0
    spent = _moved(entry, account_id, LedgerAccountKind.LEDGER_ACCOUNT_KIND_SPEND)
    if entry.kind == EventKind.EVENT_KIND_SETTLE:
        return -(entry.settlement.charged_mkudos + spent)
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
        return settlement_parts(entry.settlement)
    return [
        Part(TransferCode.Name(transfer.code).removeprefix("TRANSFER_CODE_").lower(), transfer.amount_mkudos)
        for transfer in entry.transfers
        if account_id in (transfer.debit.account_id, transfer.credit.account_id)
    ]


def settlement_parts(settlement: Settlement) -> list[Part]:
    """How one job's hold was divided, each part that is not nothing by itself."""
    escrow = _WHY_ESCROW.get(settlement.escrow_reason, "")
    parts = [
        Part("price", settlement.earned_mkudos, f"to the worker's owner {settlement.owner_account_id[:8]}"),
        Part("  at once", settlement.to_spend_mkudos),
        Part("  in escrow", settlement.to_escrow_mkudos, escrow),
        Part("  paid by the censor subsidy", settlement.from_censor_subsidy_mkudos),
        Part("surcharges", settlement.surcharge_mkudos, "burned"),
        Part("tax", settlement.tax_mkudos, "burned"),
        Part("given back", settlement.returned_mkudos),
        Part("charged to the requester", settlement.charged_mkudos),
    ]
    return [part for part in parts if part.mkudos]
