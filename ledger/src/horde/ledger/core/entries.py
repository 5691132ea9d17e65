"""Entries: what the ledger wrote about an event, in memory and as canonical text.

The canonical text of an entry is one JSON object with sorted keys, no spaces, ASCII only, integers only. It is what the
journal stores and what is hashed; an entry in memory is only a view of it.

    {"at":<microseconds since 1970>,"decided":{...},"id":"<event id>","kind":"SETTLE","op":{<what was sent>},
     "seq":<from 1>,"transfers":[["<debit>","<credit>",<milli-kudos>,<code>],...]}
    {"at":...,"id":"...","kind":"PLACE_HOLDS","op":{...},"refused":{"metadata":{...},"reason":"INSUFFICIENT_KUDOS"}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple, cast

from pydantic_core import from_json

from horde.ledger.core.accounts import AccountName
from horde.ledger.core.errors import REMEMBERED
from horde.ledger.core.operations import EventKind
from horde.ledger.core.prices import PriceParts
from horde.services.errors import ServiceError

Json = Mapping[str, Any]
"""What a canonical text parses to."""


class TransferCode(IntEnum):
    """Why kudos moved; the numbers are the contract's."""

    HOLD = 1
    RELEASE = 2
    EARNING = 3
    EARNING_ESCROW = 4
    TAX = 5
    SURCHARGE = 6
    UPTIME = 7
    AWARD = 8
    GIFT = 9
    PROMOTION = 10
    SLASH = 11
    CORRECTION = 12
    RATING = 13
    FORFEIT = 14


class EscrowReason(IntEnum):
    """Why an earning was not spendable at once; the numbers are the contract's."""

    NONE = 0
    OWNER_UNTRUSTED = 1
    ANONYMOUS_BOUND = 2
    SUBSIDY_BOUND = 3
    UNPAID = 4
    OWNER_UNVERIFIED = 5


class Transfer(NamedTuple):
    """Kudos moved from one account to another."""

    debit: AccountName
    credit: AccountName
    amount: int
    code: int


@dataclass(slots=True)
class Settlement:
    """How one job's hold was divided, in milli-kudos: what was paid, which may be less than what was asked for."""

    owner_id: str
    payer_id: str
    worker_id: str
    model: str
    ending: int
    earned: int
    to_spend: int
    to_escrow: int
    escrow_reason: int
    tax: int
    surcharge: int
    charged: int
    """From the requester's own account."""
    subsidised: int
    """From the subsidy that the hold had drawn on."""
    subsidy: str
    """Its name; empty: none."""
    returned: int
    from_censor_subsidy: int
    parts: PriceParts
    """As quoted."""


@dataclass(slots=True)
class Entry:
    """One event as the ledger recorded it."""

    event_id: str
    sequence: int
    kind: EventKind
    at_us: int
    transfers: tuple[Transfer, ...]
    job_id: str = ""
    generation_id: str = ""
    settlement: Settlement | None = None
    note: str = ""
    block_number: int = 0
    released_for: int = 0
    """Of a release: how the job ended."""
    released_to: str = ""
    """Of a release: whose hold it was."""


def entry_of(body: Json, block_number: int) -> Entry:
    """Read an entry back from its parsed canonical text."""
    kind = EventKind[body["kind"]]
    op, decided = body["op"], body["decided"]
    return Entry(
        event_id=body["id"],
        sequence=body["seq"],
        kind=kind,
        at_us=body["at"],
        transfers=tuple(Transfer(*line) for line in body["transfers"]),
        job_id=op.get("job", ""),
        generation_id=op.get("generation", "") or decided.get("generation", ""),
        settlement=_settlement(op, decided) if kind is EventKind.SETTLE else None,
        note=op.get("note", ""),
        block_number=block_number,
        released_for=op["ending"] if kind is EventKind.RELEASE else 0,
        released_to=decided["payer"] if kind is EventKind.RELEASE else "",
    )


def refusal_of(body: Json) -> ServiceError:
    """Read a remembered refusal back from its parsed canonical text."""
    refused = body["refused"]
    return REMEMBERED[refused["reason"]](metadata=refused["metadata"])


def parts_of_json(parts: Json) -> PriceParts:
    """Read a price back."""
    return PriceParts(
        table_version=parts["table"],
        price_mkudos=parts["price"],
        surcharges=tuple((reason, amount) for reason, amount in parts["surcharges"]),
        tax_mkudos=parts["tax"],
        total_mkudos=parts["total"],
        base_mkudos=parts["base"],
        multipliers=tuple((reason, permille) for reason, permille in parts["multipliers"]),
    )


