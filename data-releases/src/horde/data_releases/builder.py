"""Makes a release: plans it, builds its parts, looks once more for what was withdrawn meanwhile, and finishes it.

Whatever is done is noted in the bucket of releases under `building/`, so that anybody with the same keys goes on after
a crash, on any machine. The release is there when `finished/<id>.json` is, which is written last and never again.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from horde.buckets.port import Bucket
from horde.data_releases.building import PartBuilder, PartNote
from horde.data_releases.catalogue import Catalogue
from horde.data_releases.chain import Chain, index_part
from horde.data_releases.core import layout
from horde.data_releases.core.plan import BadPlan, OtherPlan, Plan, hour_name, hours_between, whole_hour
from horde.data_releases.core.pseudonyms import Pseudonyms
from horde.data_releases.core.records import Verdict
from horde.data_releases.finishing import Finisher
from horde.data_releases.keys import Keys
from horde.data_releases.releases import Finished, Releases
from horde.data_releases.shared_side import SharedSide
from horde.services import telemetry
from horde.services.failpoints import declare, failpoint

AFTER_PLAN: Final = declare("releases.after_plan")
AFTER_SHARD: Final = declare("releases.after_shard")
AFTER_PART: Final = declare("releases.after_part")
BEFORE_FINISHED: Final = declare("releases.before_finished")

log = telemetry.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asks for."""

    release_id: str
    as_of: datetime | None = None
    previous: str | None = None
    """Empty: none, begin with the first shared image. None: left open."""
    others: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the plan."""


class Builder:
    """Makes releases, one at a time. Only one builder may be at work on a release."""

    def __init__(
        self,
        shared: SharedSide,
        bucket: Bucket,
        keys: Keys,
        state_dir: Path,
        now: Callable[[], datetime],
        ratings: Path | None = None,
    ) -> None:
        self._shared = shared
        self._bucket = bucket
        self._releases = Releases(bucket)
        self._keys = keys
        self._state_dir = state_dir
        self._now = now
        self._ratings = ratings

    async def plan(self, order: Order) -> Plan:
        """The plan of a release. What the order leaves open is as it was begun, if it was, else the latest there is."""
        begun = await self._begun(order.release_id)
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
            since = (await self._releases.get(previous)).plan.until
        return Plan(order.release_id, as_of, previous, since, **order.others)

    async def _begun(self, release_id: str) -> Plan | None:
        finished = await self._releases.find(release_id)
        if finished is not None:
            return finished.plan
        found = await self._bucket.read(layout.building(release_id, "plan.json"))
        return None if found is None else Plan.from_json(json.loads(found.data))

    async def create(self, order: Order) -> Finished:
        """Make the release, or go on making it, or find it made. Raises OtherPlan if it was begun otherwise."""
        asked = await self.plan(order)
        finished = await self._releases.find(asked.release_id)
        if finished is not None:
            finished.plan.check_same(asked)
            return finished
        plan = await self._begin(asked)
        await failpoint(AFTER_PLAN)
        chain = await Chain.read(self._releases, plan.previous)
        work = self._state_dir / "work" / plan.release_id
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        catalogue = Catalogue(self._state_dir / f"catalogue-{chain.root or plan.release_id}.sqlite")
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="picture") as threads:
            try:
                await chain.index(catalogue, self._bucket, building=plan.release_id)
                names = Pseudonyms(self._keys.pseudonyms, plan.release_id)
                parts = PartBuilder(plan, chain.length, self._shared, catalogue, names, threads, work)
                making = _Making(plan, chain, self._shared, self._bucket, catalogue, parts, self._now)
                notes = await making.run()
                finisher = Finisher(plan, chain, self._bucket, catalogue, self._keys, names, work, self._ratings)
                finished = await finisher.run(notes)
                await failpoint(BEFORE_FINISHED)
                await self._releases.finish(finished, [identifier for note in notes for identifier in note.undecided])
            finally:
                catalogue.close()
        shutil.rmtree(work, ignore_errors=True)
        await self._releases.clear_building(plan.release_id)
        return finished

    async def _begin(self, asked: Plan) -> Plan:
        """Fix the plan, or find it fixed."""
        key = layout.building(asked.release_id, "plan.json")
        await self._bucket.put(key, json.dumps(asked.to_json(), indent=1, sort_keys=True).encode())
        begun = await self._begun(asked.release_id)
        if begun is None:
            raise OtherPlan(f"release_id: somebody else is at work on {asked.release_id}")
        begun.check_same(asked)
        return begun


class _Making:
    """The parts of one release, until none of them holds anything withdrawn or found unsafe."""

    def __init__(
        self,
        plan: Plan,
        chain: Chain,
        shared: SharedSide,
        bucket: Bucket,
        catalogue: Catalogue,
        parts: PartBuilder,
        now: Callable[[], datetime],
    ) -> None:
        self._plan = plan
        self._chain = chain
        self._shared = shared
        self._bucket = bucket
        self._catalogue = catalogue
        self._parts = parts
        self._now = now

    async def run(self) -> list[PartNote]:
        """Build what is not built yet. What is withdrawn while that goes on is not in it when this returns."""
        release_id = self._plan.release_id
        while True:
            await self._note_withdrawals()
            for number in self._catalogue.stale_parts(release_id):
                log.info("withdrawn while building", release=release_id, part=number)
                self._catalogue.drop_part(release_id, number)
                await self._bucket.delete(layout.part(release_id, number))
            notes = [note async for note in self._build_all()]
            await self._note_withdrawals()
            if not self._catalogue.stale_parts(release_id):
                return notes

    async def _note_withdrawals(self) -> None:
        since = self._plan.since if self._chain.last is None else self._chain.last.plan.as_of
        hours = list(hours_between(since - timedelta(hours=1), self._now() + timedelta(hours=1)))
        batch: list[tuple[str, str]] = []
        async for identifier, hour in self._shared.withdrawn(hours):
            batch.append((identifier, hour_name(hour)))
        self._catalogue.note_withdrawn(batch)
        decided = [
            (identifier, hour_name(hour), verdict is Verdict.UNSAFE)
            async for identifier, hour, verdict in self._shared.decided(hours)
        ]
        self._catalogue.note_decided(decided)

    async def _build_all(self) -> AsyncIterator[PartNote]:
        number = 0
        ids: list[str] = []
        async for identifier in self._candidates():
            ids.append(identifier)
            if len(ids) == self._plan.samples:
                yield await self._build(number, ids)
                number, ids = number + 1, []
        if ids:
            yield await self._build(number, ids)

    async def _candidates(self) -> AsyncIterator[str]:
        for identifier in await self._chain.undecided():
            yield identifier
        async for identifier in self._shared.shared(self._plan.hours()):
            yield identifier

    async def _build(self, number: int, ids: list[str]) -> PartNote:
        """The part, built now or before."""
        release_id = self._plan.release_id
        key = layout.part(release_id, number)
        found = await self._bucket.read(key)
        if found is not None:
            note = PartNote.from_json(found.data)
            if not self._catalogue.has_part(release_id, number):
                await index_part(self._catalogue, self._bucket, self._chain.length, release_id, note)
            return note
        built = await self._parts.build(number, ids)
        for file in built.files:
            await self._bucket.put_file(layout.release(release_id, file.name), file.path)
            await failpoint(AFTER_SHARD)
            await asyncio.to_thread(file.path.unlink)
        await self._bucket.put(key, built.note.to_json())
        await failpoint(AFTER_PART)
        log.info("part built", release=release_id, part=number, images=built.note.statistics.images)
        return built.note
