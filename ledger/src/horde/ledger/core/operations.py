"""What callers can ask for: the operations, each with the canonical text of what was sent.

The canonical text is JSON with sorted keys, no spaces, ASCII only and no numbers but integers. Its digest is the
event's fingerprint, and it is part of the journal, so that a conflict can name the field that differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from horde.ledger.core.accounts import ANONYMOUS
from horde.ledger.core.kinds import EventKind as EventKind
from horde.ledger.core.kinds import JobEnding as JobEnding
from horde.ledger.core.prices import PriceParts

FINGERPRINT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """Make an owner known, with its age."""

    account_id: str
    opened_us: int

    kind = EventKind.OPEN_ACCOUNT
    note = ""

    @property
    def account_ids(self) -> tuple[str, ...]:
        return (self.account_id,)

    def canonical(self) -> str:
        return f'{{"account":"{self.account_id}","opened":{self.opened_us}}}'


@dataclass(frozen=True, slots=True)
class HoldAsked:
    """One job's kudos."""

    hold_id: str
    job_id: str
    parts: PriceParts


@dataclass(frozen=True, slots=True)
class PlaceHolds:
    """Set kudos aside for every job of a generation, or for none."""

    generation_id: str
    account_id: str
    anonymous_digest: str
    """Lower-case hex; empty but for anonymous."""
    holds: Sequence[HoldAsked]
    address_digest: str = ""
    """Lower-case hex; a key of shares, no part of the fingerprint: it may be told of an event that was sent before."""

    kind = EventKind.PLACE_HOLDS
    note = ""

    @property
    def account_ids(self) -> tuple[str, ...]:
        return (self.account_id,)

    @property
    def anonymous(self) -> bool:
        return self.account_id == ANONYMOUS

    def canonical(self) -> str:
        holds = ",".join(
            [f'{{"hold":"{h.hold_id}","job":"{h.job_id}","parts":{h.parts.canonical()}}}' for h in self.holds]
        )
        return (
            f'{{"anonymous":"{self.anonymous_digest}","generation":"{self.generation_id}","holds":[{holds}],'
            f'"payer":"{self.account_id}"}}'
        )


@dataclass(frozen=True, slots=True)
class Settle:
    """Pay for a job that ended, give the rest back."""

    hold_id: str
    job_id: str
    ending: int
    owner_id: str
    earned_mkudos: int
    tax_mkudos: int
    surcharge_mkudos: int
    worker_id: str
    model: str
    milli_megapixel_steps: int = 0
    """For statistics; 0: not told. So is `shared`."""
    shared: bool = False

    kind = EventKind.SETTLE
    note = ""

    @property
    def account_ids(self) -> tuple[str, ...]:
        return (self.owner_id,)

    def canonical(self) -> str:
        shared = '"shared":true,' if self.shared else ""
        work = f'"work":{self.milli_megapixel_steps},' if self.milli_megapixel_steps else ""
        return (
            f'{{"earned":{self.earned_mkudos},"ending":{self.ending},"hold":"{self.hold_id}","job":"{self.job_id}",'
            f'"model":{quoted(self.model)},"owner":"{self.owner_id}",{shared}"surcharge":{self.surcharge_mkudos},'
            f'"tax":{self.tax_mkudos},{work}"worker":"{self.worker_id}"}}'
        )


@dataclass(frozen=True, slots=True)
class Release:
    """Give all of a job's hold back."""

    hold_id: str
    job_id: str
    ending: int
    note: str = ""
    """By an operator: who and why."""

    kind = EventKind.RELEASE
    account_ids = ()

    def canonical(self) -> str:
        note = f',"note":{quoted(self.note)}' if self.note else ""
        return f'{{"ending":{self.ending},"hold":"{self.hold_id}","job":"{self.job_id}"{note}}}'


@dataclass(frozen=True, slots=True)
class RewardUptime:
    """Mint for ten minutes of a worker's readiness."""

    worker_id: str
    owner_id: str
    bucket: int
    models: int
    """Offered, and in demand."""
    offered_permille: int = 1000
    """How much of the bucket."""
    sharers: int = 1
    """Among how many the bucket's part of the budget is shared."""

    kind = EventKind.UPTIME_REWARD
    note = ""

    @property
    def account_ids(self) -> tuple[str, ...]:
        return (self.owner_id,)

    def canonical(self) -> str:
        return (
            f'{{"bucket":{self.bucket},"models":{self.models},"offered":{self.offered_permille},'
            f'"owner":"{self.owner_id}","sharers":{self.sharers},"worker":"{self.worker_id}"}}'
        )


