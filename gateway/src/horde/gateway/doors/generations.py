"""Asking for images: check, price, place, and hand over to the scheduler, which alone decides what becomes of them.

Nothing is kept here. A refusal leaves nothing behind, and a repeated request is the same request: its ids follow from
who asks and from the request_id. What may have changed since the first time (the price table, an input that is gone)
does not stop a repeat: what was accepted once is answered as it is now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from google.rpc import status_pb2

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as service_pb2
from horde.api.ledger.v1 import ledger_pb2
from horde.gateway.core.errors import (
    GenerationNotFound,
    InputUnusable,
    InvalidField,
    ModelUnknown,
    PriceAboveMaximum,
    PromptRefused,
)
from horde.gateway.core.placement import PlacementFacts, decide_placement
from horde.gateway.core.pricing import price_image
from horde.gateway.core.requesters import Principal, Requester, generation_id
from horde.gateway.core.spec import GenerationSpec
from horde.gateway.core.validation import MAX_MKUDOS, Violations, generation_violations
from horde.gateway.doors import wire
from horde.gateway.doors.catalogue import Catalogue
from horde.gateway.doors.changes import ESTIMATE_SECONDS, Changes
from horde.gateway.doors.filtering import PromptFilters
from horde.gateway.doors.inputs import Inputs, naming_input
from horde.gateway.doors.listing import check_mask, list_generations
from horde.gateway.doors.tickets import Tickets
from horde.gateway.neighbours.ledger import Balances
from horde.gateway.neighbours.refusals import outward, told_outward
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.gateway.neighbours.storage import StorageClient
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services import telemetry
from horde.services.errors import FieldViolation, NotFound, ServiceError
from horde.services.failpoints import declare, failpoint
from horde.services.status import from_status, to_status

BEFORE_SUBMIT = declare("gateway.before_submit")
AFTER_SUBMIT = declare("gateway.after_submit")
BEFORE_ANSWER = declare("gateway.before_answer")

MAX_WITHDRAWALS = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that makes sense, with what it costs and where it goes."""

    spec: GenerationSpec
    quote: generation_pb2.Quote


