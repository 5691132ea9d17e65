"""What is refused about prompt filters, and by them."""

from __future__ import annotations

from pathlib import Path

from tests.service.reasons.gateway_reasons import door, new_id, spec
from tests.service.reasons.provoking import GENERATION, MODERATION, provokes, refusal

from horde.api.generation.v1 import generation_service_pb2 as generation
from horde.api.moderation.v1 import moderation_service_pb2 as moderation
from horde.services.errors import ServiceError


def rule() -> moderation.CreateFilterRequest:
    kind = moderation.FILTER_KIND_NORMALISED_TEXT
    return moderation.CreateFilterRequest(request_id=new_id(), kind=kind, pattern="fox", message="No foxes.")


@provokes(MODERATION, "REQUEST_CONFLICT")
async def another_rule_under_the_same_id(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        request = rule()
        await mesh.moderation.CreateFilter(request, metadata=mesh.operator)
        request.pattern = "hare"
        return await refusal(mesh.moderation.CreateFilter(request, metadata=mesh.operator))


@provokes(GENERATION, "PROMPT_REFUSED")
async def a_prompt_that_meets_a_rule(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        await mesh.moderation.CreateFilter(rule(), metadata=mesh.operator)
        request = generation.QuoteGenerationRequest(spec=spec(prompt="a fox"))
        return await refusal(mesh.generations.QuoteGeneration(request, metadata=anna))
