"""What was counted since some time ago: against a list of everything that was ever seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from horde.gateway.core.windows import PARTS, Window


@given(st.lists(st.floats(0, 40, allow_nan=False), min_size=1, max_size=300))
def test_a_window_counts_from_what_was_seen_when_it_began(steps: list[float]) -> None:
    window: Window[float] = Window(60.0)
    seen, now = [], 0.0
    for step in steps:
        now += step
        seen.append(now)
        window.add(now, now)
        first = window.first()
        assert len(window._samples) <= PARTS + 2
        if first > now - 60.0:
            # Nothing older was ever seen.
            assert first == seen[0]
        else:
            # No further back than to the last that was seen before the window began, but for a part of it.
            assert first >= max(at for at in seen if at <= now - 60.0) - 60.0 / PARTS
