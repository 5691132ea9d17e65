"""What others may spend of an account: shared keys, their bounds, and what was reserved of their budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from horde.gateway.core.errors import SharedKeyBound, SharedKeyBudgetSpent
from horde.gateway.core.spec import GenerationSpec

MAX_SHARED_KEYS = 32
"""Of one account, revoked ones not counted."""
MAX_REVOKED_SHARED_KEYS = 32
"""As many revoked ones are remembered."""
MAX_MODELS = 32


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one generation may be. 0, and no models: no bound."""

    max_pixels: int = 0
    max_steps: int = 0
    max_count: int = 0
    max_total_mkudos: int = 0
    models: tuple[str, ...] = ()
    max_open_generations: int = 0


@dataclass(frozen=True, slots=True)
class SharedKey:
    """A key for others, without its secret. `asked` is the request that made it, which a repeat must equal."""

    shared_key_id: str
    account_id: str
    label: str
    digest: bytes
    pepper_id: str
    created_at: datetime
    request_id: str
    asked: bytes = b""
    budget_mkudos: int | None = None
    expires_at: datetime | None = None
    bounds: Bounds = Bounds()
    revoked: bool = False
    last_used_at: datetime | None = None
    settled_mkudos: int = 0
    """Spent by generations that have ended."""
    held_mkudos: int = 0
    """Reserved by generations that have not ended; it follows from the reservations."""
    open_generations: int = 0

    @property
    def spent_mkudos(self) -> int:
        return self.settled_mkudos + self.held_mkudos

    @property
    def left_mkudos(self) -> int | None:
        """What the budget still reaches for; None without a budget. Not below 0."""
        return None if self.budget_mkudos is None else max(0, self.budget_mkudos - self.spent_mkudos)

    def expired(self, now: datetime) -> bool:
        """Whether it is past its time."""
        return self.expires_at is not None and now >= self.expires_at


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one generation may cost at most, set aside of a budget before anybody else hears of the generation.

    `stamp` is new with every call that reserves: only the call that reserved last may give it back.
    """

    generation_id: str
    shared_key_id: str
    mkudos: int
    stamp: str
    at: datetime
    ended: bool = False


def check_bounds(bounds: Bounds, spec: GenerationSpec, total_mkudos: int) -> None:
    """Whether the key permits such a generation; raises SharedKeyBound, which names the first bound that does not."""
    image = spec.image
    measured = (
        ("max_pixels", bounds.max_pixels, image.width * image.height if image else 0),
        ("max_steps", bounds.max_steps, image.steps if image else 0),
        ("max_count", bounds.max_count, spec.count),
        ("max_total_mkudos", bounds.max_total_mkudos, total_mkudos),
    )
    for bound, limit, asked in measured:
        if limit and asked > limit:
            raise _beyond(bound, str(limit), str(asked))
    if bounds.models and spec.model not in bounds.models:
        raise _beyond("models", ", ".join(bounds.models), spec.model)


def check_reservation(key: SharedKey, mkudos: int) -> None:
    """Whether one more generation may be open and the budget reaches for it; `key` counts all the others.

    Raises SharedKeyBound or SharedKeyBudgetSpent.
    """
    limit = key.bounds.max_open_generations
    if limit and key.open_generations >= limit:
        raise _beyond("max_open_generations", str(limit), str(key.open_generations + 1))
    left = key.left_mkudos
    if left is not None and mkudos > left:
        raise SharedKeyBudgetSpent(metadata={"left_mkudos": str(left), "needed_mkudos": str(mkudos)})


def forgettable_shared(own: Sequence[SharedKey]) -> Sequence[SharedKey]:
    """The keys that an account, which has these, newest first, need not remember: none with anything open."""
    return [key for key in own if key.revoked and not key.open_generations][MAX_REVOKED_SHARED_KEYS:]


def _beyond(bound: str, limit: str, asked: str) -> SharedKeyBound:
    return SharedKeyBound(metadata={"bound": bound, "limit": limit, "asked": asked})
