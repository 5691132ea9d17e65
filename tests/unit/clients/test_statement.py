"""A statement says what an entry did to this account, and every part by itself."""

import pytest

from horde.api.job.v1.job_pb2 import (
    JobEnding,
    MultiplierReason,
    PriceMultiplier,
    PriceParts,
    Surcharge,
    SurchargeReason,
)
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
from horde.clients.price_words import multipliers_text
from horde.clients.statement import Part, StatementLine, line_for, settlement_parts

SPEND, ESCROW = LedgerAccountKind.LEDGER_ACCOUNT_KIND_SPEND, LedgerAccountKind.LEDGER_ACCOUNT_KIND_ESCROW
HELD, BURN = LedgerAccountKind.LEDGER_ACCOUNT_KIND_HELD, LedgerAccountKind.LEDGER_ACCOUNT_KIND_TAX_BURN
SURCHARGE_BURN = LedgerAccountKind.LEDGER_ACCOUNT_KIND_SURCHARGE_BURN
CENSOR_SUBSIDY = LedgerAccountKind.LEDGER_ACCOUNT_KIND_CENSOR_SUBSIDY
POST_PROCESSOR = MultiplierReason.MULTIPLIER_REASON_POST_PROCESSOR
SOURCE_IMAGE = MultiplierReason.MULTIPLIER_REASON_SOURCE_IMAGE


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


QUOTED = PriceParts(
    table_version="2026-11",
    base_mkudos=1154,
    multipliers=[
        PriceMultiplier(reason=POST_PROCESSOR, permille=1200),
        PriceMultiplier(reason=SOURCE_IMAGE, permille=1300),
    ],
    price_mkudos=1801,
    surcharges=[Surcharge(reason=SurchargeReason.SURCHARGE_REASON_DENIED_WORKERS, amount_mkudos=181)],
    tax_mkudos=3000,
    total_mkudos=4982,
)
SETTLED = Entry(
    event_id="e",
    sequence=7,
    kind=EventKind.EVENT_KIND_SETTLE,
    job_id="j",
    generation_id="g",
    block_number=3,
    transfers=[
        move(HELD, "", SPEND, "owner", 900, TransferCode.TRANSFER_CODE_EARNING),
        move(HELD, "", ESCROW, "owner", 901, TransferCode.TRANSFER_CODE_EARNING_ESCROW),
        move(HELD, "", BURN, "", 3000, TransferCode.TRANSFER_CODE_TAX),
        move(HELD, "", SURCHARGE_BURN, "", 181, TransferCode.TRANSFER_CODE_SURCHARGE),
    ],
    settlement=Settlement(
        event_id="e",
        owner_account_id="owner",
        payer_account_id="asker",
        worker_id="w",
        model="paintbox",
        ending=JobEnding.JOB_ENDING_DONE,
        quoted=QUOTED,
        earned_mkudos=1801,
        to_spend_mkudos=900,
        to_escrow_mkudos=901,
        tax_mkudos=3000,
        surcharge_mkudos=181,
        escrow_reason=EscrowReason.ESCROW_REASON_OWNER_UNTRUSTED,
        charged_mkudos=4982,
    ),
)


def test_the_requester_sees_what_left_his_hold() -> None:
    line = line_for(SETTLED, "asker")
    assert (line.spend_mkudos, line.escrow_mkudos, line.held_mkudos) == (0, 0, -4982)
    assert (line.what, line.event_id, line.block) == ("image paid", "e", 3)
    assert (line.job_id, line.generation_id, line.model, line.worker_id) == ("j", "g", "paintbox", "w")


