"""For whom a proxy calls: only proxies that are named are believed, and no further than they know."""

from __future__ import annotations

import pytest

from horde.services.addresses import forwarded_peer, parse_networks

PROXIES = parse_networks("10.0.0.0/8, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "values", "caller"),
    [
        ("ipv4:10.1.2.3:999", ["192.0.2.7"], "ipv4:192.0.2.7:0"),
        ("ipv4:10.1.2.3:999", ["2001:db8::1"], "ipv6:[2001:db8::1]:0"),
        ("ipv6:%5Bfd00::1%5D:999", ["192.0.2.7"], "ipv4:192.0.2.7:0"),
        # What a caller wrote himself stands before what the first proxy saw.
        ("ipv4:10.1.2.3:999", ["198.51.100.1, 192.0.2.7"], "ipv4:192.0.2.7:0"),
        ("ipv4:10.1.2.3:999", ["198.51.100.1", "192.0.2.7"], "ipv4:192.0.2.7:0"),
        # Through two proxies.
        ("ipv4:10.1.2.3:999", ["192.0.2.7, 10.9.9.9"], "ipv4:192.0.2.7:0"),
        # All of them proxies: the furthest is the caller.
        ("ipv4:10.1.2.3:999", ["10.8.8.8, 10.9.9.9"], "ipv4:10.8.8.8:0"),
        # Nonsense ends the chain where it stands.
        ("ipv4:10.1.2.3:999", ["192.0.2.7, whoever, 10.9.9.9"], "ipv4:10.9.9.9:0"),
        ("ipv4:10.1.2.3:999", ["whoever"], "ipv4:10.1.2.3:0"),
        # A stranger is not believed.
        ("ipv4:203.0.113.5:999", ["192.0.2.7"], "ipv4:203.0.113.5:999"),
        ("unix:/tmp/socket", ["192.0.2.7"], "unix:/tmp/socket"),
    ],
)
def test_of_what_a_proxy_says_the_last_address_that_is_no_proxy_counts(
    peer: str, values: list[str], caller: str
) -> None:
    assert forwarded_peer(peer, values, PROXIES) == caller


def test_without_proxies_nobody_is_believed() -> None:
    assert forwarded_peer("ipv4:127.0.0.1:999", ["192.0.2.7"], ()) == "ipv4:127.0.0.1:999"
