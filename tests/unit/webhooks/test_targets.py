"""Which addresses are called: nothing that is not everybody's, however it is written."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde.webhooks.core.targets import BadUrl, Reach, Target, is_public, target_of

PRIVATE = (
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1",
    "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "fe80::1", "fe80::1%1", "fec0::1", "fc00::1",
    "fd12::1", "ff02::1", "2001:db8::1", "2001:10::1", "192.88.99.1", "2002:7f00:1::1", "2001::1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "100::1", "3fff::1", "2002:808:808::1",
)  # fmt: skip
PUBLIC = ("8.8.8.8", "1.1.1.1", "192.88.98.1", "2600::1", "2a00:1450::8", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_not_called(address: str) -> None:
    found = ipaddress.ip_address(address)
    assert not is_public(found)
    assert not Reach().allows(found, secure=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_called_over_tls_alone(address: str) -> None:
    found = ipaddress.ip_address(address)
    assert Reach().allows(found, secure=True)
    assert not Reach().allows(found, secure=False)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_however_ipv6_carries_it(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(int(ipaddress.IPv6Address("::ffff:0:0")) + int(address))
    translated = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address))
    assert is_public(mapped) == is_public(translated) == is_public(address)
    forbidden = Reach(forbidden=(ipaddress.ip_network(f"{address}/32"),))
    assert not any(forbidden.allows(form, secure=True) for form in (address, mapped, translated))
    own = Reach(own=(ipaddress.ip_network(f"{address}/32"),))
    assert all(own.allows(form, secure=False) for form in (address, mapped, translated))


def test_forbidden_counts_more_than_ones_own() -> None:
    loopback = (ipaddress.ip_network("127.0.0.0/8"),)
    assert not Reach(loopback, loopback).allows(ipaddress.ip_address("127.0.0.1"), secure=True)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example/a?b=c", Target("hooks.example", 443, True, "/a?b=c")),
        ("https://HOOKS.example:8443", Target("hooks.example", 8443, True, "/")),
        ("https://[2600::1]:444/x", Target("2600::1", 444, True, "/x")),
        ("http://127.0.0.1:9000/", Target("127.0.0.1", 9000, False, "/")),
    ],
)
def test_a_url_says_where_it_leads(url: str, target: Target) -> None:
    assert target_of(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example", "ftp://hooks.example/", "file:///etc/passwd", "https://", "https:///path",
        "https://user@hooks.example/", "https://:pw@hooks.example/", "https://hooks.example/#x", "https://hooks.example:0/",
        "https://hooks.example:99999/", "https://hooks.example:x/", "https://hö.example/", "https://hooks.example/a b",
        "https://hooks.example/\r\nHost: x", "https://a\\@b/", "https://[::1", "https://[fe80::1%25eth0]/",
        "https://hooks.example/" + "x" * 1_024, "https://" + "a." * 127 + "example/",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_webhook_is_refused(url: str) -> None:
    with pytest.raises(BadUrl):
        target_of(url)
