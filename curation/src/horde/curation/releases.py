"""Data releases, as they are asked for and shown: the building is somebody else's (`neighbours/builders.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from horde.curation.core.errors import ReleaseConflict, ReleaseFinished, ReleaseNotFound, ReleaseRunning
from horde.curation.core.releases import Asked, Estimate, Finished, State, Terms
from horde.curation.core.removals import Removal, RemovalPlace
from horde.curation.core.visitors import Role, Visitor
from horde.curation.estimates import Estimates
from horde.curation.neighbours.builders import Builder, BuilderFailed
from horde.curation.neighbours.release_bucket import File, ReleaseBucket
from horde.curation.store.port import CurationStore
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.telemetry import get_logger

log = get_logger(__name__)

LOOK_SECONDS: Final = 2.0
CANCELLED: Final = "cancelled by an operator"


class DataReleases:
    """What DataReleaseService does."""

    def __init__(
        self, store: CurationStore, bucket: ReleaseBucket, builder: Builder, clock: Clock, estimates: Estimates
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._builder = builder
        self._clock = clock
        self._estimates = estimates
        self._stopped = ""
        """The release whose building was ended by somebody, and not by a fault."""

    async def create(self, visitor: Visitor, name: str, terms: Terms) -> Asked | Finished:
        """Have a release built; or it as it is, if it was asked for before in the same terms."""
        finished = await self._bucket.find(name)
        if finished is not None:
            known = await self._store.asked(name)
            _check_terms(known.terms if known is not None else finished.terms, terms)
            return finished
        running = await self._store.building()
        if running is not None and await self._bucket.find(running.name) is not None:
            # Its builder has only to end.
            await self._store.end(running.name, State.FINISHED)
        wanted = Asked(name, terms, self._clock.now(), visitor.account_id)
        asked = await self._store.ask(wanted)
        if asked.name != name:
            raise ReleaseRunning(metadata={"name": asked.name})
        _check_terms(asked.terms, terms)
        log.info("a data release was asked for", release=name, by=visitor.account_id, terms=terms.to_json())
        return asked

    async def estimate(self, visitor: Visitor, name: str, terms: Terms) -> Asked | Estimate | Finished:
        """What a release would hold, with nothing made or kept. Asked: it is counted. Finished: it is made."""
        finished = await self._bucket.find(name)
        known = await self._store.asked(name)
        if finished is not None or known is not None:
            _check_terms(known.terms if known is not None else finished.terms if finished else terms, terms)
        if finished is not None:
            return finished
        estimate = await self._estimates.ask(name, terms)
        return estimate or Asked(name, terms, self._clock.now(), visitor.account_id)

    async def cancel(self, name: str) -> Asked:
        """End a release that is being built. What is built of it stays, for whoever takes it up again."""
        if await self._bucket.find(name) is not None:
            raise ReleaseFinished(metadata={"name": name})
        await self._store.end(name, State.FAILED, CANCELLED)
        asked = await self._store.asked(name)
        if asked is None:
            raise ReleaseNotFound(metadata={"name": name})
        self._stopped = name
        await self._builder.stop(name)
        return asked

    async def get(self, visitor: Visitor, name: str) -> Asked | Finished:
        """One release; what is not finished is shown to operators alone."""
        found = await self._bucket.find(name)
        if found is not None:
            return found
        asked = await self._store.asked(name) if Role.OPERATOR in visitor.roles else None
        if asked is None:
            raise ReleaseNotFound(metadata={"name": name})
        return asked

    async def all(self, visitor: Visitor) -> Sequence[Asked | Finished]:
        """All that this visitor may see, the newest first."""
        finished = await self._bucket.finished()
        if Role.OPERATOR not in visitor.roles:
            return finished
        names = {release.name for release in finished}
        unfinished = [asked for asked in await self._store.all_asked() if asked.name not in names]
        return sorted([*finished, *unfinished], key=lambda release: (_begun(release), release.name), reverse=True)

    async def progress(self, asked: Asked) -> int:
        """How many images have been looked at so far, at most."""
        return await self._bucket.parts(asked.name) * asked.terms.images_per_shard

    async def files(self, name: str, limit: int, after: str) -> Sequence[File]:
        """A finished release's files behind a path."""
        await self._finished(name)
        return await self._bucket.files(name, limit, after)

    async def link(self, name: str, path: str) -> str | None:
        """A link to a file of a finished release, if the store makes any."""
        return await self._bucket.link(name, path)

    async def chain(self, name: str) -> list[Finished]:
        """A finished release and those that it goes on from, the first first."""
        chain = [await self._finished(name)]
        while chain[0].previous:
            chain.insert(0, await self._finished(chain[0].previous))
        return chain

    async def removals(
        self, chain: list[Finished], after: RemovalPlace | None, since: datetime | None, limit: int
    ) -> Sequence[Removal]:
        """What is to be taken out of the releases of a chain, the first removed first."""
        begun = max(chain[0].as_of, since) if since else chain[0].as_of
        return await self._store.removals(chain[-1].until, begun, limit, after)

    async def run(self) -> None:
        """Have built what was asked for, one after the other, also what an earlier process began. Until cancelled."""
        while True:
            try:
                # However one ended, and whichever process saw it: nothing of it is kept longer than it must be.
                states = {known.name: known.state for known in await self._store.all_asked()}
                await self._builder.tidy(states, self._clock.now())
                asked = await self._store.building()
                if asked is not None:
                    await self._build(asked)
            except ServiceError as error:
                log.debug("releases cannot be looked at", error=str(error))
            await self._clock.sleep(LOOK_SECONDS)

    async def _build(self, asked: Asked) -> None:
        self._stopped = ""
        try:
            if await self._bucket.find(asked.name) is None:
                await self._builder.build(asked)
        except BuilderFailed as error:
            # One that was stopped has its end already, and may have been asked for again since.
            if self._stopped != asked.name:
                log.error("a data release was not built", release=asked.name, why=str(error))
                await self._store.end(asked.name, State.FAILED, str(error))
            return
        # Whose builder is somebody else's is looked for again.
        if await self._bucket.find(asked.name) is not None:
            await self._store.end(asked.name, State.FINISHED)
            log.info("a data release is finished", release=asked.name)

    async def _finished(self, name: str) -> Finished:
        found = await self._bucket.find(name)
        if found is None:
            raise ReleaseNotFound(metadata={"name": name})
        return found


def _check_terms(known: Terms, asked: Terms) -> None:
    if differs := known.differs_from(asked):
        raise ReleaseConflict(metadata={"field": TERM_FIELDS[differs]})


TERM_FIELDS: Final = {
    "cool_off_hours": "terms.cool_off",
    "images_per_shard": "terms.images_per_shard",
    "bytes_per_shard": "terms.bytes_per_shard",
    "contact_data": "terms.include_contact_data",
    "unsure": "terms.include_unsure",
    "incremental": "terms.incremental",
}
"""Of the contract."""


def _begun(release: Asked | Finished) -> datetime:
    return release.created_at if isinstance(release, Asked) else release.as_of
