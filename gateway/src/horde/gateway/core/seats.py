"""Seats: how those who stay for long, watchers and workers, share the room of this gateway.

A seat costs nothing to take and little to keep, so who takes is counted by who asks and from where, and a part is kept
for those whom it costs something to be: accounts among watchers, owners whose work was paid for among workers.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from horde.gateway.core.errors import Overloaded, RateLimited, TooManySessions
from horde.gateway.core.requesters import Requester
from horde.services.errors import ServiceError
from horde.services.shares import Pot, Taker

MAX_SESSIONS_OF_ONE: Final = 256
"""As many workers of one owner as the scheduler knows."""
SESSIONS_OF_A_NEWCOMER: Final = 16
WATCHES_SURELY: Final = 8
"""What one requester may have whatever its share, while there is room."""
_WATCH_SHARES: Final = {
    "requester": 0.25,
    "generation": 1 / 128,
    "passers": 1 / 256,
    "passers of a network": 0.0,
    "address": 2.0,
}
_KEPT_WATCHES: Final = 0.4
_SESSION_SHARES: Final = {"owner": 0.1, "newcomer": 0.0, "address": 0.5}
_KEPT_SESSIONS: Final = 0.5
_COME_BACK: Final = timedelta(seconds=5)
_ATTACH_AGAIN: Final = timedelta(seconds=10)


def watch_seats(capacity: int) -> Pot:
    """So many watches; two fifths are for accounts."""

    def refuse(kind: str) -> ServiceError:
        if not kind:
            return Overloaded.by("watchers", "Too many watch already; wait.")
        return RateLimited(metadata={"limit": f"a share of {capacity} watches, by {kind}"}, retry_after=_COME_BACK)

    return Pot(capacity, _WATCH_SHARES, refuse, kept=int(capacity * _KEPT_WATCHES), least=WATCHES_SURELY)


def session_seats(capacity: int) -> Pot:
    """So many sessions of workers; half are for owners with a record, and of the others each has a few."""

    def refuse(kind: str) -> ServiceError:
        limits = {"newcomer": f"{SESSIONS_OF_A_NEWCOMER} workers of an owner for whose images nobody has paid yet"}
        limit = limits.get(kind, f"a share of {capacity} sessions, by {kind}" if kind else str(capacity))
        return TooManySessions(metadata={"limit": limit}, retry_after=_ATTACH_AGAIN)

    kept = int(capacity * _KEPT_SESSIONS)
    return Pot(capacity, _SESSION_SHARES, refuse, kept=kept, least=SESSIONS_OF_A_NEWCOMER)


def too_many_of_one() -> TooManySessions:
    """The refusal of one more worker than an owner may have."""
    return TooManySessions(metadata={"limit": str(MAX_SESSIONS_OF_ONE)}, retry_after=_ATTACH_AGAIN)


def watcher(requester: Requester, generation_id: str, address: str, *, by_pass: bool) -> Taker:
    """One who watches. All accounts have a record: opening them is limited by address. What happens to a generation is
    told to each of its watchers, so they are few. `by_pass`: anybody may hold one, so that those who do are counted for
    themselves and by network: they take no seat of who asked for it, who would not know whom to send away."""
    if by_pass:
        of_network = f"{generation_id} {address}" if address else ""
        return Taker((("passers", generation_id), ("passers of a network", of_network), ("address", address)))
    keys = (("requester", str(requester)), ("generation", generation_id), ("address", address))
    return Taker(keys, known=not requester.anonymous)


def owner(account_id: str, address: str, *, known: bool) -> Taker:
    """One whose worker attaches; `known`: somebody has paid for its images. Newcomers are counted by address, too."""
    if known:
        return Taker((("owner", account_id),), known=True)
    return Taker((("newcomer", account_id), ("address", address)))
