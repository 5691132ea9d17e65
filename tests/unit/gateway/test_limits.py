"""How often somebody may call."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horde.services.addresses import address_bucket
from horde.services.rates import Counters, Draw, Rate

TEN = Rate.parse("10/60s")


def admitted(counters: Counters, now: float, *draws: Draw) -> bool:
    return counters.admit(draws, now) is None


def test_ten_at_once_and_then_one_every_six_seconds() -> None:
    counters = Counters()
    assert [admitted(counters, 0, Draw("a", TEN)) for _ in range(12)] == [True] * 10 + [False] * 2
    assert not admitted(counters, 5.9, Draw("a", TEN))
    assert admitted(counters, 6.0, Draw("a", TEN))
    assert not admitted(counters, 6.0, Draw("a", TEN))
    assert admitted(counters, 0, Draw("b", TEN))


def test_a_refusal_says_how_long_to_wait() -> None:
    counters = Counters()
    counters.admit([Draw("a", TEN, 10)], 0)
    refused = counters.admit([Draw("a", TEN, 2)], 1)
    assert refused is not None
    assert refused.seconds == pytest.approx(11)
    assert refused.draw.rate == TEN
    assert admitted(counters, 1 + refused.seconds, Draw("a", TEN, 2))


def test_a_call_passes_all_of_its_limits_or_uses_none_up() -> None:
    counters = Counters()
    counters.admit([Draw("address", Rate(1, 60))], 0)
    assert not admitted(counters, 0, Draw("a", TEN), Draw("address", Rate(1, 60)))
    assert [admitted(counters, 0, Draw("a", TEN)) for _ in range(10)] == [True] * 10


def test_more_than_fits_at_once_passes_an_idle_limit_and_takes_its_time_afterwards() -> None:
    counters = Counters()
    assert admitted(counters, 0, Draw("a", TEN, 20))
    assert not admitted(counters, 60, Draw("a", TEN))
    assert admitted(counters, 66, Draw("a", TEN))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5)), max_size=80))
def test_no_minute_ever_holds_more_than_twice_the_limit(calls: list[tuple[float, int]]) -> None:
    counters = Counters()
    now = 0.0
    passed: list[tuple[float, int]] = []
    for pause, weight in calls:
        now += pause
        if admitted(counters, now, Draw("a", TEN, weight)):
            passed.append((now, weight))
    for at, _ in passed:
        assert sum(weight for when, weight in passed if at <= when < at + 60) <= 20


def test_memory_is_bounded() -> None:
    counters = Counters(max_subjects=100)
    for number in range(1_000):
        counters.admit([Draw(str(number), TEN)], 0)
    assert len(counters) == 100


def test_many_callers_do_not_make_an_address_forgotten() -> None:
    counters = Counters(max_subjects=100)
    address = Draw("calls 192.0.2.0/24", Rate(200, 60), of_address=True)
    passed = [admitted(counters, 0, Draw(f"calls {number}", TEN), address) for number in range(300)]
    assert passed == [True] * 200 + [False] * 100
    counters.admit([Draw("calls 192.0.2.0/24", TEN)], 0)
    assert len(counters) <= 200


def test_a_look_counts_nothing() -> None:
    counters = Counters()
    for _ in range(3):
        counters.look([Draw("a", Rate(1, 60))], 0)
    counters.admit([Draw("a", Rate(1, 60))], 0)
    assert counters.look([Draw("a", Rate(1, 60))], 0) is not None


@pytest.mark.parametrize("text", ["", "10", "10/60", "0/60s", "10/0s", "-1/60s", "10/60s ", "a/bs", "10/60m"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a rate"):
        Rate.parse(text)


@pytest.mark.parametrize(
    ("peer", "bucket"),
    [
        ("ipv4:192.0.2.77:50000", "192.0.2.0/24"),
        ("ipv6:[2001:db8:1:2ff::7]:50000", "2001:db8:1:200::/56"),
        ("ipv6:%5B2001:db8:1:2ff::7%5D:50000", "2001:db8:1:200::/56"),
        ("ipv6:[::ffff:192.0.2.77]:1", "192.0.2.0/24"),
        ("ipv6:[fe80::1%25eth0]:1", "fe80::/56"),
        ("unix:/run/x", ""),
        ("", ""),
        ("ipv4:nonsense:1", ""),
    ],
)
def test_addresses_are_counted_by_network(peer: str, bucket: str) -> None:
    assert address_bucket(peer) == bucket