def cancelled(earned: int, surcharge: int) -> Entry:
    """The same job, cancelled part-way."""
    back = QUOTED.total_mkudos - earned - surcharge
    entry = Entry()
    entry.CopyFrom(SETTLED)
    del entry.transfers[:]
    entry.transfers.extend(
        [
            move(HELD, "", SPEND, "owner", earned, TransferCode.TRANSFER_CODE_EARNING),
            move(HELD, "", SURCHARGE_BURN, "", surcharge, TransferCode.TRANSFER_CODE_SURCHARGE),
            move(HELD, "", SPEND, "asker", back, TransferCode.TRANSFER_CODE_RELEASE),
        ]
    )
    entry.settlement.MergeFrom(
        Settlement(ending=JobEnding.JOB_ENDING_CANCELLED, earned_mkudos=earned, surcharge_mkudos=surcharge)
    )
    entry.settlement.MergeFrom(Settlement(to_spend_mkudos=earned, returned_mkudos=back))
    entry.settlement.charged_mkudos = earned + surcharge
    entry.settlement.tax_mkudos = entry.settlement.to_escrow_mkudos = 0
    return entry


def named(line: StatementLine) -> dict[str, Part]:
    return {part.name.strip(): part for part in line.parts}


@pytest.mark.parametrize("reader", ["owner", "asker"])
def test_both_can_follow_base_multipliers_escrow_tax_and_transfers(reader: str) -> None:
    parts = named(line_for(SETTLED, reader))
    assert parts["base"] == Part("base", 1154, "x 1.2 post-processor x 1.3 source image")
    assert parts["price"].mkudos == 1801
    assert parts["earned"].mkudos == 1801
    assert parts["at once"].transfer_ids == ("t900",)
    assert (parts["in escrow"].mkudos, parts["in escrow"].transfer_ids) == (901, ("t901",))
    assert (parts["tax"].mkudos, parts["tax"].transfer_ids) == (3000, ("t3000",))
    assert parts["surcharges"] == Part("surcharges", 181, "burned: some workers denied", ("t181",))
    assert parts["charged to the requester"].mkudos == 4982


def test_every_transfer_of_a_settlement_stands_at_a_part() -> None:
    for entry in (SETTLED, cancelled(600, 60)):
        listed = [transfer_id for part in line_for(entry, "owner").parts for transfer_id in part.transfer_ids]
        assert sorted(listed) == sorted(transfer.transfer_id for transfer in entry.transfers)


def test_a_job_that_was_cancelled_part_way_says_so_to_both() -> None:
    entry = cancelled(600, 60)
    owner, asker = line_for(entry, "owner"), line_for(entry, "asker")
    assert owner.what == "image cancelled while it was painted: the painted steps are paid"
    assert asker.what == "image cancelled: the steps already painted are paid, the rest is given back"
    assert named(asker)["price"] == Part("price", 1801, "as quoted, for all steps")
    assert named(asker)["earned"].mkudos == 600
    assert named(asker)["given back"].mkudos == 4322
    assert "tax" not in named(asker)
    assert (asker.spend_mkudos, asker.held_mkudos) == (4322, -4982)
    assert (owner.spend_mkudos, owner.held_mkudos) == (600, 0)


def test_a_picture_that_was_withheld_costs_nothing_and_is_paid_by_a_subsidy() -> None:
    entry = Entry()
    entry.CopyFrom(SETTLED)
    del entry.transfers[:]
    entry.transfers.extend(
        [
            move(CENSOR_SUBSIDY, "", SPEND, "owner", 1801, TransferCode.TRANSFER_CODE_EARNING),
            move(HELD, "", SPEND, "asker", 4982, TransferCode.TRANSFER_CODE_RELEASE),
        ]
    )
    entry.settlement.CopyFrom(
        Settlement(
            owner_account_id="owner", payer_account_id="asker", ending=JobEnding.JOB_ENDING_CENSORED, quoted=QUOTED,
            earned_mkudos=1801, to_spend_mkudos=1801, from_censor_subsidy_mkudos=1801, returned_mkudos=4982,
        )
    )  # fmt: skip
    owner, asker = line_for(entry, "owner"), line_for(entry, "asker")
    assert owner.what == "image withheld by your checker: the censor subsidy pays"
    assert asker.what == "image withheld by the worker's checker: it costs nothing, all given back"
    assert (asker.spend_mkudos, asker.held_mkudos, owner.spend_mkudos) == (4982, -4982, 1801)
    assert named(owner)["paid by the censor subsidy"].mkudos == 1801
    assert "charged to the requester" not in named(asker)


