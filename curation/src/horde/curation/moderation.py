"""Reports, cases and decisions: what is kept first, and then told to the shared bucket, again and again until it is."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from horde.curation.core.cases import Case, Decision, Place, Reason, Report
from horde.curation.core.errors import CaseNotFound, ImageNotFound
from horde.curation.core.images import SharedImage, Verdict
from horde.curation.core.visitors import Visitor
from horde.curation.neighbours.shared_bucket import SharedBucket
from horde.curation.neighbours.verdicts import Verdicts
from horde.curation.store.port import CurationStore
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.failpoints import declare, failpoint
from horde.services.ids import Ids
from horde.services.telemetry import get_logger

log = get_logger(__name__)

AFTER_KEPT: Final = declare("curation.moderation.after_kept")
LOOK_SECONDS: Final = 5.0
UNTOLD_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody says of an image."""

    image_id: str
    by_job: bool
    """They named it by the job, which only its requester may."""
    reason: Reason
    detail: str


class Moderation:
    """What ModerationService does, but for the filters."""

    def __init__(self, store: CurationStore, bucket: SharedBucket, verdicts: Verdicts, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._bucket = bucket
        self._verdicts = verdicts
        self._clock = clock
        self._ids = ids
        self._telling = asyncio.Lock()

    async def report(self, visitor: Visitor, made: Told) -> str:
        """Take a report; its id."""
        image = await self._find(made.image_id)
        hidden = image is None or image.withdrawn_at is not None
        if image is None or hidden or (made.by_job and image.requester != visitor.digest):
            raise ImageNotFound(metadata={"image": made.image_id})
        report = Report(
            report_id=str(self._ids.new()),
            image_id=made.image_id,
            reporter=visitor.reporter,
            reason=made.reason,
            detail=made.detail,
            at=self._clock.now(),
            stranger=visitor.anonymous,
            network=visitor.network,
        )
        report_id = await self._store.report(report)
        if report_id is None:
            raise ImageNotFound(metadata={"image": made.image_id})
        await failpoint(AFTER_KEPT)
        await self._tell_soon(made.image_id)
        return report_id

    async def cases(self, verdicts: Collection[Verdict], limit: int, after: Place | None) -> Sequence[Case]:
        """A page of the queue."""
        return await self._store.cases(verdicts, limit, after)

    async def case(self, case_id: str) -> Case:
        """One case."""
        case = await self._store.case(case_id)
        if case is None:
            raise CaseNotFound(metadata={"case_id": case_id})
        return case

    async def decide(self, case_id: str, decision: Decision) -> Case:
        """Take a moderator's decision."""
        case = await self._store.decide(case_id, decision)
        if case is None:
            raise CaseNotFound(metadata={"case_id": case_id})
        log.info(
            "decided",
            image_id=case_id,
            verdict=decision.verdict.value,
            reason=decision.reason.value,
            moderator=decision.moderator_account_id,
        )
        await failpoint(AFTER_KEPT)
        await self._tell_soon(case_id)
        return case

    async def run(self) -> None:
        """Tell the bucket what it was not told yet, because it was away, or the call broke off. Until cancelled."""
        while True:
            try:
                while untold := await self._store.untold(UNTOLD_AT_ONCE):
                    for image_id in untold:
                        await self._tell(image_id)
            except ServiceError as error:
                log.debug("the bucket was not told how images stand", error=str(error))
            await self._clock.sleep(LOOK_SECONDS)

    async def _find(self, image_id: str) -> SharedImage | None:
        """The image, also one that the follower has not come to yet."""
        known = await self._store.image(image_id)
        if known is None and (known := await self._bucket.image(image_id)) is not None:
            await self._store.add_images([known])
        return known

    async def _tell_soon(self, image_id: str) -> None:
        """Now, or in the loop: what is kept is kept, and is no less so for a bucket that is away."""
        try:
            await self._tell(image_id)
        except ServiceError as error:
            log.debug("the bucket will be told later", error=str(error))

    async def _tell(self, image_id: str) -> None:
        # One after the other: an older word must not overwrite a newer one.
        async with self._telling:
            while (standing := await self._store.standing(image_id)) is not None:
                await self._verdicts.tell(image_id, standing)
                if await self._store.told(image_id, standing):
                    return
