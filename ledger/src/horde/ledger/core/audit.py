"""The audit: recomputes every hash, every balance, every open hold and every statement line from the canonical texts,
and names the first thing that is wrong. Pure: rows in, report out.

Hashes come first, block by block, so a changed text is found where it stands. What is computed from the texts is
compared with what is stored after that; a difference is named by the row. Owners and the writer's row hold decisions
that no text carries; they have checksums of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, TypeVar

from horde.ledger.core.accounts import DAY_US, HELD, NAMELESS
from horde.ledger.core.book import Hold
from horde.ledger.core.chain import GENESIS, Block, leaf_hash, sealed
from horde.ledger.core.entries import canonical, parse, parts_of_json
from horde.ledger.core.operations import FINGERPRINT_BYTES
from horde.ledger.store.port import AuditRows, EntryRow, RefusalRow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """The first thing that is wrong."""

    block: int
    """0 where no block is to blame."""
    what: str
    event_id: str = ""


class _Found(Exception):
    def __init__(self, block: int, what: str, event_id: str = "") -> None:
        self.finding = Finding(block, what, event_id)


@dataclass(slots=True)
class Report:
    """What was read and found."""

    blocks: int = 0
    entries: int = 0
    transfers: int = 0
    refusals: int = 0
    finding: Finding | None = None
    head_hash: bytes = GENESIS
    sum_mkudos: int = 0


@dataclass(slots=True)
class _Recomputed:
    """What the texts say."""

    posted: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    touched: dict[str, int] = field(default_factory=dict)
    """Last sequence by account."""
    holds: dict[str, tuple[Any, int, Any, int]] = field(default_factory=dict)
    """Open: the operation that placed it, its place in that, the transfers, and when."""
    lines: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Statement lines, by owner."""
    line_sums: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """The sum of their sequences."""
    payers: dict[str, str] = field(default_factory=dict)


def audit(rows: AuditRows, from_block: int = 0) -> Report:
    """Recompute everything. From a later block on, only hashes and texts: balances need the whole journal."""
    report = Report()
    try:
        recomputed = _chain(rows, max(1, from_block), report)
        if from_block <= 1:
            _balances(rows, recomputed, report)
            _holds(rows, recomputed)
            _statements(rows, recomputed)
            _owners(rows)
    except _Found as found:
        report.finding = found.finding
    return report


_NO_ROW: Final = (None, 0)
_NO_ROWS: Final[tuple[int, list[EntryRow]]] = (0, [])


def _chain(rows: AuditRows, from_block: int, report: Report) -> _Recomputed:
    head, sealed_head = rows.head()
    if not sealed_head:
        raise _Found(0, "the writer's row does not match its checksum")
    recomputed = _Recomputed()
    entries = rows.entries(from_block)
    refusals = rows.refusals(from_block)
    entries_block, entries_now = next(entries, _NO_ROWS)
    refusal, refusal_block = next(refusals, _NO_ROW)
    previous: Block | None = None
    for block in rows.blocks(from_block):
        first = previous.last_sequence + 1 if previous is not None else block.first_sequence
        leaves: list[bytes] = []
        if entries_block == block.number:
            _entries(entries_now, first, block, recomputed, report, leaves)
            entries_block, entries_now = next(entries, _NO_ROWS)
        last = first + len(leaves) - 1
        line = 0
        while refusal is not None and refusal_block == block.number:
            leaves.append(_refusal(refusal, line, block, report))
            line += 1
            refusal, refusal_block = next(refusals, _NO_ROW)
        _block(block, previous, last, leaves, from_block)
        previous = block
        report.blocks += 1
        report.head_hash = block.hash
    if entries_now:
        raise _Found(entries_block, "an entry is in no block, or out of its block's place", entries_now[0].event_id)
    if refusal is not None:
        raise _Found(refusal_block, "a refusal is in no block, or out of its block's place", refusal.event_id)
    if previous is not None and (head.block, head.sequence, head.hash) != (
        previous.number, previous.last_sequence, previous.hash,
    ):  # fmt: skip
        raise _Found(previous.number, "the last block is not the one that the writer's row names")
    if previous is None and head.block >= from_block:
        raise _Found(head.block, "the blocks up to the one that the writer's row names are missing")
    return recomputed