@dataclass(frozen=True, slots=True)
class RewardRating:
    """Pay for one account's rating of one image."""

    account_id: str
    rating_id: str
    """Of the rating, so of the account and the image; the journal does not say which image."""
    amount_mkudos: int

    kind = EventKind.RATING
    note = ""

    @property
    def account_ids(self) -> tuple[str, ...]:
        return (self.account_id,)

    def canonical(self) -> str:
        return f'{{"account":"{self.account_id}","amount":{self.amount_mkudos},"rating":"{self.rating_id}"}}'


@dataclass(frozen=True, slots=True)
class Award:
    """Mint for an account, by an operator."""

    account_id: str
    amount_mkudos: int
    awarded_by: str
    note: str

    kind = EventKind.AWARD

    @property
    def account_ids(self) -> tuple[str, ...]:
        return (self.account_id,)

    def canonical(self) -> str:
        return (
            f'{{"account":"{self.account_id}","amount":{self.amount_mkudos},"by":{quoted(self.awarded_by)},'
            f'"note":{quoted(self.note)}}}'
        )


@dataclass(frozen=True, slots=True)
class Gift:
    """Move kudos from one account to another."""

    from_id: str
    to_id: str
    amount_mkudos: int
    note: str

    kind = EventKind.GIFT

    @property
    def account_ids(self) -> tuple[str, ...]:
        return (self.from_id, self.to_id)

    def canonical(self) -> str:
        return (
            f'{{"amount":{self.amount_mkudos},"from":"{self.from_id}","note":{quoted(self.note)},"to":"{self.to_id}"}}'
        )


@dataclass(frozen=True, slots=True)
class Slash:
    """Take escrow after a verdict."""

    account_id: str
    amount_mkudos: int
    """0, of a job: all that it earned."""
    note: str
    job_id: str = ""
    """The job that the verdict was on, if it was on one."""

    kind = EventKind.SLASH

    @property
    def account_ids(self) -> tuple[str, ...]:
        return (self.account_id,)

    def canonical(self) -> str:
        job = f'"job":"{self.job_id}",' if self.job_id else ""
        return f'{{"account":"{self.account_id}","amount":{self.amount_mkudos},{job}"note":{quoted(self.note)}}}'


@dataclass(frozen=True, slots=True)
class Verify:
    """Free what a job put into escrow, since its picture was looked at and is what it should be."""

    account_id: str
    job_id: str

    kind = EventKind.VERIFICATION
    note = ""

    @property
    def account_ids(self) -> tuple[str, ...]:
        return (self.account_id,)

    def canonical(self) -> str:
        return f'{{"account":"{self.account_id}","job":"{self.job_id}"}}'


@dataclass(frozen=True, slots=True)
class Correct:
    """Reverse an entry by reverse transfers."""

    corrected_id: str
    note: str

    kind = EventKind.CORRECTION
    account_ids = ()

    def canonical(self) -> str:
        return f'{{"corrected":"{self.corrected_id}","note":{quoted(self.note)}}}'


@dataclass(frozen=True, slots=True)
class SetStanding:
    """Record what decides an owner's trust."""

    account_id: str
    strikes_delta: int
    trusted: bool | None
    note: str

    kind = EventKind.STANDING

    @property
    def account_ids(self) -> tuple[str, ...]:
        return (self.account_id,)

    def canonical(self) -> str:
        trusted = {None: "null", True: "true", False: "false"}[self.trusted]
        return (
            f'{{"account":"{self.account_id}","note":{quoted(self.note)},"strikes":{self.strikes_delta},'
            f'"trusted":{trusted}}}'
        )


@dataclass(frozen=True, slots=True)
class CloseAccount:
    """End an account: burn what it has, and what still comes to it."""

    account_id: str

    kind = EventKind.CLOSE_ACCOUNT
    note = ""

    @property
    def account_ids(self) -> tuple[str, ...]:
        return (self.account_id,)

    def canonical(self) -> str:
        return f'{{"account":"{self.account_id}"}}'


Operation = (
    OpenAccount | PlaceHolds | Settle | Release | RewardUptime | RewardRating | Award | Gift | Slash | Correct
    | SetStanding | CloseAccount | Verify
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One change, all or nothing."""

    event_id: str
    operation: Operation


def fingerprint(kind: EventKind, canonical: str) -> bytes:
    """What a repeated event must agree with."""
    # `_name_` is `name` at a tenth of the cost, here and wherever there is one for every event.
    return sha256(f"{kind._name_} {canonical}".encode()).digest()[:FINGERPRINT_BYTES]
