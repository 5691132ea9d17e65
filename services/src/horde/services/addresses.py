"""Where calls come from, as far as it tells strangers apart."""

from __future__ import annotations

import ipaddress


def address_of(peer: str) -> str:
    """The address of a gRPC peer (`ipv4:192.0.2.7:50000`), or the empty text."""
    kind, _, rest = peer.partition(":")
    host = rest.rpartition(":")[0].replace("%5B", "[").replace("%5D", "]").strip("[]")
    if kind not in ("ipv4", "ipv6"):
        return ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def address_bucket(peer: str) -> str:
    """The network that a gRPC peer is counted as: its /24, its /56, or the empty text."""
    text = address_of(peer)
    if not text:
        return ""
    address = ipaddress.ip_address(text)
    prefix = 24 if address.version == 4 else 56
    return str(ipaddress.ip_network((address, prefix), strict=False))