def _block(block: Block, previous: Block | None, last: int, leaves: list[bytes], from_block: int) -> None:
    expected_number = previous.number + 1 if previous is not None else from_block
    if block.number != expected_number:
        raise _Found(expected_number, f"the block is missing; the next is {block.number}")
    if previous is None and from_block <= 1 and (block.previous_hash != GENESIS or block.first_sequence != 1):
        raise _Found(block.number, "the first block does not begin the chain")
    before = previous.hash if previous is not None else block.previous_hash
    if block.previous_hash != before:
        raise _Found(block.number, "the previous block's hash is another")
    first = previous.last_sequence + 1 if previous is not None else block.first_sequence
    made = sealed(block.number, first, last, block.writer_epoch, block.at_us, before, leaves)
    if made.merkle_root != block.merkle_root:
        raise _Found(block.number, "the entries do not hash to the block's Merkle root")
    if made != block:
        raise _Found(block.number, "the header does not hash to the block's hash")
    if previous is not None and block.writer_epoch < previous.writer_epoch:
        raise _Found(block.number, "it was written by an older writer than the block before")


def _entries(
    rows: list[EntryRow], sequence: int, block: Block, recomputed: _Recomputed, report: Report, leaves: list[bytes]
) -> None:
    """Check the entries of one block, which begins with `sequence`. One function: it runs for every entry there is."""
    posted, touched, at_us = recomputed.posted, recomputed.touched, block.at_us
    event_id = ""
    try:
        for number, event_id, mark, text in rows:
            leaves.append(leaf_hash(text))
            body = parse(text)
            op, kind = body["op"], body["kind"]
            if body["id"] != event_id or body["seq"] != number or body["at"] != at_us:
                raise _Found(block.number, "the row and its text do not agree", event_id)
            if number != sequence:
                raise _Found(block.number, f"sequence {sequence} is missing; the next is {number}", event_id)
            sequence += 1
            # The operation as it stands in the text, which is canonical, or else this finds out.
            begin = text.index('"op":') + 5
            sent = text[begin : text.index(',"seq":', begin)]
            if sha256(f"{kind} {sent}".encode()).digest()[:FINGERPRINT_BYTES] != mark:
                raise _Found(block.number, "the fingerprint is not that of what was sent", event_id)
            lines = body["transfers"]
            for debit, credit, amount, _ in lines:
                if amount <= 0 or debit == credit:
                    raise _Found(block.number, "a transfer moves nothing, or nowhere", event_id)
                posted[debit] -= amount
                posted[credit] += amount
                touched[debit] = touched[credit] = number
            report.transfers += len(lines)
            _follow(kind, op, number, lines, at_us, recomputed)
    except _Found:
        raise
    except Exception:  # noqa: BLE001 - whatever a damaged text does when read, it is the finding
        raise _Found(block.number, "the text cannot be read", event_id) from None
    report.entries += len(rows)


def _follow(kind: str, op: Any, sequence: int, transfers: Any, at_us: int, recomputed: _Recomputed) -> None:
    """Keep the open holds and the statements as the texts say."""
    parties: Iterable[str]
    if kind == "PLACE_HOLDS":
        for place, hold in enumerate(op["holds"]):
            recomputed.holds[hold["hold"]] = (op, place, transfers, at_us)
        parties = (op["payer"],)
    elif kind in ("SETTLE", "RELEASE"):
        payer = recomputed.holds.pop(op["hold"])[0]["payer"]
        owner = op.get("owner", payer)
        parties = (payer,) if owner == payer else (payer, owner)
    elif kind == "GIFT":
        parties = (op["from"], op["to"])
    elif kind == "UPTIME_REWARD":
        parties = (op["owner"],)
    elif kind == "SLASH":
        # The requester, too, if part of it went back.
        parties = {op["account"], *[name.partition("/")[2] for line in transfers for name in line[:2]]} - {""}
    elif kind == "CORRECTION":
        parties = {name.partition("/")[2] for line in transfers for name in line[:2]} - {""}
    else:
        parties = (op["account"],)
    for party in parties:
        if party not in NAMELESS:
            recomputed.lines[party] += 1
            recomputed.line_sums[party] += sequence


