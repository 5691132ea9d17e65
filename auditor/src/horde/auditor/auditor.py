"""The auditor put together: one look after the other, each of bounded cost, and an alarm for whatever is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from opentelemetry import metrics

from horde.auditor.core.findings import EXPLANATIONS, SHARED, Finding, Kind
from horde.auditor.core.settled import Settled
from horde.auditor.private_audit import PrivateAudit
from horde.auditor.progress import Progress, ProgressFile, Round
from horde.auditor.shared_audit import Place, SharedAudit, Slice
from horde.auditor.truth import Truth
from horde.services import probes, telemetry
from horde.services.clock import Clock
from horde.services.errors import ServiceError

BATCH: Final = 256
_METER: Final = metrics.get_meter("horde.auditor")
OPEN: Final = _METER.create_gauge("horde.auditor.findings", "{finding}", "What is wrong now, by kind")
LAG: Final = _METER.create_gauge(
    "horde.auditor.lag", "s", "Age of the newest end that was looked at, when it is behind"
)
ROUND: Final = _METER.create_gauge("horde.auditor.round", "s", "Since the last way round a bucket began that is over")
OBJECTS: Final = _METER.create_counter("horde.auditor.objects", "{object}", "Objects that were looked at")

log = telemetry.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one look may cost, and what it leaves for the next."""

    new_images: int = 5_000
    slice_objects: int = 20_000
    settle: timedelta = timedelta(minutes=5)
    first_look: timedelta = timedelta(days=1)
    """How far back the first look of all goes for what is new."""


@dataclass(slots=True)
class Look:
    """What one look came to."""

    new: int = 0
    objects: int = 0
    caught_up: bool = True
    """Nothing that is new was left."""


class Auditor:
    """Looks, again and again."""

    def __init__(
        self, truth: Truth, shared: SharedAudit, private: PrivateAudit, file: ProgressFile, clock: Clock, bounds: Bounds
    ) -> None:
        self._truth = truth
        self._shared = shared
        self._private = private
        self._file = file
        self._clock = clock
        self._bounds = bounds
        now = clock.now()
        self.progress = file.load() or Progress.begin(now - bounds.first_look, now)

    async def watch(self, every: timedelta) -> None:
        """Look for as long as the process runs. While the scheduler or a bucket is away, what is new waits."""
        while True:
            try:
                await self.look()
                await probes.ready(True)
            except ServiceError as error:
                log.warning("a look broke off", error=str(error))
                await probes.ready(False)
            self._tell()
            await self._clock.sleep(every.total_seconds())

    async def whole(self) -> None:
        """Look until all that is new and every object of both buckets was looked at."""
        began = self._clock.now()
        for way in (self.progress.shared, self.progress.private):
            way.place, way.began_at, way.finished_at = Place(), began, None
        while True:
            look = await self.look()
            rounds = (self.progress.shared, self.progress.private)
            if look.caught_up and all(way.finished_at is not None for way in rounds):
                return

    async def look(self) -> Look:
        """One look: what was wrong, what is new, and the next slice of each bucket."""
        look = Look()
        await self._look_again()
        await self._look_at_new(look)
        self.progress.hour, found = await self._shared.hours(self.progress.hour)
        self._take(found)
        await self._go_on(look, self.progress.shared, self._shared.slice)
        await self._go_on(look, self.progress.private, self._private.slice)
        self._file.save(self.progress)
        OBJECTS.add(look.objects)
        return look

    async def _look_again(self) -> None:
        """What is mended is told, and forgotten."""
        still: list[Finding] = []
        for finding in self.progress.open:
            found = await (self._shared if finding.bucket == SHARED else self._private).again(finding)
            if any((one.kind, one.key) == (finding.kind, finding.key) for one in found):
                still.append(finding)
            else:
                log.info("mended", kind=finding.kind.value, bucket=finding.bucket, key=finding.key)
        self.progress.open = still
        if not still:
            self.progress.more = 0

    async def _look_at_new(self, look: Look) -> None:
        progress = self.progress
        before = self._clock.now() - self._bounds.settle
        batch: list[Settled] = []
        async for image in self._truth.ended(progress.ended_ms, progress.ended_job, before):
            batch.append(image)
            look.new += 1
            if len(batch) == BATCH:
                await self._take_new(batch)
                batch = []
            if look.new >= self._bounds.new_images:
                look.caught_up = False
                break
        if batch:
            await self._take_new(batch)
        LAG.set(0.0 if look.caught_up else (before.timestamp() - progress.ended_ms / 1000))

    async def _take_new(self, images: list[Settled]) -> None:
        self._take(await self._shared.new(images))
        self.progress.ended_ms = round(images[-1].ended_at.timestamp() * 1000)
        self.progress.ended_job = images[-1].job_id

    async def _go_on(self, look: Look, way: Round, go: Callable[[Place, int], Awaitable[Slice]]) -> None:
        part = await go(way.place, self._bounds.slice_objects)
        look.objects += part.objects
        self._take(part.findings)
        way.place = part.place
        if not part.place.key:
            way.finished_at, way.began_at = way.began_at, self._clock.now()

    def _take(self, found: list[Finding]) -> None:
        for finding in self.progress.take(found):
            log.error(
                EXPLANATIONS[finding.kind],
                kind=finding.kind.value,
                bucket=finding.bucket,
                key=finding.key,
                subject=finding.subject,
                detail=finding.detail,
            )

    def _tell(self) -> None:
        counted = Counter(finding.kind for finding in self.progress.open)
        for kind in Kind:
            OPEN.set(counted[kind], {"kind": kind.value})
        now: datetime = self._clock.now()
        for bucket, way in (("shared", self.progress.shared), ("private", self.progress.private)):
            ROUND.set((now - (way.finished_at or way.began_at)).total_seconds(), {"bucket": bucket})
