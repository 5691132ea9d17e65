"""A ledger and a storage router for the scheduler to talk to: real gRPC servers that keep the contract, in memory."""

from __future__ import annotations

from collections import Counter
from typing import Any

from google.rpc import status_pb2

from horde.api.job.v1 import job_pb2
from horde.api.ledger.v1 import ledger_pb2
from horde.api.storage.v1 import storage_service_pb2
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_pb
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceServicer
from horde.internal.storage.v1 import object_service_pb2 as object_pb
from horde.internal.storage.v1.object_service_pb2_grpc import ObjectServiceServicer
from horde.services.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    ServiceError,
    Unavailable,
)
from horde.services.status import to_status

LEDGER = "horde.api.ledger.v1"
STORAGE = "horde.api.storage.v1"


def refused(kind: type[ServiceError], reason: str, domain: str, **metadata: str) -> status_pb2.Status:
    error = kind(reason, metadata=metadata)
    vars(error).update(reason=reason, domain=domain)
    return to_status(error)


class Ledger(LedgerServiceServicer):
    """Holds, settles and releases, once each; anything else about money is not its business."""

    def __init__(self) -> None:
        self.balances: Counter[str] = Counter()
        self.rich = True
        self.holds: dict[str, int] = {}
        self.payers: dict[str, str] = {}
        self.quoted: dict[str, job_pb2.PriceParts] = {}
        self.settled: dict[str, ledger_pb.Settle] = {}
        self.released: dict[str, ledger_pb.Release] = {}
        self.answers: dict[str, tuple[bytes, ledger_pb.ApplyOutcome]] = {}
        self.uptime: list[tuple[str, int]] = []
        self.verdicts: list[tuple[str, str]] = []
        self.away = False
        self.forget_answers = 0
        """So many calls are applied, but fail."""
        self.batches: list[int] = []
        self.applied = 0

    async def Apply(self, request: ledger_pb.ApplyRequest, context: Any) -> ledger_pb.ApplyResponse:
        if self.away:
            raise Unavailable("The ledger is away.")
        self.batches.append(len(request.events))
        outcomes = [self._apply(event) for event in request.events]
        if self.forget_answers:
            self.forget_answers -= 1
            raise Unavailable("The ledger did it, and fell.")
        return ledger_pb.ApplyResponse(outcomes=outcomes)

    async def GetEntries(self, request: ledger_pb.GetEntriesRequest, context: Any) -> ledger_pb.GetEntriesResponse:
        return ledger_pb.GetEntriesResponse(outcomes=[self.answers[event_id][1] for event_id in request.event_ids])

    def _apply(self, event: ledger_pb.Event) -> ledger_pb.ApplyOutcome:
        content = event.SerializeToString(deterministic=True)
        known = self.answers.get(event.event_id)
        if known is not None:
            if known[0] != content:
                conflict = refused(AlreadyExists, "EVENT_CONFLICT", LEDGER, field="operation")
                return ledger_pb.ApplyOutcome(error=conflict)
            return known[1]
        outcome = ledger_pb.ApplyOutcome()
        operation = event.WhichOneof("operation")
        if operation == "place_holds":
            total = sum(hold.parts.total_mkudos for hold in event.place_holds.holds)
            payer = event.place_holds.payer.account_id
            if not self.rich and self.balances[payer] < total:
                outcome.error.CopyFrom(
                    refused(
                        FailedPrecondition,
                        "INSUFFICIENT_KUDOS",
                        LEDGER,
                        needed_mkudos=str(total),
                        available_mkudos=str(self.balances[payer]),
                    )
                )
            else:
                self.balances[payer] -= total
                for hold in event.place_holds.holds:
                    assert hold.hold_id not in self.holds
                    self.holds[hold.hold_id] = hold.parts.total_mkudos
                    self.payers[hold.hold_id] = payer
                    self.quoted[hold.hold_id] = hold.parts
                outcome.entry.event_id = event.event_id
        elif operation in ("settle", "release"):
            end = event.settle if operation == "settle" else event.release
            held = self.holds.pop(end.hold_id, None)
            if held is None:
                return ledger_pb.ApplyOutcome(
                    error=refused(FailedPrecondition, "HOLD_NOT_FOUND", LEDGER, hold_id=end.hold_id)
                )
            assert end.job_id not in self.settled
            assert end.job_id not in self.released
            self._end(event, held, outcome.entry)
        elif operation in ("slash", "verify"):
            verdict = event.slash if operation == "slash" else event.verify
            assert self.settled[verdict.job_id].owner_account_id == verdict.account_id
            self.verdicts.append((operation, verdict.job_id))
            outcome.entry.event_id = event.event_id
        else:
            reward = event.reward_uptime
            self.uptime.append((reward.worker_id, reward.bucket))
            outcome.entry.event_id = event.event_id
        self.applied += 1
        self.answers[event.event_id] = (content, outcome)
        return outcome

    def _end(self, event: ledger_pb.Event, held: int, entry: ledger_pb2.Entry) -> None:
        settlement = entry.settlement
        settlement.event_id = entry.event_id = event.event_id
        if event.HasField("release"):
            self.released[event.release.job_id] = event.release
            settlement.ending = event.release.ending
            settlement.returned_mkudos = held
            self.balances[self.payers[event.release.hold_id]] += held
            return
        settle = event.settle
        self.settled[settle.job_id] = settle
        censored = settle.ending == job_pb2.JOB_ENDING_CENSORED
        paid = 0 if censored else settle.earned_mkudos + settle.tax_mkudos + settle.surcharge_mkudos
        assert 0 <= paid <= held, "AMOUNT_EXCEEDS_HOLD"
        settlement.ending = settle.ending
        settlement.owner_account_id = settle.owner_account_id
        settlement.earned_mkudos = settlement.to_spend_mkudos = settle.earned_mkudos
        settlement.tax_mkudos, settlement.surcharge_mkudos = settle.tax_mkudos, settle.surcharge_mkudos
        settlement.returned_mkudos = held - paid
        if settle.hold_id in self.quoted:
            settlement.quoted.CopyFrom(self.quoted[settle.hold_id])
        self.balances[self.payers[settle.hold_id]] += held - paid
        self.balances[settle.owner_account_id] += settle.earned_mkudos


