"""A statement says what an entry did to this account, and every part by itself."""

from horde.api.ledger.v1.ledger_pb2 import (
    AccountRef,
    Entry,
    EscrowReason,
    EventKind,
    LedgerAccountKind,
    Settlement,
    Transfer,
    TransferCode,
)
from horde.clients.statement import Part, line_for

SPEND, ESCROW = LedgerAccountKind.LEDGER_ACCOUNT_KIND_SPEND, LedgerAccountKind.LEDGER_ACCOUNT_KIND_ESCROW
HELD, BURN = LedgerAccountKind.LEDGER_ACCOUNT_KIND_HELD, LedgerAccountKind.LEDGER_ACCOUNT_KIND_TAX_BURN


def move(
    debit: LedgerAccountKind.ValueType,
    payer: str,
    credit: LedgerAccountKind.ValueType,
    payee: str,
    amount: int,
    code: TransferCode.ValueType,
) -> Transfer:
    return Transfer(
        transfer_id=f"t{amount}",
        debit=AccountRef(kind=debit, account_id=payer),
        credit=AccountRef(kind=credit, account_id=payee),
        amount_mkudos=amount,
        code=code,
    )


SETTLED = Entry(
    event_id="e",
    sequence=7,
    kind=EventKind.EVENT_KIND_SETTLE,
    job_id="j",
    block_number=3,
    transfers=[
        move(HELD, "", SPEND, "owner", 900, TransferCode.TRANSFER_CODE_EARNING),
        move(HELD, "", ESCROW, "owner", 901, TransferCode.TRANSFER_CODE_EARNING_ESCROW),
        move(HELD, "", BURN, "", 3000, TransferCode.TRANSFER_CODE_TAX),
    ],
    settlement=Settlement(
        event_id="e",
        owner_account_id="owner",
        earned_mkudos=1801,
        to_spend_mkudos=900,
        to_escrow_mkudos=901,
        tax_mkudos=3000,
        escrow_reason=EscrowReason.ESCROW_REASON_OWNER_UNTRUSTED,
        charged_mkudos=4801,
    ),
)


def test_the_requester_sees_what_left_his_hold() -> None:
    line = line_for(SETTLED, "asker")
    assert (line.spend_mkudos, line.escrow_mkudos, line.held_mkudos) == (0, 0, -4801)
    assert (line.what, line.event_id, line.block, line.job_id) == ("image ended", "e", 3, "j")


def test_what_is_set_aside_is_what_is_charged_or_given_back() -> None:
    hold = [move(SPEND, "asker", HELD, "", 5000, TransferCode.TRANSFER_CODE_HOLD)]
    back = [move(HELD, "", SPEND, "asker", 5000, TransferCode.TRANSFER_CODE_RELEASE)]
    held = line_for(Entry(kind=EventKind.EVENT_KIND_PLACE_HOLDS, transfers=hold), "asker")
    released = line_for(Entry(kind=EventKind.EVENT_KIND_RELEASE, transfers=back), "asker")
    assert (held.spend_mkudos, held.held_mkudos) == (-5000, 5000)
    assert (released.spend_mkudos, released.held_mkudos) == (5000, -5000)


def test_the_owner_sees_what_came_and_why_half_waits() -> None:
    line = line_for(SETTLED, "owner")
    assert (line.spend_mkudos, line.escrow_mkudos, line.held_mkudos) == (900, 901, 0)
    assert Part("  in escrow", 901, "new owner") in line.parts
    assert Part("tax", 3000, "burned") in line.parts
    assert not [part for part in line.parts if part.mkudos == 0]


def test_a_gift_is_given_by_one_and_received_by_the_other() -> None:
    gift = Entry(
        kind=EventKind.EVENT_KIND_GIFT,
        note="thanks",
        transfers=[move(SPEND, "a", SPEND, "b", 5000, TransferCode.TRANSFER_CODE_GIFT)],
    )
    assert (line_for(gift, "a").what, line_for(gift, "a").spend_mkudos) == ("gift given", -5000)
    assert (line_for(gift, "b").what, line_for(gift, "b").spend_mkudos) == ("gift received", 5000)
    assert line_for(gift, "b").note == "thanks"


def test_an_entry_of_a_newer_ledger_is_still_a_line() -> None:
    assert line_for(Entry(kind=99), "a").what == "something newer than this program"  # type: ignore[arg-type]
