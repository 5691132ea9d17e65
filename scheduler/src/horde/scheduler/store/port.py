"""The store's port: what must be durable, and what must be atomic.

Every write belongs to one leader's epoch and is refused once there is a newer one. The adapters are held to one suite,
tests/conformance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from horde.scheduler.core.job import AccountId, GenerationId, JobId
from horde.scheduler.core.rows import Changes, Row, SettledQuery, Stored, Survey


class Store(Protocol):
    """Where generations, jobs and workers are kept."""

    async def lead(self) -> int:
        """Become the leader: the epoch that this process writes in. From now on an older one cannot write."""

    async def write(self, changes: Changes) -> frozenset[GenerationId]:
        """Write all of it or nothing; durable on return. Repeating it is harmless.

        New generations whose id is taken are left out, with their jobs, and named in the answer. Raises NotLeader if
        there is a newer leader, Unavailable or Aborted if it should be tried again.
        """

    async def live(self) -> list[Stored]:
        """Every generation for which something is left to do."""

    async def workers(self, seen_since_ms: int) -> list[Row]:
        """Workers that were here since."""

    async def owners(self, changed_since_ms: int) -> list[Row]:
        """What was found of owners' work, where that has changed since."""

    async def strikes(self, since_ms: int) -> list[Row]:
        """Strikes since then."""

    async def find(self, generation_ids: Sequence[GenerationId]) -> list[Stored]:
        """Those of the generations that exist."""

    async def find_by_jobs(self, job_ids: Sequence[JobId]) -> list[Stored]:
        """The generations that jobs belong to, each once; at most 256 jobs."""

    async def page(
        self, account_id: AccountId, digest: bytes, before: tuple[int, str] | None, limit: int
    ) -> list[Stored]:
        """One requester's generations, newest first, after the (accepted_at_ms, generation_id) of the last page."""

    async def of_account(self, account_id: AccountId, limit: int) -> list[Stored]:
        """Some of an account's generations that are not tombstones and of which nobody wished yet that they go."""

    async def survey(self, account_id: AccountId, now_ms: int) -> Survey:
        """How much there is of an account."""

    async def settled(self, query: SettledQuery) -> list[Row]:
        """Jobs that are done, each with its generation's `quote` and `checks`, by an index: it costs by the page."""

    async def forget(self, over_before_ms: int, limit: int, refusal: bytes) -> int:
        """Make tombstones of generations of which all was over before (`rows.over_at_ms`), at most `limit`; how many.
        What is kept for ever is not looked at, however much there is.

        A tombstone is REFUSED, has no spec, quote and jobs, and stays, for the ledger never forgets the ids either.
        """

    async def forget_workers(self, seen_before_ms: int, limit: int) -> int:
        """Delete what is kept of workers that were not here since, at most `limit` of them; how many."""

    async def forget_owners(self, changed_before_ms: int, limit: int) -> int:
        """Delete what is kept of owners of whom nothing was found since, at most `limit` of them; how many."""

    async def forget_strikes(self, before_ms: int, limit: int) -> int:
        """Delete strikes of before, at most `limit` of them; how many."""
