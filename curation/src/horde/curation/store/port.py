"""The port for what is kept. One suite holds its adapters to it (`tests/conformance/curation`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import Protocol

from horde.curation.core.cases import Case, Decision, Place, Report, Standing
from horde.curation.core.images import SharedImage, Verdict
from horde.curation.core.rating import (
    Answer,
    Due,
    Opinion,
    Ratable,
    Rater,
    RaterState,
    Rating,
    RatingRules,
    Record,
    Shown,
)
from horde.curation.core.rating_choice import Kind
from horde.curation.core.releases import Asked, Published, State
from horde.curation.core.removals import Removal, RemovalPlace
from horde.curation.core.sharing import SharedPlace, Wish


class ImageStore(Protocol):
    """Which shared images there are. All of it is repeatable; Unavailable while the database is away."""

    async def known(self, image_ids: Collection[str]) -> Mapping[str, datetime | None]:
        """Those of these (at most 1,000) that are kept, each with its hour of the journal."""

    async def add_images(self, images: Sequence[SharedImage]) -> None:
        """Keep images as they were shared. One that is known stays as it is."""

    async def keep_hour(self, image_ids: Collection[str], hour: datetime, forget_before: datetime) -> None:
        """Note that an hour of the journal names these, kept or not: of an image the first hour counts that does. What
        hours before another named, and never came, is forgotten."""

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


class ReleaseStore(Protocol):
    """Data releases that were asked for here, and what has to be taken out of finished ones."""

    async def ask(self, asked: Asked) -> Asked:
        """Keep a release that is to be built, or one that failed in the same terms again; as it is now. Where another
        is being built, or this one was asked for before, nothing changes, and that is what is given."""

    async def asked(self, name: str) -> Asked | None:
        """One that was asked for here."""

    async def all_asked(self) -> Sequence[Asked]:
        """All of them, the newest first."""

    async def building(self) -> Asked | None:
        """The one that is being built."""

    async def end(self, name: str, state: State, failure: str = "") -> None:
        """Note how the building of a release ended, unless it has ended already."""

    async def removals(
        self, journalled_before: datetime, since: datetime, limit: int, after: RemovalPlace | None = None
    ) -> Sequence[Removal]:
        """Images of hours of the journal before one, withdrawn or found unsafe since a moment, in the order of that."""


class RatingStore(Protocol):
    """Ratings, and who rates."""

    async def rater(self, account_id: str, now: datetime) -> RaterState:
        """What is kept of somebody; of who is not known, that nothing is."""

    async def candidates(
        self,
        kind: Kind,
        rater: Rater,
        skipped: Collection[str],
        chance: Random,
        rules: RatingRules,
        published: Published | None = None,
    ) -> Sequence[Ratable]:
        """Some images of a kind that may be shown to a rater and that he has not rated, from a place by chance on; none
        only if there is none. None of those of which anybody can look up what others said."""

    async def is_published(self, image_id: str, published: Published) -> bool:
        """Whether anybody can look up what others said of an image."""

    async def show(self, account_id: str, shown: Shown, instead_of: str | None, skipped: Sequence[str]) -> bool:
        """Note what somebody is shown, and what he has skipped on the day of that. False, and nothing noted: he is
        looking at something else than `instead_of`."""

    async def rating(self, account_id: str, image_id: str) -> Rating | None:
        """What somebody said of an image."""

    async def answers(self, account_id: str, limit: int) -> Sequence[Answer]:
        """Somebody's own ratings, newest first, each with what others said: what he said first, for what is replaced
        may have been learnt."""

    async def opinions(self, image_id: str, but: str) -> Sequence[Opinion]:
        """What others than one account said of an image."""

    async def rate(self, rating: Rating, shown: Shown, *, due: bool) -> bool:
        """Keep a rating, and that nothing is shown any more. False, and nothing kept: something else was shown."""

    async def replace_rating(self, rating: Rating) -> None:
        """Keep another score and artifacts; all else stays."""

    async def keep_record(self, account_id: str, record: Record, word: float) -> None:
        """How somebody's ratings stand to others', and how much his word counts."""

    async def keep_answer(self, image_id: str, answer: float | None) -> None:
        """What an image is known to be worth."""

    async def ratings(self, account_id: str, limit: int, after: tuple[datetime, str] | None) -> Sequence[Rating]:
        """Somebody's ratings, newest first, behind a time and image."""

    async def due(self, limit: int) -> Sequence[Due]:
        """Rewards that the ledger has not answered for, oldest first."""

    async def paid(self, due: Due, amount_mkudos: int) -> None:
        """What the ledger paid."""

    async def export(self, until: datetime, after: tuple[str, str], limit: int) -> Sequence[tuple[Rating, float]]:
        """Ratings from before a time of images that are not withdrawn, each with how much its rater's word counts, in
        the order of image and account, behind such a pair."""


class SharingStore(Protocol):
    """What each requester has shared, and wishes to take it back."""

    async def shared_by(
        self, requester: str, limit: int, after: SharedPlace | None = None, among: Collection[str] = ()
    ) -> Sequence[SharedImage]:
        """A requester's images, withdrawn or not, newest first; of these ids alone, if any are named."""

    async def count_shared_by(self, requester: str) -> int:
        """How many of them are not withdrawn."""

    async def wish(self, wish: Wish) -> None:
        """Keep a wish, in place of an earlier one."""

    async def wishes(self, limit: int) -> Sequence[Wish]:
        """Wishes that are not granted yet, the oldest first."""

    async def granted(self, wish: Wish) -> None:
        """Forget a wish, unless there is a later one."""

    async def to_withdraw(self, wish: Wish, limit: int) -> Sequence[str]:
        """Images that it is about, and that are not withdrawn."""


class AccountStore(Protocol):
    """What goes with an account that has ended. All of it is repeatable."""

    async def forget_rater(self, account_id: str, limit: int) -> int:
        """Delete some of an account's ratings, and with the last what is kept of it as a rater; how many are left."""

    async def forget_reporter(self, reporter: str, limit: int) -> int:
        """Take the words and the reporter from some reports; how many are left. Images stand as they stood."""


class CurationStore(ImageStore, CaseStore, ReleaseStore, SharingStore, RatingStore, AccountStore, Protocol):
    """All that is kept."""
