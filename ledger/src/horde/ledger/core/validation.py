"""Whether an event can be at all, whatever the state of things: fields, ranges, and ids derived as the contract says.

All that is wrong is listed. What is refused here is not remembered: the id stays unused.
"""

from __future__ import annotations

from typing import Final

from horde.ledger.core import identifiers
from horde.ledger.core.accounts import NAMELESS
from horde.ledger.core.errors import InvalidField, SelfGift
from horde.ledger.core.identifiers import is_name, is_uuid
from horde.ledger.core.operations import (
    Award,
    CloseAccount,
    Correct,
    Event,
    Gift,
    HoldAsked,
    JobEnding,
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
from horde.ledger.core.prices import MultiplierReason, SurchargeReason
from horde.services.errors import FieldViolation

MAX_HOLDS: Final = 256
MAX_AMOUNT_MKUDOS: Final = 10**12
"""A billion kudos in one amount: nine million of them fit into a balance."""
MAX_TEXT: Final = 500
MAX_MODEL: Final = 200
MAX_WORK: Final = 2**53
MAX_ADDRESS_DIGEST: Final = 4
"""Digits. More would tell which address it is."""
MAX_SHARERS: Final = 10**9
MAX_SURCHARGES: Final = 8
MAX_MULTIPLIERS: Final = 8
MAX_STRIKES: Final = 1000
SETTLED: Final = frozenset({JobEnding.DONE, JobEnding.CANCELLED, JobEnding.CENSORED})
RELEASED: Final = frozenset({JobEnding.CANCELLED, JobEnding.FAULTED, JobEnding.EXPIRED})


def check(event: Event) -> None:
    """Raise InvalidField with every violation, or SelfGift, for an event that cannot be."""
    wrong = _Violations()
    operation = event.operation
    if not is_uuid(event.event_id):
        wrong.add("event_id", "must be a canonical UUID")
    match operation:
        case Settle():
            _settle(wrong, operation, event.event_id)
        case PlaceHolds():
            _place_holds(wrong, operation, event.event_id)
        case Release():
            _release(wrong, operation, event.event_id)
        case RewardUptime():
            _reward_uptime(wrong, operation, event.event_id)
        case RewardRating():
            wrong.name("reward_rating.account_id", operation.account_id)
            if wrong.uuid("reward_rating.rating_id", operation.rating_id):
                wrong.derived("event_id", event.event_id, identifiers.rating_event_id(operation.rating_id))
            wrong.amount("reward_rating.amount_mkudos", operation.amount_mkudos)
        case Gift():
            _gift(wrong, operation)
        case Award():
            wrong.name("award.account_id", operation.account_id)
            wrong.amount("award.amount_mkudos", operation.amount_mkudos)
            wrong.text("award.awarded_by", operation.awarded_by, 1)
            wrong.text("award.reason", operation.note, 1)
        case OpenAccount():
            wrong.name("open_account.account_id", operation.account_id)
            if operation.opened_us <= 0:
                wrong.add("open_account.opened_at", "must be after 1970")
        case Slash():
            wrong.name("slash.account_id", operation.account_id)
            wrong.amount("slash.amount_mkudos", operation.amount_mkudos, least=0 if operation.job_id else 1)
            if operation.job_id and wrong.uuid("slash.job_id", operation.job_id):
                wrong.derived("event_id", event.event_id, identifiers.slash_event_id(operation.job_id))
            wrong.text("slash.reason", operation.note, 1)
        case Correct():
            if wrong.uuid("correct.corrected_event_id", operation.corrected_id):
                wrong.derived("event_id", event.event_id, identifiers.correction_event_id(operation.corrected_id))
            wrong.text("correct.reason", operation.note, 1)
        case Verify():
            wrong.name("verify.account_id", operation.account_id)
            if wrong.uuid("verify.job_id", operation.job_id):
                wrong.derived("event_id", event.event_id, identifiers.verification_event_id(operation.job_id))
        case SetStanding():
            wrong.name("set_standing.account_id", operation.account_id)
            if abs(operation.strikes_delta) > MAX_STRIKES:
                wrong.add("set_standing.strikes_delta", f"must be within {MAX_STRIKES}")
            wrong.text("set_standing.reason", operation.note, 1)
        case CloseAccount():
            if wrong.name("close_account.account_id", operation.account_id) and is_uuid(operation.account_id):
                wrong.derived("event_id", event.event_id, identifiers.close_event_id(operation.account_id))
    if wrong.found:
        raise InvalidField(violations=wrong.found)


def _settle(wrong: _Violations, asked: Settle, event_id: str) -> None:
    if wrong.uuid("settle.job_id", asked.job_id):
        wrong.derived("event_id", event_id, identifiers.settle_event_id(asked.job_id))
        wrong.derived("settle.hold_id", asked.hold_id, identifiers.hold_id(asked.job_id))
    if asked.ending not in SETTLED:
        wrong.add("settle.ending", "must be DONE, CANCELLED or CENSORED")
    wrong.name("settle.owner_account_id", asked.owner_id)
    wrong.amount("settle.earned_mkudos", asked.earned_mkudos, least=0)
    wrong.amount("settle.tax_mkudos", asked.tax_mkudos, least=0)
    wrong.amount("settle.surcharge_mkudos", asked.surcharge_mkudos, least=0)
    if asked.ending == JobEnding.CENSORED and (asked.tax_mkudos or asked.surcharge_mkudos):
        wrong.add("settle.tax_mkudos", "a censored picture costs neither tax nor surcharges")
    if not is_name(asked.worker_id):
        wrong.add("settle.worker_id", "must be an id")
    wrong.text("settle.model", asked.model, 0, MAX_MODEL)
    if not 0 <= asked.milli_megapixel_steps <= MAX_WORK:
        wrong.add("settle.milli_megapixel_steps", f"must be 0 to {MAX_WORK}")


def _place_holds(wrong: _Violations, asked: PlaceHolds, event_id: str) -> None:
    if wrong.uuid("place_holds.generation_id", asked.generation_id):
        wrong.derived("event_id", event_id, identifiers.holds_event_id(asked.generation_id))
    if not is_name(asked.account_id):
        wrong.add("place_holds.payer.account_id", "must be an id")
    if len(asked.address_digest) > MAX_ADDRESS_DIGEST:
        wrong.add("place_holds.address_digest", "must have at most 2 bytes")
    if len(asked.anonymous_digest) != (64 if asked.anonymous else 0):
        wrong.add("place_holds.payer.anonymous_digest", "must have 32 bytes for anonymous, and none for others")
    if not 1 <= len(asked.holds) <= MAX_HOLDS:
        wrong.add("place_holds.holds", f"must be 1 to {MAX_HOLDS}")
        return
    for place, hold in enumerate(asked.holds):
        _hold(wrong, f"place_holds.holds[{place}]", hold)
    if len({hold.hold_id for hold in asked.holds}) != len(asked.holds):
        wrong.add("place_holds.holds", "must not name a job twice")


def _hold(wrong: _Violations, where: str, hold: HoldAsked) -> None:
    parts = hold.parts
    if wrong.uuid(where + ".job_id", hold.job_id):
        wrong.derived(where + ".hold_id", hold.hold_id, identifiers.hold_id(hold.job_id))
    wrong.text(where + ".parts.table_version", parts.table_version, 0, 64)
    wrong.amount(where + ".parts.price_mkudos", parts.price_mkudos, least=0)
    wrong.amount(where + ".parts.tax_mkudos", parts.tax_mkudos, least=0)
    if len(parts.surcharges) > MAX_SURCHARGES:
        wrong.add(where + ".parts.surcharges", f"must be at most {MAX_SURCHARGES}")
    wrong.amount(where + ".parts.base_mkudos", parts.base_mkudos, least=0)
    if len(parts.multipliers) > MAX_MULTIPLIERS:
        wrong.add(where + ".parts.multipliers", f"must be at most {MAX_MULTIPLIERS}")
    for place, (reason, amount) in enumerate(parts.multipliers):
        if reason not in _MULTIPLIERS or amount <= 0:
            wrong.add(f"{where}.parts.multipliers[{place}]", "must have a known reason, and be above 0")
    for place, (reason, amount) in enumerate(parts.surcharges):
        wrong.amount(f"{where}.parts.surcharges[{place}].amount_mkudos", amount, least=0)
        if reason not in _SURCHARGES:
            wrong.add(f"{where}.parts.surcharges[{place}].reason", "is not known")
    if not 0 < parts.total_mkudos == parts.price_mkudos + parts.tax_mkudos + parts.surcharge_mkudos:
        wrong.add(where + ".parts.total_mkudos", "must be the sum of the parts, and above 0")


def _release(wrong: _Violations, asked: Release, event_id: str) -> None:
    if wrong.uuid("release.job_id", asked.job_id):
        wrong.derived("event_id", event_id, identifiers.settle_event_id(asked.job_id))
        wrong.derived("release.hold_id", asked.hold_id, identifiers.hold_id(asked.job_id))
    if asked.ending not in RELEASED:
        wrong.add("release.ending", "must be CANCELLED, FAULTED or EXPIRED")
    wrong.text("release.reason", asked.note, 0)


def _reward_uptime(wrong: _Violations, asked: RewardUptime, event_id: str) -> None:
    if wrong.uuid("reward_uptime.worker_id", asked.worker_id):
        wrong.derived("event_id", event_id, identifiers.uptime_event_id(asked.worker_id, asked.bucket))
    wrong.name("reward_uptime.owner_account_id", asked.owner_id)
    if asked.bucket < 0:
        wrong.add("reward_uptime.bucket", "must not be negative")
    if asked.models < 1:
        wrong.add("reward_uptime.models", "must be at least 1: nothing is paid for what nobody wants")
    if not 1 <= asked.offered_permille <= 1000:
        wrong.add("reward_uptime.offered_permille", "must be 0 to 1000")
    if not 1 <= asked.sharers <= MAX_SHARERS:
        wrong.add("reward_uptime.sharers", f"must be 0 to {MAX_SHARERS}")


def _gift(wrong: _Violations, asked: Gift) -> None:
    wrong.name("gift.from_account_id", asked.from_id)
    wrong.name("gift.to_account_id", asked.to_id)
    wrong.amount("gift.amount_mkudos", asked.amount_mkudos)
    wrong.text("gift.message", asked.note, 0)
    if not wrong.found and asked.from_id == asked.to_id:
        raise SelfGift


_SURCHARGES: Final = frozenset(SurchargeReason)
_MULTIPLIERS: Final = frozenset(MultiplierReason)


class _Violations:
    """Collects what is wrong; the list is made only when something is."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        self.found.append(FieldViolation(field, description))

    def uuid(self, field: str, value: str) -> bool:
        if is_uuid(value):
            return True
        self.add(field, "must be a canonical UUID")
        return False

    def derived(self, field: str, value: str, expected: str) -> None:
        if value != expected:
            self.add(field, f"must be {expected}, derived as the contract says")

    def name(self, field: str, value: str) -> bool:
        """The id of an account that can own kudos."""
        if is_name(value) and value not in NAMELESS:
            return True
        self.add(field, "must be the id of a registered account")
        return False

    def amount(self, field: str, value: int, least: int = 1) -> None:
        if not least <= value <= MAX_AMOUNT_MKUDOS:
            self.add(field, f"must be {least} to {MAX_AMOUNT_MKUDOS}")

    def text(self, field: str, value: str, least: int, most: int = MAX_TEXT) -> None:
        if not least <= len(value) <= most:
            self.add(field, f"must have {least} to {most} characters")
