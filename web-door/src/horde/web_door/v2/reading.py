"""What anybody may look at: models, how busy the mesh is, what it has done, its texts."""

from __future__ import annotations

import math
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from horde.api.model.v1 import model_service_pb2
from horde.api.statistics.v1 import statistics_service_pb2 as statistics_pb2
from horde.web_door.core.refusals import Refusal
from horde.web_door.remembering import Remembered
from horde.web_door.v2 import wire
from horde.web_door.v2.context import Context

NEVER = 10_000
"""Seconds that are said where nobody can do something: what AI Horde says then."""
STATISTICS_SECONDS = 10.0
STATES: Final = ("known", "custom", "all")
TYPES: Final = ("image", "text", "all")
VERSION: Final = "5.1.5"
"""Of AI Horde, whose behaviour this is: clients show it, and some ask for the least that they need."""


class Reading:
    """`status/…`, `stats/…` and `documents/…`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._statistics: Remembered[Any] = Remembered(context.clock, STATISTICS_SECONDS, 8)

    async def heartbeat(self, request: Request) -> Response:
        """GET status/heartbeat: that the door answers."""
        return JSONResponse({"message": "OK", "version": VERSION})

    async def models(self, request: Request) -> Response:
        """GET status/models."""
        query = request.query_params
        kind = _one_of(query.get("type", "image"), TYPES, "type")
        state = _one_of(query.get("model_state", "all"), STATES, "model_state")
        least, most = _number(query.get("min_count"), "min_count"), _number(query.get("max_count"), "max_count")
        if kind == "text":
            return JSONResponse([])
        found = [
            _model(model)
            for model in await self._context.models()
            if state == "all" or model.HasField("catalogue") is (state == "known")
        ]
        kept = [image for image in found if (least or 0) <= image["count"] <= (most if most is not None else math.inf)]
        return JSONResponse(kept)

    async def model(self, request: Request) -> Response:
        """GET status/models/{name}: a list of one."""
        name = request.path_params["name"]
        found = [model for model in await self._context.models() if model.name == name]
        if not found:
            raise Refusal(404, "ModelNotFound", f"There is no model '{name[:100]}' here.")
        return JSONResponse([_model(found[0])])

    async def performance(self, request: Request) -> Response:
        """GET status/performance."""

        async def ask() -> statistics_pb2.GetPerformanceResponse:
            answer: statistics_pb2.GetPerformanceResponse = await self._context.mesh.statistics.GetPerformance(
                statistics_pb2.GetPerformanceRequest()
            )
            return answer

        now: statistics_pb2.GetPerformanceResponse = await self._statistics.get("performance", ask)
        workers = now.workers_ready + now.workers_busy
        return JSONResponse(
            {
                "queued_requests": now.jobs_queued + now.jobs_leased,
                "queued_megapixelsteps": now.queued_milli_megapixel_steps / 1_000,
                "past_minute_megapixelsteps": now.milli_megapixel_steps_last_minute / 1_000,
                "worker_count": workers,
                "thread_count": workers,
                "queued_text_requests": 0,
                "queued_tokens": 0,
                "past_minute_tokens": 0,
                "text_worker_count": 0,
                "text_thread_count": 0,
                "queued_forms": 0,
                "interrogator_count": 0,
                "interrogator_thread_count": 0,
            }
        )

    async def modes(self, request: Request) -> Response:
        """GET status/modes."""
        about = await self._context.about()
        return JSONResponse(
            {"maintenance_mode": False, "invite_only_mode": not about.registration_open, "raid_mode": False}
        )

    async def news(self, request: Request) -> Response:
        """GET status/news: there are none here."""
        return JSONResponse([])

    async def totals(self, request: Request) -> Response:
        """GET stats/img/totals."""

        async def ask() -> statistics_pb2.GetTotalsResponse:
            answer: statistics_pb2.GetTotalsResponse = await self._context.mesh.statistics.GetTotals(
                statistics_pb2.GetTotalsRequest()
            )
            return answer

        totals: statistics_pb2.GetTotalsResponse = await self._statistics.get("totals", ask)
        times = {"minute": totals.minute, "hour": totals.hour, "day": totals.day, "month": totals.month}
        return JSONResponse(
            {
                name: {"images": total.images_done, "ps": total.milli_megapixel_steps * 1_000}
                for name, total in {**times, "total": totals.ever}.items()
            }
        )

    async def model_totals(self, request: Request) -> Response:
        """GET stats/img/models."""
        _one_of(request.query_params.get("model_state", "all"), STATES, "model_state")

        async def ask() -> statistics_pb2.ListModelTotalsResponse:
            answer: statistics_pb2.ListModelTotalsResponse = await self._context.mesh.statistics.ListModelTotals(
                statistics_pb2.ListModelTotalsRequest(page_size=500)
            )
            return answer

        page: statistics_pb2.ListModelTotalsResponse = await self._statistics.get("models", ask)
        return JSONResponse(
            {
                "day": {model.model: model.day for model in page.models if model.day},
                "month": {model.model: model.month for model in page.models if model.month},
                "total": {model.model: model.ever for model in page.models},
            }
        )

    async def no_texts(self, request: Request) -> Response:
        """GET stats/text/…: nobody writes texts through this door."""
        kinds = (
            ("day", "month", "total")
            if request.url.path.endswith("models")
            else ("minute", "hour", "day", "month", "total")
        )
        return JSONResponse({kind: {} for kind in kinds})

    async def terms(self, request: Request) -> Response:
        """GET documents/terms: the text that sharing means."""
        about = await self._context.about()
        form = _one_of(request.query_params.get("format", "html"), ("html", "markdown"), "format")
        text = about.consent.text
        return JSONResponse({form: f"<pre>{_escaped(text)}</pre>" if form == "html" else text})

    async def no_document(self, request: Request) -> Response:
        """GET documents/privacy and sponsors."""
        raise Refusal(404, "DocumentNotFound", "This mesh has no such document.")

    async def nothing(self, request: Request) -> Response:
        """A list of things that there are none of here."""
        return JSONResponse([])


def _model(model: model_service_pb2.Model) -> dict[str, Any]:
    pace = wire.seconds(model.megapixel_step) if model.HasField("megapixel_step") else 0.0
    return {
        "name": model.name,
        "type": "image",
        "count": model.workers,
        "performance": round(1_000_000 / pace, 1) if pace else 0.0,
        "queued": float(model.queued_milli_megapixel_steps * 1_000),
        "jobs": float(model.jobs_queued),
        "eta": math.ceil(wire.seconds(model.wait.p50)) if model.HasField("wait") else NEVER,
    }


def _one_of(value: str, values: tuple[str, ...], name: str) -> str:
    if value not in values:
        raise Refusal(400, "BadRequest", f"{name} must be one of {', '.join(values)}.")
    return value


def _number(value: str | None, name: str) -> int | None:
    if value is None:
        return None
    if not (value.isdigit() and len(value) < 10):
        raise Refusal(400, "BadRequest", f"{name} must be a number.")
    return int(value)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
