"""GenerationService on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.generation.v1.generation_service_pb2_grpc import GenerationServiceServicer
from horde.gateway.core.passes import Passes
from horde.gateway.doors.allowances import Allowances
from horde.gateway.doors.generations import Generations
from horde.gateway.doors.listing import masked, masked_page
from horde.gateway.doors.reception import Reception
from horde.gateway.doors.watching import Watching
from horde.services.addresses import caller_bucket, caller_peer

Context = Any


class GenerationServicer(GenerationServiceServicer):
    """Decode, call, encode."""

    def __init__(
        self,
        reception: Reception,
        generations: Generations,
        watching: Watching,
        allowances: Allowances,
        passes: Passes,
    ) -> None:
        self._reception = reception
        self._generations = generations
        self._watching = watching
        self._allowances = allowances
        self._passes = passes

    async def QuoteGeneration(self, request: pb.QuoteGenerationRequest, context: Context) -> pb.QuoteGenerationResponse:
        principal = await self._reception.requester(context)
        asked = self._generations.appraise(principal, request)
        key = await self._allowances.check(principal, asked)
        quote = await self._generations.quote(principal, asked, request.spec)
        if key is not None and key.left_mkudos is not None:
            quote.available_mkudos = min(quote.available_mkudos, key.left_mkudos)
        return pb.QuoteGenerationResponse(quote=quote)

    async def CreateGeneration(
        self, request: pb.CreateGenerationRequest, context: Context
    ) -> pb.CreateGenerationResponse:
        principal = await self._reception.asking(context)
        asked = self._generations.appraise_creation(principal, request)
        address = caller_bucket(context)
        await self._reception.count_images(principal, address, asked.spec.count)
        async with self._allowances.reserved(principal, asked, request.request_id):
            generation = await self._generations.create(principal, asked, request, address)
        self._reception.found(principal)
        return pb.CreateGenerationResponse(
            generation=generation, pass_id=self._passes.pass_of(generation.generation_id)
        )

    async def GetGeneration(self, request: pb.GetGenerationRequest, context: Context) -> pb.GetGenerationResponse:
        principal, request.generation_id = await self._reception.holder(context, request.generation_id)
        with self._reception.looking(principal, context):
            await self._allowances.require(principal, request.generation_id)
            generation = await self._generations.get(principal, request)
        await self._allowances.tell_owner(principal, generation, request.read_mask)
        return pb.GetGenerationResponse(generation=masked(generation, request.read_mask))

    async def ListGenerations(self, request: pb.ListGenerationsRequest, context: Context) -> pb.ListGenerationsResponse:
        principal = await self._reception.requester(context)
        if principal.shared_key_id or request.shared_key_id:
            return await self._allowances.page(principal, request)
        page = await self._generations.page(principal, request)
        for generation in page.generations:
            await self._allowances.tell_owner(principal, generation, request.read_mask)
        return masked_page(page, request.read_mask)

    async def WatchGeneration(
        self, request: pb.WatchGenerationRequest, context: Context
    ) -> AsyncIterator[pb.WatchGenerationResponse]:
        principal, request.generation_id = await self._reception.holder(context, request.generation_id)
        await self._allowances.require(principal, request.generation_id)
        requester = self._generations.watchable(principal, request.generation_id)
        watch = self._watching.watch(
            requester,
            request.generation_id,
            previews=request.previews,
            peer=caller_peer(context),
            by_pass=bool(principal.pass_of),
        )
        with self._reception.looking(principal, context):
            async with aclosing(watch) as heard:
                async for message in heard:
                    yield message

    async def CancelGeneration(
        self, request: pb.CancelGenerationRequest, context: Context
    ) -> pb.CancelGenerationResponse:
        principal, request.generation_id = await self._reception.holder(context, request.generation_id)
        with self._reception.looking(principal, context):
            await self._allowances.require(principal, request.generation_id)
            generation = await self._generations.cancel(principal, request.generation_id)
        return pb.CancelGenerationResponse(generation=generation)

    async def DeleteGeneration(
        self, request: pb.DeleteGenerationRequest, context: Context
    ) -> pb.DeleteGenerationResponse:
        principal = await self._reception.requester(context)
        await self._allowances.before_deleting(principal, request.generation_id)
        await self._generations.delete(principal, request.generation_id)
        return pb.DeleteGenerationResponse()

    async def WithdrawImages(self, request: pb.WithdrawImagesRequest, context: Context) -> pb.WithdrawImagesResponse:
        principal, request.generation_id = await self._reception.holder(context, request.generation_id)
        with self._reception.looking(principal, context):
            await self._allowances.require(principal, request.generation_id)
            outcomes = await self._generations.withdraw(principal, request)
        return pb.WithdrawImagesResponse(outcomes=outcomes)

    async def CreateInputTicket(
        self, request: pb.CreateInputTicketRequest, context: Context
    ) -> pb.CreateInputTicketResponse:
        principal = await self._reception.asking(context)
        checked = self._generations.checked_input(request.input_id)
        await self._reception.count_input(principal, caller_bucket(context))
        return self._generations.input_ticket(principal, checked)

    async def DeleteInput(self, request: pb.DeleteInputRequest, context: Context) -> pb.DeleteInputResponse:
        principal = await self._reception.requester(context)
        await self._generations.delete_input(principal, self._generations.checked_input(request.input_id))
        return pb.DeleteInputResponse()
