"""What the curious are shown of the fleet: workers and models; and the one wish about it, a pause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from horde.api.job.v1 import job_pb2
from horde.api.model.v1 import model_service_pb2
from horde.api.worker.v1 import worker_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core import attaching
from horde.scheduler.core.errors import WorkerNotFound
from horde.scheduler.core.estimates import Estimates
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import AccountId, Mkudos, Price, Terms, WorkerId
from horde.scheduler.doors import wire, wire_worker
from horde.scheduler.doors.filters import wanted_worker
from horde.scheduler.doors.pages import read_token, write_token
from horde.scheduler.store.saver import Saver
from horde.scheduler.term import Term

PAGE = 50
MAX_PAGE = 100
MAX_MODELS_PAGE = 500
MAX_LOOK = 64
"""Kinds of waiting jobs of one model that are looked at for what it would earn."""
LISTED_MS = 24 * 3600 * 1000
"""Workers that were not here for so long are not listed."""
_NO_PRICE = Price(Mkudos(0), Mkudos(0), Mkudos(0))


class FleetReading:
    """Answers about workers and models."""

    def __init__(self, term: Term, saver: Saver, estimates: Estimates) -> None:
        self._term = term
        self._saver = saver
        self._estimates = estimates

    def workers(self, request: pb.ListWorkersRequest) -> pb.ListWorkersResponse:
        size = request.page_size if 1 <= request.page_size <= MAX_PAGE else PAGE
        after = read_token(request.page_token, str, str)
        wanted = wanted_worker(request.filters)
        chosen = [
            worker
            for worker in self._here_lately()
            if (not request.owner_account_id or worker.owner == request.owner_account_id) and wanted(worker)
        ]
        chosen.sort(key=lambda worker: (worker.name, worker.worker_id))
        if after is not None:
            place = (after[0], after[1])
            chosen = [worker for worker in chosen if (worker.name, worker.worker_id) > place]
        response = pb.ListWorkersResponse(workers=[self.show_worker(worker) for worker in chosen[:size]])
        if len(chosen) > size:
            response.next_page_token = write_token(chosen[size - 1].name, chosen[size - 1].worker_id)
        return response

    def _here_lately(self) -> Iterator[Worker]:
        oldest = self._term.now_ms() - LISTED_MS
        for worker in self._term.board.fleet.workers.values():
            if worker.session is not None or worker.last_seen_ms >= oldest:
                yield worker

    def worker(self, worker_id: str, owner: str = "") -> Worker:
        """Raises WorkerNotFound, also for what is another's."""
        worker = self._term.board.fleet.workers.get(WorkerId(worker_id))
        if worker is None or (owner and worker.owner != owner):
            raise WorkerNotFound(metadata={"worker_id": worker_id})
        return worker

    def show_worker(self, worker: Worker) -> worker_pb2.Worker:
        term = self._term
        return wire_worker.worker_message(worker, term.board.speeds.of(worker.worker_id), term.now(), term.now_ms())

    async def pause(self, request: pb.SetWorkerPausedRequest) -> worker_pb2.Worker:
        worker = self.worker(request.worker_id, request.owner_account_id)
        attaching.pause(self._term.board, worker, request.paused, self._term.now(), self._term.now_ms())
        self._term.flush()
        await self._saver.saved()
        return self.show_worker(worker)

    async def update(self, request: pb.UpdateWorkerRequest) -> worker_pb2.Worker:
        """What its owner says of a worker; durable when it answers."""
        worker = self.worker(request.worker_id, request.owner_account_id)
        worker.description = request.description
        self._term.board.dirty_workers[worker] = None
        self._term.flush()
        await self._saver.saved()
        return self.show_worker(worker)

    def models(self, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        size = request.page_size if 1 <= request.page_size <= MAX_MODELS_PAGE else MAX_PAGE
        after = read_token(request.page_token, str, str)
        counts = self._count_models()
        if request.lately:
            # What somebody merely waits for is not on offer.
            counts.names = {name for worker in self._here_lately() for name in worker.capabilities.offers}
        names = sorted(name for name in counts.names if not request.name or name == request.name)
        if after is not None:
            names = [name for name in names if name > after[0]]
        response = pb.ListModelsResponse(models=[self._show_model(name, counts) for name in names[:size]])
        if len(names) > size:
            response.next_page_token = write_token(names[size - 1], "")
        return response

    def _count_models(self) -> ModelCounts:
        board, counts = self._term.board, ModelCounts()
        counts.names.update(board.queue.models)
        for worker in board.fleet.workers.values():
            for lease in worker.leases.values():
                counts.leased[lease.job.generation.terms.model] += 1
            if worker.session is None or worker.paused:
                continue
            for name, offer in worker.capabilities.offers.items():
                counts.names.add(name)
                counts.workers[name] += 1
                counts.loaded[name] += offer.loaded
                counts.abilities[name] = counts.abilities.get(name, 0) | offer.features
                counts.max_pixels[name] = max(counts.max_pixels[name], offer.max_pixels)
        return counts

    def _show_model(self, name: str, counts: ModelCounts) -> model_service_pb2.Model:
        board = self._term.board
        queue = board.queue.models.get(name)
        message = model_service_pb2.Model(
            name=name,
            # The only kind whose offers are taken.
            kind=job_pb2.JOB_KIND_IMAGE if name in counts.workers else job_pb2.JOB_KIND_UNSPECIFIED,
            workers=counts.workers[name],
            workers_loaded=counts.loaded[name],
            jobs_queued=queue.count if queue is not None else 0,
            jobs_leased=counts.leased[name],
            queued_milli_megapixel_steps=round(queue.work * 1000) if queue is not None else 0,
            max_pixels=counts.max_pixels[name],
        )
        wire_worker.show_abilities(message, counts.abilities.get(name, 0))
        if median := board.speeds.median(name):
            message.megapixel_step.FromMicroseconds(round(median * 1_000_000))
        message.mkudos_an_hour = self._an_hour(name)
        usual = Terms(name, 512, 512, 25, 0, _NO_PRICE)
        estimate = self._estimates.for_terms(usual, AccountId("-"), self._term.now())
        if estimate.eligible:
            message.wait.CopyFrom(wire.wait_message(estimate))
        return message

    def waits(self) -> pb.GetWaitsResponse:
        """How long jobs waited lately."""
        answer = pb.GetWaitsResponse()
        found = self._term.board.waits.quantiles((0.5, 0.9), self._term.now())
        if found is not None:
            for message, seconds in zip((answer.p50, answer.p90), found, strict=True):
                message.FromMilliseconds(round(seconds * 1000))
        return answer

    def _an_hour(self, name: str) -> int:
        """What one more worker of median speed would earn with what waits and is painted now; 0: with nothing."""
        board, price, work = self._term.board, 0, 0.0
        queue, median = board.queue.models.get(name), board.speeds.median(name)
        if queue is None or not median:
            return 0
        for lane in (queue.named, queue.anonymous):
            for bucket in islice(lane.buckets.values(), MAX_LOOK):
                # One job stands for its like: they differ in steps at most.
                if bucket.head is not None:
                    terms = bucket.head[3].generation.terms
                    price, work = price + terms.price.price * bucket.live, work + terms.work * bucket.live
        # No more than waits.
        return round(min(price / work / median * 3600, price)) if work else 0


class ModelCounts:
    """Workers and leases by model."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.workers: Counter[str] = Counter()
        self.loaded: Counter[str] = Counter()
        self.leased: Counter[str] = Counter()
        self.max_pixels: Counter[str] = Counter()
        self.abilities: dict[str, int] = {}
        """What any of the workers can be asked for, as masks."""