class Storage(ObjectServiceServicer):
    """Quarantine and two buckets, as sets of names."""

    def __init__(self) -> None:
        self.quarantine: dict[tuple[str, str], bytes] = {}
        self.committed: dict[str, object_pb.CommitObject] = {}
        self.inputs: dict[str, bytes] = {}
        self.claims: set[tuple[str, str]] = set()
        self.withdrawn: set[str] = set()
        self.compared: list[tuple[str, str]] = []
        self.away = False
        self.forget_answers = 0
        self.trust_all = False
        """Commit what was never uploaded: for benches."""

    def upload(self, job_id: str, lease_id: str, sha256: bytes) -> None:
        self.quarantine.setdefault((job_id, lease_id), sha256)

    def _check(self) -> None:
        if self.away:
            raise Unavailable("Storage is away.")

    def _forget(self) -> None:
        if self.forget_answers:
            self.forget_answers -= 1
            raise Unavailable("Storage did it, and fell.")

    async def CommitObjects(
        self, request: object_pb.CommitObjectsRequest, context: Any
    ) -> object_pb.CommitObjectsResponse:
        self._check()
        response = object_pb.CommitObjectsResponse()
        for commit in request.commits:
            outcome = response.outcomes.add()
            key = (commit.job_id, commit.lease_id)
            known = self.committed.get(commit.job_id)
            if known is not None:
                assert known.lease_id == commit.lease_id, "two winners of one job"
            elif self.quarantine.get(key, b"") != commit.sha256 and not self.trust_all:
                outcome.error.CopyFrom(refused(NotFound, "OBJECT_NOT_FOUND", STORAGE))
                continue
            else:
                self.quarantine.pop(key, None)
                self.committed[commit.job_id] = commit
            outcome.committed.size_bytes = 50_000
            outcome.committed.format = storage_service_pb2.IMAGE_FORMAT_WEBP
            if commit.placement == job_pb2.PLACEMENT_PRIVATE:
                outcome.committed.expires_at.FromSeconds(commit.accepted_at.seconds + commit.keep_for.seconds)
        self._forget()
        return response

    async def DiscardObjects(
        self, request: object_pb.DiscardObjectsRequest, context: Any
    ) -> object_pb.DiscardObjectsResponse:
        self._check()
        for discard in request.discards:
            self.quarantine.pop((discard.job_id, discard.lease_id), None)
        self._forget()
        return object_pb.DiscardObjectsResponse(outcomes=[status_pb2.Status() for _ in request.discards])

    async def CompareObjects(
        self, request: object_pb.CompareObjectsRequest, context: Any
    ) -> object_pb.CompareObjectsResponse:
        """The same bytes are near, others have nothing in common."""
        self._check()
        response = object_pb.CompareObjectsResponse()
        for pair in request.comparisons:
            one, other = self._picture(pair.one), self._picture(pair.other)
            outcome = response.outcomes.add()
            if one is None or other is None:
                outcome.error.CopyFrom(refused(NotFound, "OBJECT_NOT_FOUND", STORAGE))
                continue
            far = one != other
            outcome.distance.structure, outcome.distance.edges = 32 * far, 128 * far
            outcome.distance.luma = outcome.distance.chroma = 60_000 * far
            outcome.distance.contrast_one = outcome.distance.contrast_other = 50_000
            self.compared.append((pair.one.job_id, pair.other.job_id))
        self._forget()
        return response

    def _picture(self, ref: object_pb.PictureRef) -> bytes | None:
        if ref.lease_id:
            return self.quarantine.get((ref.job_id, ref.lease_id))
        placed = self.committed.get(ref.job_id)
        if placed is None or (placed.object_name, placed.placement) != (ref.object_name, ref.placement):
            return None
        return placed.sha256

    async def WithdrawObjects(
        self, request: object_pb.WithdrawObjectsRequest, context: Any
    ) -> object_pb.WithdrawObjectsResponse:
        self._check()
        self.withdrawn |= {withdrawal.job_id for withdrawal in request.withdrawals}
        return object_pb.WithdrawObjectsResponse(outcomes=[status_pb2.Status() for _ in request.withdrawals])

    async def ClaimInputs(self, request: object_pb.ClaimInputsRequest, context: Any) -> object_pb.ClaimInputsResponse:
        self._check()
        response = object_pb.ClaimInputsResponse()
        for input_ in request.inputs:
            status = response.outcomes.add()
            if self.inputs.get(input_.input_id) == input_.sha256:
                self.claims.add((request.generation_id, input_.input_id))
            else:
                status.CopyFrom(refused(FailedPrecondition, "INPUT_UNUSABLE", STORAGE, input_id=input_.input_id))
        return response

    async def ReleaseInputs(
        self, request: object_pb.ReleaseInputsRequest, context: Any
    ) -> object_pb.ReleaseInputsResponse:
        self._check()
        for claim in request.claims:
            self.claims -= {(claim.generation_id, input_id) for input_id in claim.input_ids}
        return object_pb.ReleaseInputsResponse(outcomes=[status_pb2.Status() for _ in request.claims])
