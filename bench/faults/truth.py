"""What everybody did, seen from outside, and what must be true of it: the invariants of design.md 10, at each commit.

It knows what requesters asked for and what workers painted, and looks at every commit of the scheduler's database, of
the journal and of the two buckets the moment it happens. What it finds wrong is kept; the episode ends there.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.ledger.core.accounts import HELD
from horde.ledger.store.memory import MemoryStore as Journal
from horde.ledger.store.port import Batch
from horde.scheduler.core.job import Ending, JobState, Phase
from horde.scheduler.core.rows import Changes, Row
from horde.scheduler.core.strikes import StrikeReason
from horde.scheduler.store.memory import Memory

PRIVATE, SHARED = "PRIVATE", "SHARED"
TAX = {PRIVATE: 3_000, SHARED: 1_000}


@dataclass
class Asked:
    """A generation, as its requester asked for it."""

    generation_id: str
    account_id: str
    count: int
    share: bool
    has_input: bool
    accepted: bool = False
    refused: bool = False
    cancelled: bool = False
    withdrawn: set[str] = field(default_factory=set)
    deleted: bool = False
    gone: list[str] = field(default_factory=list)
    """Keys of its private pictures, once it is deleted."""

    @property
    def placement(self) -> str:
        """The table of design.md 4, by itself."""
        if self.has_input:
            return PRIVATE
        return SHARED if self.account_id == "anonymous" or self.share else PRIVATE

    def job_id(self, index: int) -> str:
        return str(uuid5(UUID(self.generation_id), str(index)))


class Truth:
    """Everything that must agree."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.asked: dict[str, Asked] = {}
        self.of_job: dict[str, Asked] = {}
        self.pictures: dict[str, str] = {}
        """Which job a picture was painted for, by its SHA-256; an input's is `input`."""
        self.by_lease: dict[str, str] = {}
        """SHA-256 of what a lease painted."""
        self.liars: set[str] = set()
        """Names of workers that say what is not so."""
        self.memory: Memory | None = None
        self.buckets: dict[str, Any] = {}
        self.ends: dict[str, tuple[str, int, str, str]] = {}
        """By job: the kind of the entry, the ending, the owner, the worker."""
        self.held: set[str] = set()
        self._events: set[str] = set()
        self.paid_to: defaultdict[str, set[str]] = defaultdict(set)
        """By job: leases that were told that they are paid."""
        self.rows_checked = 0
        self.entries_checked = 0

    def fail(self, what: str) -> None:
        self.wrong.append(what)

    def must(self, holds: bool, what: str) -> None:
        """Note what is wrong, unless it holds."""
        if not holds:
            self.wrong.append(what)

    def ask(self, asked: Asked) -> None:
        """A requester is about to ask for this."""
        self.asked[asked.generation_id] = asked
        for index in range(asked.count):
            self.of_job[asked.job_id(index)] = asked

    # The scheduler's database.

    def before_rows(self, memory: Memory, changes: Changes) -> None:
        """A leader is about to write."""
        for row in changes.jobs:
            old = memory.jobs.get(row["job_id"])
            if old is not None:
                self._compare(old, row)

    def _compare(self, old: Row, row: Row) -> None:
        job_id = row["job_id"]
        self.rows_checked += 1
        self.must(row["version"] >= old["version"], f"{job_id}: version {old['version']} -> {row['version']}")
        if old["state"] == JobState.ENDED:
            same = all(row[name] == old[name] for name in ("state", "ending", "winner", "sha256", "earned_mkudos"))
            self.must(same, f"{job_id}: it had ended, and ends otherwise")
        if old["state"] == JobState.SETTLING == row["state"] and old["ending"] == row["ending"]:
            same = all(row[name] == old[name] for name in ("winner", "sha256"))
            self.must(same, f"{job_id}: it was decided, and is decided otherwise")
        if old["state"] == JobState.SETTLING and job_id in self.ends:
            self.must(row["state"] >= JobState.SETTLING, f"{job_id}: paid, and open again")

    def after_rows(self, memory: Memory, changes: Changes, epoch: int) -> None:
        """A leader has written."""
        self.must(memory.epoch == epoch, f"the leader of epoch {epoch} wrote in epoch {memory.epoch}")
        for row in changes.jobs:
            if row["job_id"] in memory.jobs and row["state"] == JobState.ENDED:
                self.ended(memory.jobs[row["job_id"]])
            elif row["state"] == JobState.SETTLING and row["ending"] == Ending.DONE:
                painted = self.pictures.get(row["sha256"].hex()) == row["job_id"]
                self.must(painted, f"{row['job_id']}: won by a picture of something else")
        for row in changes.strikes:
            fair = row["reason"] != StrikeReason.MISBEHAVIOUR or row["worker_name"] in self.liars
            self.must(fair, f"{row['worker_name']} is honest, and struck: {row['detail']}")
        for generation_id in changes.refused:
            left = [job for job in memory.jobs.values() if job["generation_id"] == generation_id]
            self.must(not left, f"{generation_id}: refused, and has jobs")

    def ended(self, row: Row) -> None:
        job_id = row["job_id"]
        end = self.ends.get(job_id)
        if end is None:
            self.fail(f"{job_id}: ended as {Ending(row['ending']).name}, and the books do not know it")
            return
        self.must(end[1] == row["ending"], f"{job_id}: ended as {row['ending']}, in the books as {end[1]}")
        asked = self.of_job.get(job_id)
        if row["ending"] == Ending.DONE and asked is not None and job_id not in asked.withdrawn:
            self._in_place(row, asked)

    def _in_place(self, row: Row, asked: Asked) -> None:
        job_id, sha256 = row["job_id"], row["sha256"].hex()
        private = f"images/{row['object_name']}"
        if asked.placement == PRIVATE:
            keys = [("private", private)]
        else:
            keys = [("shared", key) for key in self._shared_keys(job_id)]
        stored = [self.buckets[name].there(key) for name, key in keys]
        found = [data for data in stored if data is not None]
        good = len(found) == 1 and hashlib.sha256(found[0]).hexdigest() == sha256
        self.must(good, f"{job_id}: done, and its picture is not in place ({asked.placement})")
        self.must(self.pictures.get(sha256) == job_id, f"{job_id}: done with a picture of something else")

    def _shared_keys(self, job_id: str) -> list[str]:
        return [key for key in self.buckets["shared"].of_job(job_id) if not key.endswith(".json")]

    # The journal.

    def before_entries(self, journal: Journal, batch: Batch) -> None:
        """A writer is about to commit; what it pays for must have been decided before, durably."""
        for entry in batch.entries:
            self.entries_checked += 1
            self.must(entry.event_id not in self._events, f"event {entry.event_id} is in the journal twice")
            self._events.add(entry.event_id)
            body = json.loads(entry.body)
            kind, op = body["kind"], body["op"]
            if kind == "PLACE_HOLDS":
                self._holds(op)
            elif kind in ("SETTLE", "RELEASE"):
                self._end(kind, op)

    def _holds(self, op: Any) -> None:
        assert self.memory is not None
        generation_id = op["generation"]
        row = self.memory.generations.get(generation_id)
        self.must(row is not None, f"{generation_id}: held before it was durable")
        asked = self.asked.get(generation_id)
        for hold in op["holds"]:
            job_id = hold["job"]
            self.must(job_id not in self.held, f"{job_id}: held twice")
            self.held.add(job_id)
            if asked is not None:
                tax = hold["parts"]["tax"]
                self.must(tax == TAX[asked.placement], f"{job_id}: a tax of {tax} for {asked.placement}")

    def _end(self, kind: str, op: Any) -> None:
        assert self.memory is not None
        job_id, ending = op["job"], op["ending"]
        self.must(job_id not in self.ends, f"{job_id}: paid or released twice")
        self.must(job_id in self.held, f"{job_id}: ended without a hold")
        self.ends[job_id] = (kind, ending, op.get("owner", ""), op.get("worker", ""))
        row = self.memory.jobs.get(job_id)
        if row is None or row["state"] < JobState.SETTLING:
            self.fail(f"{job_id}: {kind} before its end was decided, durably")
            return
        self.must(row["ending"] == ending, f"{job_id}: {kind} as {ending}, decided as {row['ending']}")
        asked = self.of_job.get(job_id)
        if kind == "SETTLE" and ending == Ending.DONE:
            self.must(row["committed"], f"{job_id}: paid before its picture was in place, durably")
            winner = next((lease for lease in json.loads(row["leases"] or "[]") if lease[0] == row["winner"]), None)
            self.must(winner is not None and winner[2] == op["owner"], f"{job_id}: paid to somebody else")
            if asked is not None and job_id not in asked.withdrawn:
                self._in_place(row, asked)

    def after_entries(self, journal: Journal, batch: Batch) -> None:
        """A writer has committed: the books are whole."""
        accounts = journal._accounts
        self.must(sum(account.posted for account in accounts.values()) == 0, "the books do not sum to zero")
        overdrawn = [name for name, account in accounts.items() if name.startswith("spend/") and account.posted < 0]
        self.must(not overdrawn, f"overdrawn: {overdrawn}")
        held = accounts[HELD].posted if HELD in accounts else 0
        self.must(held == sum(hold.total for hold in journal._holds.values()), "holds are not what is held")
        open_jobs = {hold.job_id for hold in journal._holds.values()}
        self.must(open_jobs == self.held - self.ends.keys(), "open holds are not those of the jobs that have not ended")

    # The buckets.

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Somebody writes an object."""
        folder = key.partition("/")[0]
        if not data or folder not in ("images", "inputs", "quarantine") or key.endswith(".json"):
            return
        whose = self.pictures.get(hashlib.sha256(data).hexdigest())
        asked = self.of_job.get(whose or "")
        if bucket == "shared":
            self.must(asked is not None and asked.placement == SHARED, f"{key}: a private picture is shared ({whose})")
            self.must(whose == key.removeprefix("images/").partition(".")[0], f"{key}: another job's picture ({whose})")
        elif folder == "images":
            self.must(asked is None or asked.placement == PRIVATE, f"{key}: a shared picture is kept as a private one")

    def deleted(self, bucket: str, key: str) -> None:
        """Somebody deletes an object; a finished picture goes only where its requester wished so."""
        if self.memory is None or not key.startswith("images/"):
            return
        name = key.removeprefix("images/").partition(".")[0]
        for job_id, row in self.memory.jobs.items():
            if name in (job_id, row["object_name"]) and row["state"] == JobState.ENDED and row["ending"] == Ending.DONE:
                asked = self.of_job.get(job_id)
                self.must(asked is None or job_id in asked.withdrawn, f"{key}: deleted, and nobody wished so")

    # People and workers.

    def told_paid(self, job_id: str, lease_id: str) -> None:
        """A worker hears that its outcome decided how the job ended, and for how much."""
        if job_id in self.ends:
            self.paid_to[job_id].add(lease_id)
            self.must(len(self.paid_to[job_id]) == 1, f"{job_id}: several leases were told that they are paid")

    def deletes(self, asked: Asked) -> None:
        """A requester is about to delete what has ended."""
        assert self.memory is not None
        for index in range(asked.count):
            asked.withdrawn.add(asked.job_id(index))
            row = self.memory.jobs.get(asked.job_id(index))
            if row is not None and asked.placement == PRIVATE:
                asked.gone.append(f"images/{row['object_name']}")

    def accepted(self, asked: Asked, placement: str) -> None:
        """A requester hears that it is accepted."""
        assert self.memory is not None
        asked.accepted = True
        generation_id = asked.generation_id
        row = self.memory.generations.get(generation_id)
        # ACCEPTED need not be written yet: whoever reads it back asks the ledger again, which has the holds.
        good = row is not None and row["phase"] != Phase.REFUSED
        good = good and all(asked.job_id(index) in self.held for index in range(asked.count))
        self.must(good, f"{generation_id}: told as accepted before it was durable and held")
        self.must(not asked.refused, f"{generation_id}: refused, and then accepted")
        self.must(placement == asked.placement, f"{generation_id}: {placement}, and not {asked.placement}")

    def shown(self, asked: Asked, images: Sequence[generation_pb2.Image]) -> None:
        """A requester is shown its images. That one is queued need not be written yet, as that it is accepted."""
        assert self.memory is not None
        for image in images:
            if image.state == job_pb2.JOB_STATE_QUEUED:
                continue
            row = self.memory.jobs.get(image.job_id)
            durable = row is not None and image.version <= row["version"]
            self.must(durable or asked.deleted, f"{image.job_id}: shown before it was durable")

    def refused(self, asked: Asked) -> None:
        """A requester hears that it is refused, for good."""
        asked.refused = True
        self.must(not asked.accepted, f"{asked.generation_id}: accepted, and then refused")
