"""Makes a release: plans it, builds its parts, looks once more for what was withdrawn meanwhile, and finishes it.

Whatever is done is noted in the bucket of releases under `building/`, so that anybody with the same keys goes on after
a crash, on any machine. The release is there when `finished/<id>.json` is, which is written last and never again.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from horde.buckets.port import Bucket
from horde.data_releases.building import PartBuilder, PartNote
from horde.data_releases.catalogue import Catalogue
from horde.data_releases.chain import Chain, index_part
from horde.data_releases.core import layout
from horde.data_releases.core.plan import BadPlan, OtherPlan, Plan
from horde.data_releases.core.pseudonyms import Pseudonyms
from horde.data_releases.finishing import Finisher
from horde.data_releases.keys import Keys
from horde.data_releases.planning import Order, Planner, catalogue_path
from horde.data_releases.releases import Finished, Releases
from horde.data_releases.shared_side import SharedSide
from horde.data_releases.source import Source
from horde.data_releases.turn import Turn
from horde.services import telemetry
from horde.services.failpoints import declare, failpoint

AFTER_PLAN: Final = declare("releases.after_plan")
AFTER_SHARD: Final = declare("releases.after_shard")
AFTER_PART: Final = declare("releases.after_part")
BEFORE_FINISHED: Final = declare("releases.before_finished")

CLOCKS_DIFFER: Final = timedelta(minutes=15)
"""By so much at most."""

log = telemetry.get_logger(__name__)


class Builder:
    """Makes releases, one at a time. Of two that are at work on a release, the one that began last goes on (`Turn`)."""

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
        self._planner = Planner(shared, bucket, now)
        self._keys = keys
        self._state_dir = state_dir
        self._now = now
        self._ratings = ratings

    async def create(self, order: Order) -> Finished:
        """Make the release, or go on making it, or find it made.

        Raises OtherPlan if it was begun otherwise, OtherBuilder if somebody else makes it meanwhile.
        """
        asked = await self._planner.plan(order)
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
        turn = Turn(self._bucket, plan.release_id, work)
        await turn.take()
        catalogue = Catalogue(catalogue_path(self._state_dir, plan, chain))
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="picture") as threads:
            try:
                await chain.index(catalogue, self._bucket, building=plan.release_id)
                names = Pseudonyms(self._keys.pseudonyms, plan.release_id)
                parts = PartBuilder(plan, chain.length, self._shared, catalogue, names, threads, work)
                source = Source(plan, chain, self._shared, self._now)
                notes = await _Making(plan, chain, source, self._bucket, catalogue, parts, turn).run()
                finisher = Finisher(plan, chain, self._bucket, catalogue, self._keys, names, work, self._ratings, turn)
                finished = await finisher.run(notes)
                await failpoint(BEFORE_FINISHED)
                await turn.check()
                await self._releases.finish(finished, [identifier for note in notes for identifier in note.undecided])
            finally:
                catalogue.close()
        shutil.rmtree(work, ignore_errors=True)
        await self._releases.clear_building(plan.release_id)
        return finished

    async def _begin(self, asked: Plan) -> Plan:
        """Fix the plan, or find it fixed."""
        key = layout.building(asked.release_id, "plan.json")
        if await self._bucket.put(key, json.dumps(asked.to_json(), indent=1, sort_keys=True).encode()):
            # By the store's clock: were this machine's ahead, it would release what may still be taken back.
            stored = await self._bucket.head(key)
            if stored is not None and asked.as_of > stored.modified_at + CLOCKS_DIFFER:
                await self._bucket.delete(key)
                raise BadPlan(
                    f"as_of: {asked.as_of.isoformat()} has not come by the store's clock; look at this machine's"
                )
        begun = await self._planner.begun(asked.release_id)
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
        source: Source,
        bucket: Bucket,
        catalogue: Catalogue,
        parts: PartBuilder,
        turn: Turn,
    ) -> None:
        self._plan = plan
        self._chain = chain
        self._source = source
        self._bucket = bucket
        self._catalogue = catalogue
        self._parts = parts
        self._turn = turn

    async def run(self) -> list[PartNote]:
        """Build what is not built yet. What is withdrawn while that goes on is not in it when this returns."""
        release_id = self._plan.release_id
        while True:
            await self._source.note_withdrawals(self._catalogue)
            for number in self._catalogue.stale_parts(release_id):
                log.info("withdrawn while building", release=release_id, part=number)
                self._catalogue.drop_part(release_id, number)
                await self._turn.check()
                await self._bucket.delete(layout.part(release_id, number))
            notes: list[PartNote] = []
            async for ids in self._source.batches():
                notes.append(await self._build(len(notes), ids))
            await self._source.note_withdrawals(self._catalogue)
            if not self._catalogue.stale_parts(release_id):
                return notes

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
            await self._turn.check()
            await self._bucket.put_file(layout.release(release_id, file.name), file.path)
            await failpoint(AFTER_SHARD)
            await asyncio.to_thread(file.path.unlink)
        await self._turn.check()
        await self._bucket.put(key, built.note.to_json())
        await failpoint(AFTER_PART)
        log.info("part built", release=release_id, part=number, images=built.note.statistics.images)
        return built.note
