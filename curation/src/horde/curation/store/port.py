"""The port for what is kept. One suite holds its adapters to it (`tests/conformance/curation`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Protocol

from horde.curation.core.cases import Case, Decision, Place, Report, Standing
from horde.curation.core.images import SharedImage, Verdict


class ImageStore(Protocol):
    """Which shared images there are. All of it is repeatable; Unavailable while the database is away."""

    async def known(self, image_ids: Collection[str]) -> AbstractSet[str]:
        """Those of these (at most 1,000) that are kept."""

    async def add_images(self, images: Sequence[SharedImage]) -> None:
        """Keep images as they were shared. One that is known stays as it is."""

    async def image(self, image_id: str) -> SharedImage | None:
        """One image, withdrawn or not."""

    async def withdraw_images(self, withdrawn: Mapping[str, datetime]) -> None:
        """Note when images were withdrawn; the first time counts. Ids that are not known are nothing."""

    async def place(self, journal: str) -> datetime | None:
        """The hour up to which a journal has been read; None: nothing of it."""

    async def keep_place(self, journal: str, hour: datetime) -> None:
        """Note it."""


class CaseStore(Protocol):
    """Reports, decisions, and how each image stands."""

    async def report(self, report: Report) -> str | None:
        """Keep a report, in place of an earlier one by the same reporter; its id, which is then the earlier's. None:
        the image is not known, or withdrawn."""

    async def decide(self, image_id: str, decision: Decision) -> Case | None:
        """Keep a decision, unless it is the last one said again. None: there is no such case."""

    async def case(self, image_id: str) -> Case | None:
        """An image that waits, or waited, for a moderator."""

    async def cases(self, verdicts: Collection[Verdict], limit: int, after: Place | None = None) -> Sequence[Case]:
        """Cases that stand so: urgent ones first, then most reports first, then oldest first."""

    async def untold(self, limit: int) -> Sequence[str]:
        """Images of which the shared bucket does not say yet how they stand."""

    async def standing(self, image_id: str) -> Standing | None:
        """How an image stands."""

    async def told(self, image_id: str, standing: Standing) -> bool:
        """Note that the bucket says this. False: it stands otherwise by now, and the bucket must be told again."""


class CurationStore(ImageStore, CaseStore, Protocol):
    """All that is kept."""
