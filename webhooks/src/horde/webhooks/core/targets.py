"""Which addresses are called: those of the internet, and none of the mesh's own networks.

What somebody names is looked at twice: the URL when it is given, and every address of its name before each call, for a
name may lead elsewhere the next time. An IPv6 address that carries an IPv4 address in it is held to both.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

MAX_URL_CHARACTERS: Final = 1_024

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that has been given to anybody on the internet."""
TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""What a network without IPv4 reaches it by; the address is in the last four bytes."""
RESERVED: Final[Networks] = (
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv6Network("2001::/23"),
    ipaddress.IPv6Network("2002::/16"),
    ipaddress.IPv6Network("3fff::/20"),
)
"""Protocols' own, 6to4 and Teredo, which end at whoever relays, documentation: Pythons differ in which they know."""


class BadUrl(ValueError):
    """Why a URL cannot be a webhook's, for people."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads, as far as it says so itself."""

    host: str
    port: int
    secure: bool
    path: str
    """And the query, as it is sent."""


def target_of(url: str) -> Target:
    """Read a URL. Raises BadUrl."""
    if len(url) > MAX_URL_CHARACTERS:
        raise BadUrl(f"must have at most {MAX_URL_CHARACTERS} characters, and has {len(url)}")
    if not url.isascii() or not url.isprintable() or any(char in url for char in ' \\"<>^`{|}'):
        raise BadUrl("must be a URL in plain ASCII; write names in punycode, and other characters as %XX")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
    except ValueError as error:
        raise BadUrl("is not a URL") from error
    if parts.scheme not in ("https", "http"):
        raise BadUrl("must begin with https://")
    if parts.username is not None or parts.password is not None:
        raise BadUrl("must hold no user")
    if "#" in url:
        raise BadUrl("must hold no fragment")
    if not host or len(host) > 253 or "%" in host:
        raise BadUrl("names no host")
    if port == 0:
        raise BadUrl("names no port")
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host, port or (443 if secure else 80), secure, path)


class Reach:
    """Which addresses this mesh calls."""

    def __init__(self, own: Networks = (), forbidden: Networks = ()) -> None:
        """`own`: called though they are not public, also without TLS. `forbidden`: never called, though they are."""
        self._own = own
        self._forbidden = forbidden

    def allows(self, address: Address, *, secure: bool) -> bool:
        """Whether a call may go there."""
        if within(address, self._forbidden):
            return False
        return within(address, self._own) or (secure and is_public(address))


def within(address: Address, networks: Networks) -> bool:
    """Whether an address, or the one that it carries, is in one of these."""
    return any(
        inner.version == network.version and inner in network for inner in carried(address) for network in networks
    )


def carried(address: Address) -> tuple[Address, ...]:
    """An address, and the IPv4 address in it where it has one."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address, address.ipv4_mapped)
    if address in TRANSLATED:
        return (address, ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)


def is_public(address: Address) -> bool:
    """Whether everybody on the internet means the same machine by it."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not _reserved(address)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in TRANSLATED:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in UNICAST and address.is_global and address.scope_id is None and not _reserved(address)


def _reserved(address: Address) -> bool:
    return any(address.version == network.version and address in network for network in RESERVED)
