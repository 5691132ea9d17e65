"""Restrictions: who is paused or banned, why and until when; and which of many holds for somebody now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple
from uuid import UUID, uuid5

from horde.gateway.core.standing_errors import Restricted


class TargetKind(Enum):
    """Whom a restriction is about; the names are written down."""

    WORKER = "worker"
    OWNER = "owner"
    REQUESTER = "requester"
    NETWORK = "network"


class Target(NamedTuple):
    """Whom it is about: a worker's or an account's id, or a network as text."""

    kind: TargetKind
    name: str


def targets_of(account_id: str) -> tuple[Target, Target]:
    """What an account may be restricted as."""
    return Target(TargetKind.OWNER, account_id), Target(TargetKind.REQUESTER, account_id)


@dataclass(frozen=True, slots=True)
class Restriction:
    """One of them. `until` None: until it is lifted. `request_id` is its maker's."""

    restriction_id: str
    target: Target
    ban: bool
    """Else a pause."""
    reason: str
    since: datetime
    until: datetime | None
    by_account_id: str
    request_id: str
    lifted_at: datetime | None = None
    lifted_by: str = ""
    lifted_because: str = ""
    appeal_note: str = ""

    def holds(self, now: datetime) -> bool:
        """Whether it holds now."""
        return self.lifted_at is None and (self.until is None or now < self.until)

    def refusal(self) -> Restricted:
        """What whom it is about is told."""
        what = "banned" if self.ban else "paused"
        until = "" if self.until is None else f"{self.until:%Y-%m-%dT%H:%M:%SZ}"
        text = f"This {self.target.kind.value} is {what}: {self.reason}"
        return Restricted(text, metadata={"restriction_id": self.restriction_id, "until": until})


def worker_id_of(owner_account_id: str, worker_name: str) -> str:
    """A worker's id, as the scheduler makes it; empty for an owner whose id is none of ours."""
    try:
        return str(uuid5(UUID(owner_account_id), worker_name))
    except ValueError:
        return ""


def network_of(text: str) -> str:
    """A network or an address in its one form; raises ValueError for what is neither."""
    return str(ip_network(text))


class InForce:
    """Those that hold, found by whom they are about in a few steps however many there are."""

    def __init__(self) -> None:
        self._by_id: dict[str, Restriction] = {}
        self._of: dict[Target, dict[str, Restriction]] = {}
        self._prefixes: dict[int, set[int]] = {4: set(), 6: set()}
        """Lengths of the networks' prefixes, by version; they are not forgotten."""

    def __len__(self) -> int:
        return len(self._by_id)

    def put(self, restriction: Restriction, now: datetime) -> bool:
        """Know it as it is now, one that holds no more not at all; whether that changes anything."""
        known = self._by_id.get(restriction.restriction_id)
        if not restriction.holds(now):
            if known is not None:
                self._drop(known)
            return known is not None
        if known == restriction:
            return False
        self._by_id[restriction.restriction_id] = restriction
        self._of.setdefault(restriction.target, {})[restriction.restriction_id] = restriction
        if restriction.target.kind is TargetKind.NETWORK:
            network = ip_network(restriction.target.name)
            self._prefixes[network.version].add(network.prefixlen)
        return True

    def of(self, target: Target) -> list[Restriction]:
        """Those about exactly this one."""
        return list(self._of.get(target, {}).values())

    def expire(self, now: datetime) -> bool:
        """Forget those whose time is over; whether there were any."""
        over = [restriction for restriction in self._by_id.values() if not restriction.holds(now)]
        for restriction in over:
            self._drop(restriction)
        return bool(over)

    def find(self, targets: Iterable[Target], now: datetime, *, bans_only: bool) -> Restriction | None:
        """One that holds for any of these; a ban before a pause."""
        pause = None
        for target in targets:
            for restriction in self._of.get(target, {}).values():
                if not restriction.holds(now):
                    continue
                if restriction.ban:
                    return restriction
                pause = restriction
        return None if bans_only else pause

    def networks(self, address: str) -> Iterator[Target]:
        """The networks of which one is restricted and that an address may belong to."""
        try:
            parsed: IPv4Address | IPv6Address = ip_address(address)
        except ValueError:
            return
        for prefix in self._prefixes[parsed.version]:
            yield Target(TargetKind.NETWORK, str(ip_network((parsed, prefix), strict=False)))

    def _drop(self, restriction: Restriction) -> None:
        del self._by_id[restriction.restriction_id]
        same = self._of[restriction.target]
        del same[restriction.restriction_id]
        if not same:
            del self._of[restriction.target]
