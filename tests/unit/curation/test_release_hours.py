"""What a release was made from is told by curation as the builder did it: for any arguments, and at every boundary."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from horde.curation.core.releases import Finished, read_finished, release_of
from horde.data_releases.core.plan import Plan, whole_hour

BEGIN = datetime(2026, 11, 26, 13, tzinfo=UTC)
HOURS = 12
# The edges of the builder's rules are at whole hours and at a quarter past.
moments = st.builds(
    lambda quarters, off: BEGIN + quarters * timedelta(minutes=15) + off * timedelta(microseconds=1),
    st.integers(0, 4 * HOURS),
    st.integers(-1, 1),
)


def finished(plan: Plan) -> Finished:
    """As curation reads it from what the builder has left."""
    note = {"plan": plan.to_json(), "images": 0, "bytes": 0, "removed": 0, "checksums_sha256": ""}
    statistics = {"ratings": 0, "left_out": {}}
    told, counted, described = (json.dumps(part).encode() for part in (note, statistics, {"shards": 0}))
    return read_finished(told, counted, described, b"", b"", plan.as_of)


@given(moments, st.lists(st.tuples(moments, st.integers(0, 5)), min_size=1, max_size=4))
def test_each_hour_of_the_journal_is_of_the_release_whose_builder_reads_it(
    first: datetime, orders: list[tuple[datetime, int]]
) -> None:
    chain: list[Plan] = []
    for number, (as_of, cool_off_hours) in enumerate(sorted(orders)):
        since = chain[-1].until if chain else whole_hour(first)
        previous = chain[-1].release_id if chain else None
        chain.append(Plan(f"r{number}", as_of, previous, since, cool_off_hours=cool_off_hours))
    told = [finished(plan) for plan in chain]
    readers = {hour: plan.release_id for plan in chain for hour in plan.hours()}
    for number in range(-2, HOURS + 2):
        hour = BEGIN + timedelta(hours=number)
        assert [release.name for release in told if release.looked_at(hour)] == (
            [readers[hour]] if hour in readers else []
        )
        assert release_of(hour, told) == readers.get(hour, told[-1].name)
