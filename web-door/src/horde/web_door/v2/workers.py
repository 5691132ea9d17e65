"""Workers, as everybody sees them, and what their owners may change."""

from __future__ import annotations

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services.errors import NotFound
from horde.web_door.core.bodies import WorkerBody
from horde.web_door.core.offers import worker_name
from horde.web_door.core.refusals import Refusal
from horde.web_door.remembering import Remembered
from horde.web_door.v2 import wire
from horde.web_door.v2.context import Context
from horde.web_door.v2.working import Working

LIST_SECONDS = 10.0
PAGE = 100
MOST_PAGES = 50


class Workers:
    """`workers`."""

    def __init__(self, context: Context, working: Working) -> None:
        self._context = context
        self._working = working
        self._all: Remembered[list[worker_pb2.Worker]] = Remembered(context.clock, LIST_SECONDS, 1)

    async def workers(self, request: Request) -> Response:
        """GET workers: those that are here, as they were at most a moment ago."""
        query = request.query_params
        if query.get("type", "image") not in ("image", "all"):
            return JSONResponse([])
        name = query.get("name")
        found = [
            worker for worker in await self._all.get("", self._read) if worker.state != worker_pb2.WORKER_STATE_AWAY
        ]
        return JSONResponse([_worker(worker) for worker in found if not name or worker.name == worker_name(name)])

    async def worker(self, request: Request) -> Response:
        """GET workers/{id}."""
        return JSONResponse(_worker(await self._get(request)))

    async def by_name(self, request: Request) -> Response:
        """GET workers/name/{name}: names are unique here for one owner alone; the first that is here."""
        name = worker_name(request.path_params["name"])
        asked = pb.ListWorkersRequest(page_size=PAGE, name_contains=name)
        whereabouts = self._context.caller(request).whereabouts()
        page: pb.ListWorkersResponse = await self._context.mesh.workers.ListWorkers(asked, metadata=whereabouts)
        found = [worker for worker in page.workers if worker.name == name]
        if not found:
            raise Refusal(404, "WorkerNotFound", f"Worker with name '{name}' not found.")
        return JSONResponse(_worker(min(found, key=lambda worker: worker.state == worker_pb2.WORKER_STATE_AWAY)))

    async def change(self, request: Request) -> Response:
        """PUT workers/{id}, by its owner."""
        context = self._context
        caller = context.caller(request)
        body = await context.body(request, WorkerBody, caller)
        if body.paused is not None:
            raise Refusal(403, "NotModerator", "Only moderators pause workers; owners set maintenance.")
        if body.name is not None or body.team is not None:
            raise Refusal(400, "BadRequest", "A worker's name is what it attaches under, and it has no team here.")
        if body.maintenance is None and body.info is None:
            raise Refusal(400, "NoWorkerModSelected", "Please select a worker modification action.")
        worker_id, shown = request.path_params["id"], caller.metadata()
        changed: dict[str, Any] = {}
        try:
            if body.maintenance is not None:
                pause = pb.SetWorkerPausedRequest(worker_id=worker_id, paused=body.maintenance)
                await context.mesh.workers.SetWorkerPaused(pause, metadata=shown)
                self._working.forget_state(worker_id)
                changed["maintenance"] = body.maintenance
            if body.info is not None:
                worker = worker_pb2.Worker(worker_id=worker_id, description=body.info)
                update = pb.UpdateWorkerRequest(worker=worker, update_mask=FieldMask(paths=["description"]))
                await context.mesh.workers.UpdateWorker(update, metadata=shown)
                changed["info"] = body.info
        except NotFound:
            # What is another's is answered as what is not there; who asks may want to know which.
            await self._get(request)
            raise Refusal(403, "NotOwner", "This worker is another user's.") from None
        self._all.forget("")
        return JSONResponse(changed)

    async def delete(self, request: Request) -> Response:
        """DELETE workers/{id}, by its owner, when it is away."""
        worker = await self._get(request)
        delete = pb.DeleteWorkerRequest(worker_id=worker.worker_id)
        await self._context.mesh.workers.DeleteWorker(delete, metadata=self._context.caller(request).metadata())
        return JSONResponse({"deleted_id": worker.worker_id, "deleted_name": worker.name})

    async def _get(self, request: Request) -> worker_pb2.Worker:
        asked = pb.GetWorkerRequest(worker_id=request.path_params["id"])
        whereabouts = self._context.caller(request).whereabouts()
        answer: pb.GetWorkerResponse = await self._context.mesh.workers.GetWorker(asked, metadata=whereabouts)
        return answer.worker

    async def _read(self) -> list[worker_pb2.Worker]:
        found: list[worker_pb2.Worker] = []
        token = ""
        for _ in range(MOST_PAGES):
            asked = pb.ListWorkersRequest(page_size=PAGE, page_token=token)
            page: pb.ListWorkersResponse = await self._context.mesh.workers.ListWorkers(asked)
            found.extend(page.workers)
            if not (token := page.next_page_token):
                break
        return found


def _worker(worker: worker_pb2.Worker) -> dict[str, Any]:
    offers = [model.image for model in worker.capabilities.models if model.WhichOneof("kind") == "image"]
    features = {feature for offer in offers for feature in offer.features}
    paces = [wire.seconds(speed.megapixel_step) for speed in worker.speeds if wire.seconds(speed.megapixel_step)]
    speed = f"{1 / (sum(paces) / len(paces)):.1f} megapixelsteps per second" if paces else "No requests fulfilled yet"
    return {
        "type": "image",
        "name": worker.name,
        "id": worker.worker_id,
        "online": worker.state != worker_pb2.WORKER_STATE_AWAY,
        "maintenance_mode": worker.state == worker_pb2.WORKER_STATE_PAUSED,
        "paused": False,
        "info": worker.description or None,
        "bridge_agent": worker.agent or "unknown:0:unknown",
        "models": [model.name for model in worker.capabilities.models],
        "max_pixels": max((offer.max_pixels for offer in offers), default=0),
        "threads": worker.slots,
        "requests_fulfilled": worker.images_done,
        "uncompleted_jobs": worker.jobs_failed,
        "uptime": worker.attached_for.seconds,
        "performance": speed,
        "owner": worker.owner_display_name or None,
        "nsfw": True,
        "trusted": False,
        "flagged": False,
        "img2img": worker_pb2.FEATURE_IMAGE_TO_IMAGE in features,
        "painting": worker_pb2.FEATURE_INPAINTING in features,
        "post-processing": worker_pb2.FEATURE_POST_PROCESSING in features,
        "lora": worker_pb2.FEATURE_LORA in features,
        "controlnet": worker_pb2.FEATURE_CONTROL in features,
        "sdxl_controlnet": False,
    }
