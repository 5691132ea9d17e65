"""The store, in dictionaries: for tests, which can abandon an engine and start another on the same memory."""

from __future__ import annotations

from collections.abc import Sequence

from horde.scheduler.core.errors import NotLeader
from horde.scheduler.core.job import AccountId, Ending, GenerationId, JobId, JobState, Phase
from horde.scheduler.core.rows import Changes, Row, SettledOrder, SettledQuery, Stored, Survey


class Memory:
    """What outlives an engine."""

    def __init__(self) -> None:
        self.epoch = 0
        self.generations: dict[str, Row] = {}
        self.jobs: dict[str, Row] = {}
        self.workers: dict[str, Row] = {}
        self.owners: dict[str, Row] = {}
        self.strikes: dict[str, Row] = {}


class MemoryStore:
    """One leader's view of a memory."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        self._epoch = 0

    async def lead(self) -> int:
        self.memory.epoch += 1
        self._epoch = self.memory.epoch
        return self._epoch

    async def write(self, changes: Changes) -> frozenset[GenerationId]:
        memory = self.memory
        if memory.epoch != self._epoch:
            raise NotLeader
        taken = {row["generation_id"] for row in changes.new_generations} & memory.generations.keys()
        for row in changes.new_generations:
            memory.generations.setdefault(row["generation_id"], dict(row))
        for row in changes.new_jobs:
            if row["generation_id"] not in taken:
                memory.jobs.setdefault(row["job_id"], dict(row))
        for row in changes.generations:
            memory.generations[row["generation_id"]].update(row)
        for row in changes.jobs:
            memory.jobs[row["job_id"]].update(row)
        gone = {*changes.forgotten, *changes.refused}
        if gone:
            memory.jobs = {key: row for key, row in memory.jobs.items() if row["generation_id"] not in gone}
        for generation_id in changes.forgotten:
            memory.generations.pop(generation_id, None)
        given = set(changes.given)
        memory.jobs = {
            key: row
            for key, row in memory.jobs.items()
            if row["generation_id"] not in given
            or (row["state"] == JobState.ENDED and row["ending"] == Ending.DONE and not row["expires_at_ms"])
        }
        for generation_id in given:
            memory.generations[generation_id]["spec"] = b""
        for generation_id in changes.emptied:
            memory.generations[generation_id].update(spec=b"", quote=b"")
        for worker_id in changes.gone_workers:
            memory.workers.pop(worker_id, None)
        gone_owners = set(changes.gone_owners)
        memory.workers = {key: row for key, row in memory.workers.items() if row["owner"] not in gone_owners}
        memory.owners = {key: row for key, row in memory.owners.items() if key not in gone_owners}
        memory.strikes = {key: row for key, row in memory.strikes.items() if row["owner"] not in gone_owners}
        for row in changes.workers:
            memory.workers[row["worker_id"]] = dict(row)
        for row in changes.owners:
            memory.owners[row["owner"]] = dict(row)
        for row in changes.strikes:
            memory.strikes[row["strike_id"]] = dict(row)
        return frozenset(GenerationId(generation_id) for generation_id in taken)

    async def live(self) -> list[Stored]:
        return [self._stored(row) for row in self.memory.generations.values() if not row["closed"]]

    async def workers(self, seen_since_ms: int) -> list[Row]:
        return [dict(row) for row in self.memory.workers.values() if row["last_seen_ms"] >= seen_since_ms]

    async def owners(self, changed_since_ms: int) -> list[Row]:
        return [dict(row) for row in self.memory.owners.values() if row["changed_ms"] >= changed_since_ms]

    async def strikes(self, since_ms: int) -> list[Row]:
        return [dict(row) for row in self.memory.strikes.values() if row["at_ms"] >= since_ms]

    async def find(self, generation_ids: Sequence[GenerationId]) -> list[Stored]:
        known = self.memory.generations
        return [self._stored(known[name]) for name in dict.fromkeys(generation_ids) if name in known]

    async def find_by_jobs(self, job_ids: Sequence[JobId]) -> list[Stored]:
        jobs = self.memory.jobs
        return await self.find([jobs[job_id]["generation_id"] for job_id in job_ids if job_id in jobs])

    async def page(
        self, account_id: AccountId, digest: bytes, before: tuple[int, str] | None, limit: int
    ) -> list[Stored]:
        rows = [
            row
            for row in self.memory.generations.values()
            if row["account_id"] == account_id and row["digest"] == digest and row["spec"]
            if before is None or (row["accepted_at_ms"], row["generation_id"]) < before
        ]
        rows.sort(key=lambda row: (row["accepted_at_ms"], row["generation_id"]), reverse=True)
        return [self._stored(row) for row in rows[:limit]]

    async def of_account(self, account_id: AccountId, limit: int) -> list[Stored]:
        rows = [row for row in self._own(account_id) if not row["deletion"]]
        return [self._stored(row) for row in rows[:limit]]

    async def survey(self, account_id: AccountId, now_ms: int) -> Survey:
        own = {row["generation_id"] for row in self._own(account_id)}
        until = [
            job["expires_at_ms"]
            for job in self.memory.jobs.values()
            if job["generation_id"] in own and job["ending"] == Ending.DONE and not job["withdrawn"]
        ]
        return Survey(len(own), sum(at > now_ms for at in until), sum(at == 0 for at in until))

    def _own(self, account_id: AccountId) -> list[Row]:
        return [row for row in self.memory.generations.values() if row["account_id"] == account_id and row["spec"]]

    async def settled(self, query: SettledQuery) -> list[Row]:
        found: list[tuple[tuple[int, str], Row]] = []
        for job in self.memory.jobs.values():
            if job["ending"] != Ending.DONE or job["state"] < JobState.SETTLING:
                continue
            settling = job["state"] == JobState.SETTLING
            if settling and query.order is not SettledOrder.BY_OBJECT:
                continue
            generation = self.memory.generations[job["generation_id"]]
            row = {**job, "quote": generation["quote"], "checks": generation["checks"]}
            if query.order is SettledOrder.BY_END:
                if job["ended_at_ms"] < query.ended_before_ms:
                    found.append(((job["ended_at_ms"], job["job_id"]), row))
            elif settling or (job["expires_at_ms"] == 0) is (query.order is SettledOrder.BY_JOB):
                name = job["job_id"] if query.order is SettledOrder.BY_JOB else job["object_name"]
                if not query.until or name <= query.until:
                    found.append(((0, name), row))
        found.sort(key=lambda entry: entry[0])
        return [row for place, row in found if place > query.after][: query.limit]

    async def forget(self, over_before_ms: int, limit: int, refusal: bytes) -> int:
        memory = self.memory
        old = [
            key
            for key, row in memory.generations.items()
            if row["over_at_ms"] is not None and row["over_at_ms"] < over_before_ms
        ][:limit]
        for key in old:
            row = memory.generations[key]
            words = row["refusal"] if row["phase"] == Phase.REFUSED else refusal
            row.update(phase=int(Phase.REFUSED), refusal=words, spec=b"", quote=b"", over_at_ms=None)
        memory.jobs = {key: row for key, row in memory.jobs.items() if row["generation_id"] not in set(old)}
        return len(old)

    async def forget_workers(self, seen_before_ms: int, limit: int) -> int:
        workers = self.memory.workers
        old = [key for key, row in workers.items() if row["last_seen_ms"] < seen_before_ms][:limit]
        for key in old:
            del workers[key]
        return len(old)

    async def forget_owners(self, changed_before_ms: int, limit: int) -> int:
        owners = self.memory.owners
        old = [key for key, row in owners.items() if row["changed_ms"] < changed_before_ms][:limit]
        for key in old:
            del owners[key]
        return len(old)

    async def forget_strikes(self, before_ms: int, limit: int) -> int:
        strikes = self.memory.strikes
        old = [key for key, row in strikes.items() if row["at_ms"] < before_ms][:limit]
        for key in old:
            del strikes[key]
        return len(old)

    def _stored(self, row: Row) -> Stored:
        jobs = [dict(job) for job in self.memory.jobs.values() if job["generation_id"] == row["generation_id"]]
        return Stored(dict(row), sorted(jobs, key=lambda job: job["position"]))
