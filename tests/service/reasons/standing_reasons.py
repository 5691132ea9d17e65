"""What StandingService refuses, and the refusal of who is restricted."""

from __future__ import annotations

from pathlib import Path

from tests.service.reasons.gateway_reasons import NOBODY, SOMEBODY, door, new_id
from tests.service.reasons.provoking import STANDING, provokes, refusal

from horde.api.model.v1 import model_service_pb2 as model
from horde.api.standing.v1 import standing_service_pb2 as standing
from horde.services.errors import ServiceError
from horde.testkit.gateway import Bench


def pause() -> standing.RestrictRequest:
    request = standing.RestrictRequest(request_id=new_id(), kind=standing.RESTRICTION_KIND_PAUSE, reason="why")
    request.target.owner_account_id = SOMEBODY
    return request


async def restricted(mesh: Bench, request: standing.RestrictRequest) -> None:
    await mesh.standings.Restrict(request, metadata=mesh.operator)


@provokes(STANDING, "INVALID_FIELD")
async def a_restriction_of_nobody(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        return await refusal(mesh.standings.Restrict(standing.RestrictRequest(), metadata=mesh.operator))


@provokes(STANDING, "RESTRICTION_NOT_FOUND")
async def a_restriction_that_is_none(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        request = standing.AppealRestrictionRequest(restriction_id=SOMEBODY, note="why")
        return await refusal(mesh.standings.AppealRestriction(request, metadata=anna))


@provokes(STANDING, "REQUEST_CONFLICT")
async def another_restriction_under_the_same_id(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        request = pause()
        await restricted(mesh, request)
        request.reason = "another"
        return await refusal(mesh.standings.Restrict(request, metadata=mesh.operator))


@provokes(STANDING, "RESTRICTED")
async def a_call_from_a_banned_network(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        request = pause()
        request.kind, request.target.network = standing.RESTRICTION_KIND_BAN, "127.0.0.0/8"
        await restricted(mesh, request)
        return await refusal(mesh.models.ListModels(model.ListModelsRequest(), metadata=NOBODY))