def test_who_paints_for_himself_sees_both_sides() -> None:
    entry = cancelled(600, 60)
    entry.settlement.payer_account_id = "owner"
    entry.transfers[2].credit.account_id = "owner"
    line = line_for(entry, "owner")
    assert (line.spend_mkudos, line.held_mkudos) == (600 + 4322, -4982)


def test_what_a_subsidy_paid_is_named() -> None:
    paid = Settlement(earned_mkudos=5, from_subsidy_mkudos=5, payer_account_id="asker")
    assert [part.name for part in settlement_parts(paid)] == ["earned", "paid by the floor subsidy"]
    paid.payer_account_id = "anonymous"
    assert settlement_parts(paid)[-1].name == "paid by the anonymous subsidy"


def test_factors_are_exact_and_what_is_newer_has_a_name() -> None:
    def text(permille: int, reason: int = 3) -> str:
        multiplier = PriceMultiplier(reason=reason, permille=permille)  # type: ignore[arg-type]
        return multipliers_text(PriceParts(multipliers=[multiplier]))

    assert [text(each) for each in (3000, 1300, 1025, 900, 10_000)] == [
        f"x {factor} source image" for factor in ("3", "1.3", "1.025", "0.9", "10")
    ]
    assert text(1500, 77) == "x 1.5 other"


def test_what_is_set_aside_is_what_is_charged_or_given_back() -> None:
    hold = [move(SPEND, "asker", HELD, "", 5000, TransferCode.TRANSFER_CODE_HOLD)]
    back = [move(HELD, "", SPEND, "asker", 5000, TransferCode.TRANSFER_CODE_RELEASE)]
    held = line_for(Entry(kind=EventKind.EVENT_KIND_PLACE_HOLDS, transfers=hold), "asker")
    released = line_for(Entry(kind=EventKind.EVENT_KIND_RELEASE, transfers=back), "asker")
    assert (held.spend_mkudos, held.held_mkudos) == (-5000, 5000)
    assert (released.spend_mkudos, released.held_mkudos) == (5000, -5000)


def test_the_owner_sees_what_came_and_why_half_waits() -> None:
    line = line_for(SETTLED, "owner")
    assert line.what == "image painted"
    assert (line.spend_mkudos, line.escrow_mkudos, line.held_mkudos) == (900, 901, 0)
    assert named(line)["in escrow"].remark == "half is paid out once the mesh trusts the owner"
    assert not [part for part in line.parts if part.mkudos == 0]


def test_every_reason_to_wait_has_words() -> None:
    for reason in EscrowReason.values():
        if reason:
            settled = Settlement(to_escrow_mkudos=5, escrow_reason=reason)
            assert settlement_parts(settled)[0].remark


def test_what_ended_without_an_image_says_so() -> None:
    back = [move(HELD, "", SPEND, "asker", 5000, TransferCode.TRANSFER_CODE_RELEASE)]
    line = line_for(Entry(kind=EventKind.EVENT_KIND_RELEASE, transfers=back), "asker")
    assert line.what == "ended without an image, all given back"
    assert line.parts == (Part("given back", 5000, "", ("t5000",)),)


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


@pytest.mark.parametrize(
    ("ending", "what"),
    [
        (JobEnding.JOB_ENDING_CANCELLED, "image cancelled before it was begun, all given back"),
        (JobEnding.JOB_ENDING_FAULTED, "image failed, all given back"),
        (JobEnding.JOB_ENDING_EXPIRED, "image not painted in time, all given back"),
    ],
)
def test_what_was_given_back_says_why(ending: JobEnding.ValueType, what: str) -> None:
    entry = Entry(kind=EventKind.EVENT_KIND_RELEASE, settlement=Settlement(ending=ending))
    assert line_for(entry, "asker").what == what