def _refusal(row: RefusalRow, line: int, block: Block, report: Report) -> bytes:
    try:
        leaf = leaf_hash(row.body)
        body = parse(row.body)
        mark = sha256(f"{body['kind']} {canonical(body['op'])}".encode()).digest()[:FINGERPRINT_BYTES]
        if (body["id"], mark, line, body["at"]) != (row.event_id, row.fingerprint, row.line, block.at_us):
            raise _Found(block.number, "the row of a refusal and its text do not agree", row.event_id)
    except _Found:
        raise
    except Exception:  # noqa: BLE001 - as above
        raise _Found(block.number, "the text of a refusal cannot be read", row.event_id) from None
    report.refusals += 1
    return leaf


def _balances(rows: AuditRows, recomputed: _Recomputed, report: Report) -> None:
    head, _ = rows.head()
    seen = held = 0
    for expected, account in enumerate(_readable(rows.accounts(), "account"), start=1):
        if account.number != expected:
            raise _Found(0, f"account number {expected} is missing; the next is {account.number}")
        posted = recomputed.posted.pop(account.name, 0)
        if (account.posted, account.sequence) != (posted, recomputed.touched.get(account.name, 0)):
            raise _Found(0, f"account {account.name} has {account.posted}, the journal says {posted}")
        if account.checked and account.posted < 0:
            raise _Found(0, f"account {account.name} is below its floor: {account.posted}")
        report.sum_mkudos += account.posted
        held += account.held
        seen += 1
        if account.name == HELD:
            recomputed.payers["held"] = str(account.posted)
    if recomputed.posted:
        raise _Found(0, f"account {min(recomputed.posted)} is in the journal alone")
    if seen != head.accounts or report.sum_mkudos != 0:
        raise _Found(0, f"{seen} accounts add up to {report.sum_mkudos}, of {head.accounts} that were opened")
    if held != int(recomputed.payers.get("held", "0")):
        raise _Found(0, f"accounts say that {held} is held, the account of holds has another sum")


def _holds(rows: AuditRows, recomputed: _Recomputed) -> None:
    for hold in _readable(rows.holds(), "hold"):
        placed = recomputed.holds.pop(hold.hold_id, None)
        if placed is None or _hold(*placed) != hold:
            raise _Found(0, f"hold {hold.hold_id} is not open, or another, by the journal")
    if recomputed.holds:
        raise _Found(0, f"hold {min(recomputed.holds)} is open by the journal, and has no row")


def _hold(op: Any, place: int, transfers: Any, at_us: int) -> Hold:
    """A hold as the journal says: each has one or two transfers, which stand in the order of the holds."""
    lines = iter(transfers)
    for number, asked in enumerate(op["holds"]):
        parts = parts_of_json(asked["parts"])
        own, subsidised, subsidy = 0, 0, ""
        while own + subsidised < parts.total_mkudos:
            debit, _, amount, _ = next(lines)
            if debit.startswith("spend/"):
                own += amount
            else:
                subsidised, subsidy = subsidised + amount, debit
        if number == place:
            break
    return Hold(
        asked["hold"], asked["job"], op["generation"], op["payer"], own, subsidised, subsidy, at_us // DAY_US,
        parts.canonical(), parts,
    )  # fmt: skip


def _readable(rows: Iterator[T], what: str) -> Iterator[T]:
    """The rows; one that cannot be read is a finding."""
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception:  # noqa: BLE001 - whatever a damaged row does when read, it is the finding
            raise _Found(0, f"a row of table {what} cannot be read") from None
        yield row


def _statements(rows: AuditRows, recomputed: _Recomputed) -> None:
    names = {account.number: account.name.partition("/")[2] for account in rows.accounts()}
    for number, count, total in rows.statements():
        owner = names.get(number, "")
        if (recomputed.lines.pop(owner, None), recomputed.line_sums[owner]) != (count, total):
            raise _Found(0, f"the statement of account {owner or number} has other lines than the journal")
    if recomputed.lines:
        raise _Found(0, f"the statement of account {min(recomputed.lines)} is missing")


def _owners(rows: AuditRows) -> None:
    for owner, right in _readable(rows.owners(), "owner"):
        if not right:
            raise _Found(0, f"owner {owner.account_id} does not match its checksum")
