"""What somebody asks for, made into the plan of a release."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from horde.buckets.port import Bucket
from horde.data_releases.chain import Chain
from horde.data_releases.core import layout
from horde.data_releases.core.plan import BadPlan, Plan, whole_hour
from horde.data_releases.releases import Releases
from horde.data_releases.shared_side import SharedSide


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asks for."""

    release_id: str
    as_of: datetime | None = None
    previous: str | None = None
    """Empty: none, begin with the first shared image. None: left open."""
    others: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the plan."""


class Planner:
    """Makes plans."""

    def __init__(self, shared: SharedSide, bucket: Bucket, now: Callable[[], datetime]) -> None:
        self._shared = shared
        self._bucket = bucket
        self._releases = Releases(bucket)
        self._now = now

    async def plan(self, order: Order) -> Plan:
        """The plan of a release. What the order leaves open is as it was begun, if it was, else the latest there is."""
        begun = await self.begun(order.release_id)
        as_of = order.as_of or (begun.as_of if begun else self._now().replace(microsecond=0))
        if as_of > self._now():
            # It would shorten the cool-off, and the next release would not hear of what is withdrawn until then.
            raise BadPlan("as_of: must not be later than now")
        if order.previous is not None:
            previous = order.previous or None
        elif begun is not None:
            previous = begun.previous
        else:
            latest = await self._releases.latest()
            previous = None if latest is None else latest.release_id
        if previous is None:
            since = begun.since if begun else await self._shared.first_hour() or whole_hour(as_of)
        else:
            before = (await self._releases.get(previous)).plan
            since = before.until
            if as_of < before.as_of:
                raise BadPlan(f"as_of: {previous} speaks for a later moment, {before.as_of.isoformat()}")
        return Plan(order.release_id, as_of, previous, since, **order.others)

    async def begun(self, release_id: str) -> Plan | None:
        """The plan of a release that is finished, or was begun."""
        finished = await self._releases.find(release_id)
        if finished is not None:
            return finished.plan
        found = await self._bucket.read(layout.building(release_id, "plan.json"))
        return None if found is None else Plan.from_json(json.loads(found.data))


def catalogue_path(state_dir: Path, plan: Plan, chain: Chain) -> Path:
    """The index of a chain of releases on this disk."""
    return state_dir / f"catalogue-{chain.root or plan.release_id}.sqlite"
