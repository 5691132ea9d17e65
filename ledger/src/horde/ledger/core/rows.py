"""Rows of the tables to the ledger's values and back."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from horde.ledger.core.accounts import Account, AccountName, Owner
from horde.ledger.core.book import Hold
from horde.ledger.core.chain import Block
from horde.ledger.core.entries import parse, parts_of_json
from horde.ledger.core.identifiers import id_bytes, id_text
from horde.ledger.store.port import Head

WRITER_COLUMNS = ("epoch", "sequence", "block", "hash", "accounts", "sum_mkudos", "seal")
EVENT_COLUMNS = ("sequence", "id", "fingerprint", "body", "block")
REFUSAL_COLUMNS = ("line", "id", "fingerprint", "body", "block")
ACCOUNT_COLUMNS = ("number", "name", "posted", "held", "sequence")
OWNER_COLUMNS = (
    "account_id", "opened_us", "strikes", "decree", "promotions", "parked", "day", "subsidy_used", "subsidised_earned",
    "seal",
)  # fmt: skip
CLOSED = 2
"""Beside 0 and 1 in the column of the decree: whoever is gone needs none."""
HOLD_COLUMNS = ("id", "job_id", "generation_id", "payer_id", "own", "subsidised", "subsidy", "day", "parts")
BLOCK_COLUMNS = (
    "number", "first_sequence", "last_sequence", "writer_epoch", "at_us", "previous_hash", "merkle_root", "hash",
)  # fmt: skip


def seal(values: tuple[Any, ...]) -> bytes:
    """A checksum over a row that cannot be computed from the journal, so that a flipped bit in it is noticed."""
    return blake2b(repr(values).encode(), digest_size=8).digest()


def writer_row(head: Head) -> tuple[Any, ...]:
    values = (head.epoch, head.sequence, head.block, head.hash, head.accounts, head.sum_mkudos)
    return (*values, seal(values))


def head_of(row: Any) -> Head:
    return Head(row[0], row[1], row[2], bytes(row[3]), row[4], row[5])


def account_row(account: Account) -> tuple[Any, ...]:
    return (account.number, account.name, account.posted, account.held, account.sequence)


def account_of(row: Any) -> Account:
    return Account(row[0], AccountName(row[1]), row[2], row[3], row[4], stored=row[2])


def owner_row(owner: Owner) -> tuple[Any, ...]:
    decree = CLOSED if owner.closed else None if owner.decree is None else int(owner.decree)
    values = (
        owner.account_id, owner.opened_us, owner.strikes, decree, owner.promotions, owner.parked, owner.day,
        owner.subsidy_used, owner.subsidised_earned,
    )  # fmt: skip
    return (*values, seal(values))


def owner_of(row: Any) -> Owner:
    closed = row[3] == CLOSED
    decree = None if row[3] is None or closed else bool(row[3])
    return Owner(row[0], row[1], row[2], decree, row[4], row[5], row[6], row[7], row[8], closed)


def hold_row(hold: Hold) -> tuple[Any, ...]:
    return (
        id_bytes(hold.hold_id), id_bytes(hold.job_id), id_bytes(hold.generation_id), hold.payer_id, hold.own,
        hold.subsidised, hold.subsidy, hold.day, hold.parts,
    )  # fmt: skip


def hold_of(row: Any) -> Hold:
    return Hold(
        id_text(row[0]), id_text(row[1]), id_text(row[2]), row[3], row[4], row[5], row[6], row[7], row[8],
        parts_of_json(parse(row[8])),
    )  # fmt: skip


def block_row(block: Block) -> tuple[Any, ...]:
    return (
        block.number, block.first_sequence, block.last_sequence, block.writer_epoch, block.at_us, block.previous_hash,
        block.merkle_root, block.hash,
    )  # fmt: skip


def block_of(row: Any) -> Block:
    return Block(row[0], row[1], row[2], row[3], row[4], bytes(row[5]), bytes(row[6]), bytes(row[7]))
