"""What is no address of a gateway is told before it is dialled, and what answers there and is none by what it said."""

from __future__ import annotations

import pytest

from horde.clients.doors import check_target, unreached


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("http://mesh.example:7700/v1", "mesh.example:7700, without http://"),
        ("https://mesh.example", "mesh.example:7700, without https://"),
        ("mesh.example", "mesh.example:7700"),
        ("[::1]", "[::1]:7700"),
        ("mesh.example:99999", "a port is 1 to 65535"),
        ("mesh.example:web", "a port is 1 to 65535"),
    ],
)
def test_what_is_no_address_is_refused_with_what_is_meant(target: str, meant: str) -> None:
    with pytest.raises(ValueError, match="a gateway's address is HOST:PORT") as refused:
        check_target(target)
    assert str(refused.value).endswith(meant)


@pytest.mark.parametrize(
    "target", ["127.0.0.1:1", "[::1]:7700", "mesh.example:7700", "dns:///mesh.example", "unix:/run/gateway"]
)
def test_an_address_is_taken(target: str) -> None:
    check_target(target)


def test_of_a_chain_of_causes_the_last_is_told() -> None:
    chain = "last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused"
    assert unreached("127.0.0.1:1", chain) == "No mesh answers at 127.0.0.1:1: Connection refused"


def test_a_web_door_is_told_from_a_gateway() -> None:
    chain = "last error: INTERNAL: ipv4:127.0.0.1:7710: Failed parsing HTTP/2 (Trying to connect an http1.x server)"
    assert unreached("127.0.0.1:7710", chain) == (
        "What answers at 127.0.0.1:7710 speaks HTTP, as web doors do: a gateway has another port, often 7700"
    )