def _settlement(op: Json, decided: Json) -> Settlement:
    # What was paid may be less than what was asked for.
    earned, spent = decided["spend"] + decided["escrow"], decided["charged"] + decided["subsidised"]
    return Settlement(
        owner_id=op["owner"],
        payer_id=decided["payer"],
        worker_id=op["worker"],
        model=op["model"],
        ending=op["ending"],
        earned=earned,
        to_spend=decided["spend"],
        to_escrow=decided["escrow"],
        escrow_reason=decided["escrow_reason"],
        tax=op["tax"],
        surcharge=spent - (earned - decided["censor"]) - op["tax"],
        charged=decided["charged"],
        subsidised=decided["subsidised"],
        subsidy=decided["subsidy"],
        returned=decided["returned"],
        from_censor_subsidy=decided["censor"],
        parts=parts_of_json(decided["parts"]),
    )


def settlement_text(s: Settlement, generation_id: str, parts: str) -> str:
    """What was decided at a settlement, canonical."""
    return (
        f'{{"censor":{s.from_censor_subsidy},"charged":{s.charged},"escrow":{s.to_escrow},'
        f'"escrow_reason":{s.escrow_reason:d},"generation":"{generation_id}","parts":{parts},"payer":"{s.payer_id}",'
        f'"returned":{s.returned},"spend":{s.to_spend},"subsidised":{s.subsidised},"subsidy":"{s.subsidy}"}}'
    )


def entry_text(entry: Entry, operation: str, decided: str) -> str:
    """The canonical text of an entry, from its parts that are canonical already."""
    lines = ",".join([f'["{t[0]}","{t[1]}",{t[2]},{t[3]:d}]' for t in entry.transfers])
    return (
        f'{{"at":{entry.at_us},"decided":{decided},"id":"{entry.event_id}","kind":"{entry.kind._name_}",'
        f'"op":{operation},"seq":{entry.sequence},"transfers":[{lines}]}}'
    )


def refusal_text(event_id: str, kind: EventKind, at_us: int, operation: str, refusal: ServiceError) -> str:
    """The canonical text of a refusal that is remembered."""
    why = canonical({"metadata": refusal.metadata, "reason": refusal.reason})
    return f'{{"at":{at_us},"id":"{event_id}","kind":"{kind.name}","op":{operation},"refused":{why}}}'


def canonical(value: object) -> str:
    """Canonical JSON of any value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def parse(text: str) -> Json:
    """Parse a canonical text. Raises ValueError for what is no JSON, or more than one value.

    Pydantic's parser gives what `json` gives, in about half the time, and an audit does little else. It remembers keys,
    which come again and again, and not values, most of which are ids.
    """
    return cast(Json, from_json(text, allow_inf_nan=False, cache_strings="keys"))


_FIELDS: Final[Mapping[str, str]] = {
    "account": "account_id",
    "amount": "amount_mkudos",
    "base": "base_mkudos",
    "anonymous": "payer.anonymous_digest",
    "by": "awarded_by",
    "corrected": "corrected_event_id",
    "earned": "earned_mkudos",
    "offered": "offered_permille",
    "from": "from_account_id",
    "generation": "generation_id",
    "hold": "hold_id",
    "job": "job_id",
    "opened": "opened_at",
    "owner": "owner_account_id",
    "payer": "payer.account_id",
    "price": "price_mkudos",
    "rating": "rating_id",
    "strikes": "strikes_delta",
    "surcharge": "surcharge_mkudos",
    "table": "table_version",
    "tax": "tax_mkudos",
    "to": "to_account_id",
    "total": "total_mkudos",
    "worker": "worker_id",
}
"""The contract's names of the fields that the canonical text calls by shorter ones. A note is a gift's message, else a
reason."""


def conflicting_field(kind: EventKind, sent: Json, recorded: Json) -> str:
    """The contract's path of the first field in which an event differs from the one that is recorded."""
    if recorded["kind"] != kind.name:
        return "operation"
    field = _differing(sent, recorded["op"], "")
    if field == ".note":
        field = ".message" if kind is EventKind.GIFT else ".reason"
    return _OPERATION.get(kind, kind.name.lower()) + field


_OPERATION: Final[Mapping[EventKind, str]] = {
    EventKind.UPTIME_REWARD: "reward_uptime",
    EventKind.RATING: "reward_rating",
    EventKind.CORRECTION: "correct",
    EventKind.STANDING: "set_standing",
    EventKind.VERIFICATION: "verify",
}
"""Operations that are called otherwise than the entries that come of them."""


def _differing(sent: Json, recorded: Json, path: str) -> str:
    for key in sorted({*sent, *recorded}):
        here, there = sent.get(key), recorded.get(key)
        if here == there:
            continue
        where = f"{path}.{_FIELDS.get(key, key)}"
        if isinstance(here, dict) and isinstance(there, dict):
            return _differing(here, there, where)
        if isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
            place = next(i for i, (a, b) in enumerate(zip(here, there, strict=True)) if a != b)
            if isinstance(here[place], dict) and isinstance(there[place], dict):
                return _differing(here[place], there[place], f"{where}[{place}]")
            return f"{where}[{place}]"
        return where
    return ""
