"""Where calls come from, as far as it tells strangers apart; also through proxies that are believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final, Protocol

FORWARDED_KEY: Final = "x-forwarded-for"
"""The metadata by which a proxy says for whom it calls: addresses by commas, the nearest last."""

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_forwarded: ContextVar[str] = ContextVar("forwarded", default="")


class HasPeer(Protocol):
    """A call's gRPC context."""

    def peer(self) -> str:
        """Where the call came from, such as `ipv4:127.0.0.1:50000`."""


def parse_networks(text: str) -> Networks:
    """Networks that are separated by commas, such as `10.0.0.0/8,fd00::/8`. Raises ValueError."""
    return tuple(ipaddress.ip_network(name.strip()) for name in text.split(",") if name.strip())


def forwarded_peer(peer: str, values: Iterable[str], proxies: Networks) -> str:
    """For whom a peer calls, as a peer; the peer itself where it is none of the proxies or does not say.

    Of what a proxy says, the last address that is no proxy itself: what stands before it anybody could have written.
    """
    nearest = _address(peer)
    if nearest is None or not is_proxy(peer, proxies):
        return peer
    for name in reversed([name.strip() for value in values for name in value.split(",")]):
        address = _parsed(name)
        if address is None:
            break
        nearest = address
        if not _within(address, proxies):
            break
    return f"ipv4:{nearest}:0" if nearest.version == 4 else f"ipv6:[{nearest}]:0"


def is_connection(peer: str) -> bool:
    """Whether a peer is a connection here, and not an address that a proxy says it calls for."""
    return not peer.endswith(":0")


def is_proxy(peer: str, proxies: Networks) -> bool:
    """Whether a peer is one of these, so that what it says of its caller counts."""
    address = _address(peer)
    return address is not None and _within(address, proxies)


def set_forwarded(peer: str) -> None:
    """Say for whom the call that this task serves is made. For the server's own use."""
    _forwarded.set(peer)


def caller_peer(context: HasPeer) -> str:
    """Where the call being served comes from: its peer, or for whom a proxy makes it."""
    return _forwarded.get() or str(context.peer())


def caller_bucket(context: HasPeer) -> str:
    """The network that the caller of this call is counted as."""
    return address_bucket(caller_peer(context))


def address_of(peer: str) -> str:
    """The address of a gRPC peer, or the empty text."""
    address = _address(peer)
    return "" if address is None else str(address)


def address_bucket(peer: str) -> str:
    """The network that a gRPC peer (`ipv4:192.0.2.7:50000`) is counted as: its /24, its /56, or the empty text."""
    address = _address(peer)
    if address is None:
        return ""
    prefix = 24 if address.version == 4 else 56
    return str(ipaddress.ip_network((address, prefix), strict=False))


def _address(peer: str) -> Address | None:
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    return _parsed(rest.rpartition(":")[0].replace("%5B", "[").replace("%5D", "]").strip("[]"))


def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _within(address: Address, networks: Networks) -> bool:
    return any(address.version == network.version and address in network for network in networks)
