"""A ledger and a storage router that hold to the contract and remember what they were asked."""

from __future__ import annotations

from typing import Any

from google.rpc import status_pb2

from horde.api.job.v1 import job_pb2
from horde.api.ledger.v1 import ledger_pb2
from horde.api.standing.v1 import standing_service_pb2 as standing_pb2
from horde.api.storage.v1 import storage_service_pb2 as storage_pb2
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_service
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceServicer
from horde.internal.scheduler.v1 import owner_service_pb2 as owner_pb2
from horde.internal.scheduler.v1.owner_service_pb2_grpc import OwnerServiceServicer
from horde.internal.storage.v1 import object_service_pb2 as object_pb2
from horde.internal.storage.v1.object_service_pb2_grpc import ObjectServiceServicer
from horde.services.errors import FailedPrecondition, ServiceError, Unavailable
from horde.services.status import to_status


class FakeLedger(LedgerServiceServicer):
    """Applies everything."""

    def __init__(self) -> None:
        self.events: list[ledger_service.Event] = []
        self.refusal: ServiceError | None = None
        self.available = 50_000
        self.subsidy = 0
        """What the floor subsidy would add to what is available."""
        self.trusted: set[str] = set()
        self.earned: set[str] = set()
        """Owners that have something in escrow."""
        self.statistics = ledger_service.GetStatisticsResponse()
        self.away = False

    async def Apply(self, request: ledger_service.ApplyRequest, context: Any) -> Any:
        self._present()
        outcomes = []
        for event in request.events:
            if self.refusal is not None and event.WhichOneof("operation") != "open_account":
                outcomes.append(ledger_service.ApplyOutcome(error=to_status(self.refusal)))
                continue
            self.events.append(event)
            entry = ledger_pb2.Entry(event_id=event.event_id)
            if event.HasField("close_account"):
                entry.transfers.add(amount_mkudos=self.available)
            outcomes.append(ledger_service.ApplyOutcome(entry=entry))
        return ledger_service.ApplyResponse(outcomes=outcomes)

    async def GetBalances(self, request: ledger_service.GetBalancesRequest, context: Any) -> Any:
        self._present()
        return ledger_service.GetBalancesResponse(balances=map(self._balance, request.accounts))

    def _balance(self, ref: ledger_pb2.AccountRef) -> ledger_pb2.Balance:
        if ref.kind == ledger_pb2.LEDGER_ACCOUNT_KIND_ESCROW:
            return ledger_pb2.Balance(account=ref, posted_mkudos=1_000 if ref.account_id in self.earned else 0)
        return ledger_pb2.Balance(
            account=ref,
            posted_mkudos=self.available,
            available_mkudos=self.available + self.subsidy,
            owner_trusted=ref.account_id in self.trusted,
        )

    async def GetOwner(self, request: ledger_service.GetOwnerRequest, context: Any) -> Any:
        self._present()
        answer = ledger_service.GetOwnerResponse(trusted_from_mkudos=5_000_000, strikes_limit=5)
        answer.trusted_from_age.seconds = 7 * 86_400
        for event in self.events:
            if event.set_standing.account_id == request.account_id:
                answer.by_decree = event.set_standing.HasField("trusted")
                answer.trusted = event.set_standing.trusted
        return answer

    async def ListEntries(self, request: ledger_service.ListEntriesRequest, context: Any) -> Any:
        own = [event for event in self.events if event.gift.from_account_id == request.account_id]
        return ledger_service.ListEntriesResponse(entries=[ledger_pb2.Entry(event_id=e.event_id) for e in own])

    async def GetStatistics(self, request: ledger_service.GetStatisticsRequest, context: Any) -> Any:
        self._present()
        return self.statistics

    async def Audit(self, request: ledger_service.AuditRequest, context: Any) -> Any:
        return ledger_service.AuditResponse(blocks=3, head_hash=b"h")

    def opened(self) -> set[str]:
        """The accounts that were made known."""
        return {event.open_account.account_id for event in self.events if event.HasField("open_account")}

    def _present(self) -> None:
        if self.away:
            raise Unavailable("away, says the test")


