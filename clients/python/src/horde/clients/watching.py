"""What a watcher hears, in the right order: the events of WatchGeneration, and the rules of their order.

Pure: streams and reconnecting are in `generations.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from horde.api.generation.v1.generation_pb2 import Generation, Image, WaitEstimate
from horde.api.generation.v1.generation_service_pb2 import WatchGenerationResponse
from horde.api.job.v1.job_pb2 import JobState


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything, as it is now. Comes first, and again after every broken stream."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class ImageChanged:
    """One image moved on: queued, leased, settling, ended; or back from leased to queued."""

    image: Image


@dataclass(frozen=True, slots=True)
class Progressed:
    """A worker painted further."""

    index: int
    job_id: str
    lease_id: str
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Previewed:
    """A glimpse of an unfinished image: a JPEG, PNG or WebP."""

    index: int
    job_id: str
    step: int
    image: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """A new estimate for a queued image."""

    index: int
    job_id: str
    jobs_ahead: int
    p50: timedelta
    p90: timedelta
    eligible_workers: int
    estimate: WaitEstimate


@dataclass(frozen=True, slots=True)
class Finished:
    """Every image has ended. The last event."""

    generation: Generation


WatchEvent = Snapshot | ImageChanged | Progressed | Previewed | Waiting | Finished


@dataclass(slots=True)
class Order:
    """Drops what is old: versions never go backwards, progress counts only for the current lease and only forwards."""

    version: int = -1
    images: dict[str, Image] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def accept(self, response: WatchGenerationResponse) -> WatchEvent | None:
        """The event that a message is, or None for one that is late or of a kind unknown here."""
        match response.WhichOneof("event"):
            case "snapshot":
                return Snapshot(response.snapshot) if self._whole(response.snapshot) else None
            case "finished":
                return Finished(response.finished) if self._whole(response.finished) else None
            case "image":
                return self._image(response.image)
            case "progress":
                return self._progress(response)
            case "preview":
                return self._preview(response)
            case "wait":
                return self._wait(response)
            case _:
                return None

    def _whole(self, generation: Generation) -> bool:
        if generation.version < self.version:
            return False
        self.version = generation.version
        for image in generation.images:
            self._keep(image)
            if image.lease_id:
                self.steps[image.lease_id] = max(self.steps.get(image.lease_id, 0), image.step)
        return True

    def _image(self, image: Image) -> ImageChanged | None:
        known = self.images.get(image.job_id)
        if known is not None and image.version <= known.version:
            return None
        self.version = max(self.version, image.version)
        self._keep(image)
        return ImageChanged(image)

    def _keep(self, image: Image) -> None:
        known = self.images.get(image.job_id)
        if known is not None and known.lease_id and known.lease_id != image.lease_id:
            self.steps.pop(known.lease_id, None)
        self.images[image.job_id] = image

    def _progress(self, response: WatchGenerationResponse) -> Progressed | None:
        progress = response.progress
        image = self._leased(progress.job_id, progress.lease_id)
        if image is None or progress.step <= self.steps.get(progress.lease_id, 0):
            return None
        self.steps[progress.lease_id] = progress.step
        return Progressed(image.index, progress.job_id, progress.lease_id, progress.step, progress.steps)

    def _preview(self, response: WatchGenerationResponse) -> Previewed | None:
        preview = response.preview
        image = self._leased(preview.job_id, preview.lease_id)
        return Previewed(image.index, preview.job_id, preview.step, preview.image) if image is not None else None

    def _wait(self, response: WatchGenerationResponse) -> Waiting | None:
        image = self.images.get(response.wait.job_id)
        if image is None or image.state != JobState.JOB_STATE_QUEUED:
            return None
        estimate = response.wait.wait
        return Waiting(
            index=image.index,
            job_id=image.job_id,
            jobs_ahead=estimate.jobs_ahead,
            p50=estimate.p50.ToTimedelta(),
            p90=estimate.p90.ToTimedelta(),
            eligible_workers=estimate.eligible_workers,
            estimate=estimate,
        )

    def _leased(self, job_id: str, lease_id: str) -> Image | None:
        image = self.images.get(job_id)
        return image if image is not None and lease_id and image.lease_id == lease_id else None