class Generations:
    """What GenerationService does."""

    def __init__(
        self,
        scheduler: SchedulerClient,
        storage: StorageClient,
        balances: Balances,
        tickets: Tickets,
        catalogue: Catalogue,
        filters: PromptFilters,
        *,
        consent_text_version: str,
        max_input_pixels: int,
    ) -> None:
        self._scheduler = scheduler
        self._storage = storage
        self._inputs = Inputs(storage, max_input_pixels)
        self._balances = balances
        self._tickets = tickets
        self._catalogue = catalogue
        self._filters = filters
        self._changes = Changes(
            scheduler, catalogue, lambda who, spec: self._appraise(who, spec, True, []).quote.total_mkudos
        )
        self._consent_text_version = consent_text_version

    def appraise(self, principal: Principal, request: service_pb2.QuoteGenerationRequest) -> Asked:
        """Check and price; raises InvalidField with everything that is wrong."""
        return self._appraise(principal, request.spec, request.HasField("spec"), [])

    def appraise_creation(self, principal: Principal, request: service_pb2.CreateGenerationRequest) -> Asked:
        """Check and price what is to be made; raises InvalidField with everything that is wrong."""
        wrong = Violations()
        wrong.uuid("request_id", request.request_id)
        if request.HasField("max_total_mkudos"):
            wrong.within("max_total_mkudos", request.max_total_mkudos, 0, MAX_MKUDOS)
        return self._appraise(principal, request.spec, request.HasField("spec"), wrong.found)

    def _appraise(
        self, principal: Principal, message: generation_pb2.GenerationSpec, given: bool, wrong: list[FieldViolation]
    ) -> Asked:
        spec = wire.generation_spec(message)
        wrong = wrong + generation_violations(spec if given else None)
        if wrong or spec.image is None:
            raise InvalidField(violations=wrong)
        facts = PlacementFacts(principal.anonymous, spec.share, spec.image.has_input)
        decision = decide_placement(facts)
        price = price_image(
            spec.image,
            fast_workers_only=spec.fast_workers_only,
            denies_workers=bool(spec.denied_worker_ids),
            tax_mkudos=decision.tax_mkudos,
        )
        return Asked(spec, wire.quote(facts, decision, price, spec.count, self._consent_text_version))

    async def quote(
        self, principal: Principal, asked: Asked, message: generation_pb2.GenerationSpec
    ) -> generation_pb2.Quote:
        """The price, with how long it might wait and what could be paid, as far as the neighbours say so in time."""
        self._filters.check(asked.spec)
        await self._check_model(asked.spec)
        await self._inputs.check(principal.requester, asked.spec)
        wait, balance = await asyncio.gather(self._wait(principal, message), self._shown_balance(principal))
        quote = asked.quote
        if wait is not None and wait.eligible_workers:
            quote.wait.CopyFrom(wait)
        elif wait is not None:
            quote.notices.add(code=generation_pb2.NOTICE_CODE_NO_WORKER, text=_why_nobody(wait))
        if balance is not None:
            quote.available_mkudos = balance.available_mkudos
            own = balance.posted_mkudos - balance.floor_mkudos
            if own < quote.total_mkudos <= balance.available_mkudos:
                share = "all" if own <= 0 else "a part"
                text = f"The mesh pays {share} of it: its daily help (the floor subsidy) for who has too few kudos."
                quote.notices.add(code=generation_pb2.NOTICE_CODE_SUBSIDISED, text=text)
        if wait is not None:
            quote.changes.extend(await self._changes.worth_saying(principal, message, quote.total_mkudos, wait))
        return quote

    async def create(
        self, principal: Principal, asked: Asked, request: service_pb2.CreateGenerationRequest, address_bucket: str
    ) -> generation_pb2.Generation:
        """Have it accepted; durable when it answers."""
        ref = self._ref(principal, generation_id(principal, request.request_id))
        try:
            self._check_price(asked, request)
            self._filters.check(asked.spec)
            await self._check_model(asked.spec)
            await self._inputs.check(principal.requester, asked.spec)
        except (PriceAboveMaximum, PromptRefused, ModelUnknown, InputUnusable, InvalidField) as refusal:
            # What was decided once is answered as it was, though its inputs are gone, and prices and models are others.
            if not await self._is_known(ref):
                raise refusal from None
        balance = await self._balance(principal)
        submission = scheduler_pb2.SubmitGeneration(
            generation_id=ref.generation_id,
            request_id=request.request_id,
            requester=ref.requester,
            spec=request.spec,
            quote=asked.quote,
            address_bucket=address_bucket,
            balance_mkudos=0 if balance is None else balance.posted_mkudos,
            traceparent=telemetry.current_traceparent(),
        )
        # The id follows from it; whose the generation is and who pays stays the account.
        submission.requester.shared_key_id = principal.shared_key_id
        await failpoint(BEFORE_SUBMIT)
        with told_outward(), naming_input(asked.spec):
            known = await self._scheduler.submit(submission)
        await failpoint(AFTER_SUBMIT)
        generation = self._tickets.fill_in(known)
        await failpoint(BEFORE_ANSWER)
        return generation

    async def get(self, principal: Principal, request: service_pb2.GetGenerationRequest) -> generation_pb2.Generation:
        """A generation as it is now, all of it; raises InvalidField for a mask that is none, too."""
        wrong = Violations()
        check_mask(wrong, request.read_mask)
        ref = self._checked_ref(principal, request.generation_id, wrong)
        with told_outward():
            return self._tickets.fill_in(await self._scheduler.get(ref))

    async def cancel(self, principal: Principal, generation: str) -> generation_pb2.Generation:
        """Cancel what has not ended."""
        ref = self._checked_ref(principal, generation)
        with told_outward():
            return self._tickets.fill_in(await self._scheduler.cancel(ref))

    async def delete(self, principal: Principal, generation: str) -> None:
        """Have an ended generation forgotten; one that is not there, or is not this requester's, is as good as that."""
        ref = self._checked_ref(principal, generation)
        with told_outward():
            await self._scheduler.delete(ref)

    async def page(
        self, principal: Principal, request: service_pb2.ListGenerationsRequest
    ) -> service_pb2.ListGenerationsResponse:
        """A page of the requester's generations, newest first."""
        return await list_generations(self._scheduler, principal, request)

    async def withdraw(
        self, principal: Principal, request: service_pb2.WithdrawImagesRequest
    ) -> Sequence[status_pb2.Status]:
        """Take images back; answers each."""
        wrong = Violations()
        wrong.within("job_ids", len(request.job_ids), 1, MAX_WITHDRAWALS, " ids")
        for index, job_id in enumerate(request.job_ids[:MAX_WITHDRAWALS]):
            wrong.uuid(f"job_ids[{index}]", job_id)
        ref = self._checked_ref(principal, request.generation_id, wrong)
        with told_outward():
            outcomes = await self._scheduler.withdraw(ref, request.job_ids)
        errors = [outward(from_status(outcome)) if outcome.code else None for outcome in outcomes]
        for error in errors:
            if error is not None and error.reason == GenerationNotFound.reason:
                raise error
        return [status_pb2.Status() if error is None else to_status(error) for error in errors]

    @staticmethod
    def checked_input(input_id: str) -> str:
        """The id of an input; raises InvalidField for what can be none."""
        wrong = Violations()
        wrong.uuid("input_id", input_id)
        if wrong.found:
            raise InvalidField(violations=wrong.found)
        return input_id

    def input_ticket(self, principal: Principal, input_id: str) -> service_pb2.CreateInputTicketResponse:
        """Permission to put one input."""
        return self._tickets.input_ticket(principal.requester, input_id)

    async def delete_input(self, principal: Principal, input_id: str) -> None:
        """Delete one input now; one that is not there, or is not this requester's, is as good as deleted."""
        with told_outward():
            await self._storage.delete(wire.requester_message(principal.requester), input_id)

    def watchable(self, principal: Principal, generation: str) -> Requester:
        """Who watches; raises InvalidField for an id that can be none."""
        self._checked_ref(principal, generation)
        return principal.requester

    def _checked_ref(
        self, principal: Principal, generation: str, wrong: Violations | None = None
    ) -> scheduler_pb2.GenerationRef:
        wrong = wrong or Violations()
        wrong.uuid("generation_id", generation)
        if wrong.found:
            raise InvalidField(violations=wrong.found)
        return self._ref(principal, generation)

    def _ref(self, principal: Principal, generation: str) -> scheduler_pb2.GenerationRef:
        requester = wire.requester_message(principal.requester)
        return scheduler_pb2.GenerationRef(generation_id=generation, requester=requester)

    async def _is_known(self, ref: scheduler_pb2.GenerationRef) -> bool:
        """Whether its id stands for something that was decided: the scheduler then answers a repeat by itself."""
        asked = scheduler_pb2.GenerationRef(refused_too=True)
        asked.MergeFrom(ref)
        try:
            with told_outward():
                await self._scheduler.get(asked)
        except NotFound:
            return False
        except ServiceError as refusal:
            # Told by the scheduler itself, it is what was decided; anything else is that nobody knows now.
            if not refusal.remote:
                raise
        return True

    async def _wait(
        self, principal: Principal, spec: generation_pb2.GenerationSpec
    ) -> generation_pb2.WaitEstimate | None:
        requester = wire.requester_message(principal.requester)
        try:
            async with asyncio.timeout(ESTIMATE_SECONDS):
                answer = await self._scheduler.estimate(scheduler_pb2.EstimateWait(spec=spec, requester=requester))
        except (ServiceError, TimeoutError):
            return None
        return answer.wait

    async def _shown_balance(self, principal: Principal) -> ledger_pb2.Balance | None:
        return None if principal.anonymous else await self._balances.current(principal.account_id)

    async def _balance(self, principal: Principal) -> ledger_pb2.Balance | None:
        return None if principal.anonymous else await self._balances.recent(principal.account_id)

    @staticmethod
    def _check_price(asked: Asked, request: service_pb2.CreateGenerationRequest) -> None:
        total, most = asked.quote.total_mkudos, request.max_total_mkudos
        if request.HasField("max_total_mkudos") and total > most:
            raise PriceAboveMaximum(metadata={"total_mkudos": str(total), "max_total_mkudos": str(most)})

    async def _check_model(self, spec: GenerationSpec) -> None:
        if not spec.wait_for_model:
            await self._catalogue.check(spec.model)


def not_found(generation: str) -> GenerationNotFound:
    """The answer for what does not exist, and for what is somebody else's."""
    return GenerationNotFound(metadata={"generation_id": generation})


_WHY = {
    generation_pb2.INELIGIBLE_REASON_MODEL: "without the model",
    generation_pb2.INELIGIBLE_REASON_SIZE: "not able to paint this size",
    generation_pb2.INELIGIBLE_REASON_FEATURE: "without a feature that it needs",
    generation_pb2.INELIGIBLE_REASON_DENIED: "denied or not allowed by you",
    generation_pb2.INELIGIBLE_REASON_SLOW: "slower than you want",
    generation_pb2.INELIGIBLE_REASON_PAUSED: "paused",
    generation_pb2.INELIGIBLE_REASON_TRIED_BEFORE: "not trusted with it again, having tried",
}


def _why_nobody(wait: generation_pb2.WaitEstimate) -> str:
    """One sentence for people on why nobody could do it now."""
    reasons = [f"{group.workers} {_WHY.get(group.reason, 'for another reason')}" for group in wait.ineligible]
    here = ", ".join(reasons) if reasons else "none is here"
    return f"No worker that is here now can do this ({here}); it waits for one."