class FakeOwners(OwnerServiceServicer):
    """What a scheduler knows of owners, as a test says."""

    def __init__(self) -> None:
        self.owners: dict[str, owner_pb2.GetOwnerResponse] = {}
        self.strikes: dict[str, list[standing_pb2.Strike]] = {}
        self.forgiven: list[owner_pb2.ForgiveStrikesRequest] = []

    async def GetOwner(self, request: owner_pb2.GetOwnerRequest, context: Any) -> Any:
        return self.owners.get(request.owner_account_id, owner_pb2.GetOwnerResponse(proven_images=10))

    async def ListStrikes(self, request: owner_pb2.ListStrikesRequest, context: Any) -> Any:
        own = self.strikes.get(request.owner_account_id, [])
        return owner_pb2.ListStrikesResponse(strikes=own[: request.page_size])

    async def ForgiveStrikes(self, request: owner_pb2.ForgiveStrikesRequest, context: Any) -> Any:
        self.forgiven.append(request)
        return owner_pb2.ForgiveStrikesResponse(strikes=3, owners=2)


class FakeStorage(ObjectServiceServicer):
    """Knows the inputs that a test put."""

    def __init__(self) -> None:
        self.inputs: dict[tuple[str, str], storage_pb2.StoredInput] = {}
        self.asked = 0
        self.away = False
        self.in_use: set[str] = set()
        """Ids of inputs that generations still need."""

    def put(self, requester: str, input_id: str, width: int, height: int) -> job_pb2.InputImage:
        """Have an input of a requester (by account id)."""
        stored = storage_pb2.StoredInput(input_id=input_id, sha256=b"\x01" * 32, width=width, height=height)
        self.inputs[requester, input_id] = stored
        return job_pb2.InputImage(input_id=input_id, sha256=stored.sha256)

    async def DescribeInputs(self, request: object_pb2.DescribeInputsRequest, context: Any) -> Any:
        self.asked += 1
        outcomes = []
        for input_ in request.inputs:
            stored = self.inputs.get((request.requester.account_id, input_.input_id))
            if stored is None or stored.sha256 != input_.sha256:
                error = Unusable(metadata={"input_id": input_.input_id})
                outcomes.append(object_pb2.DescribeInputOutcome(error=to_status(error)))
            else:
                outcomes.append(object_pb2.DescribeInputOutcome(input=stored))
        return object_pb2.DescribeInputsResponse(outcomes=outcomes)

    async def ForgetRequester(self, request: object_pb2.ForgetRequesterRequest, context: Any) -> Any:
        if self.away:
            raise Unavailable("away, says the test")
        own = [key for key in self.inputs if key[0] == request.requester.account_id]
        going = [key for key in own if key[1] not in self.in_use]
        for key in going:
            del self.inputs[key]
        return object_pb2.ForgetRequesterResponse(left=len(own) - len(going))

    async def DeleteInputs(self, request: object_pb2.DeleteInputsRequest, context: Any) -> Any:
        outcomes = []
        for input_id in request.input_ids:
            if input_id in self.in_use:
                outcomes.append(to_status(InUse(metadata={"input_id": input_id})))
            else:
                self.inputs.pop((request.requester.account_id, input_id), None)
                outcomes.append(status_pb2.Status())
        return object_pb2.DeleteInputsResponse(outcomes=outcomes)


class InUse(FailedPrecondition):
    """The storage router's word for an input that a generation needs."""

    domain = "horde.api.storage.v1"
    reason = "INPUT_IN_USE"


class Unusable(FailedPrecondition):
    """The storage router's word for an input that cannot be used."""

    domain = "horde.api.storage.v1"
    reason = "INPUT_UNUSABLE"
