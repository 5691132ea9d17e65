"""What the gateway asks of the scheduler. Single questions of many callers travel together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc import aio

from horde.gateway.neighbours.exchange import Stream
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.internal.scheduler.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from horde.services.batching import Batcher
from horde.services.errors import ResourceExhausted, ServiceError
from horde.services.status import from_status

T = TypeVar("T", bound=Message)

MAX_ITEMS = 64
"""In one batch: the contract allows 256, but answers must stay far below the message limit of 4 MiB."""
MAX_READS = 16
"""Generations that are read at once: one alone may be 1.5 MB."""
MAX_BATCH_BYTES = 1024 * 1024
INFLIGHT = 2
"""Batches on their way at once, so that one that waits for the disk does not keep the next waiting."""

Ref = scheduler_pb2.GenerationRef
Outcome = scheduler_pb2.GenerationOutcome
Known = scheduler_pb2.SchedulerGeneration
Answers = list[Known | Exception]


class SchedulerClient:
    """The scheduler, as the gateway sees it. Every method raises ServiceErrors of the scheduler, and Unavailable."""

    def __init__(self, channel: aio.Channel, streams: aio.Channel) -> None:
        """`streams` is a channel that does not repeat calls by itself: a broken stream is for its owner to see."""
        self._stub: Any = SchedulerServiceStub(channel)
        self._streams: Any = SchedulerServiceStub(streams)
        self._submissions = Batcher(self._submit, max_items=MAX_ITEMS, max_inflight=INFLIGHT)
        self._reads = Batcher(self._get, max_items=MAX_READS, max_inflight=INFLIGHT)
        self._cancels = Batcher(self._cancel, max_items=MAX_READS, max_inflight=INFLIGHT)
        self._estimates = Batcher(self._estimate, max_items=MAX_ITEMS, max_inflight=INFLIGHT)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SchedulerClient]:
        """Take calls for as long as the block."""
        async with AsyncExitStack() as stack:
            for batcher in (self._submissions, self._reads, self._cancels, self._estimates):
                await stack.enter_async_context(batcher)
            yield self

    @property
    def waiting_submissions(self) -> int:
        """How many wait for the batch before theirs."""
        return len(self._submissions)

    async def submit(self, submission: scheduler_pb2.SubmitGeneration) -> Known:
        """Have a generation accepted; durable when it answers."""
        return await self._submissions.submit(submission)

    async def get(self, ref: Ref) -> Known:
        """A generation as it is now."""
        return await self._reads.submit(ref)

    async def cancel(self, ref: Ref) -> Known:
        """Cancel what has not ended of a generation."""
        return await self._cancels.submit(ref)

    async def estimate(self, question: scheduler_pb2.EstimateWait) -> scheduler_pb2.EstimateWaitOutcome:
        """How long something would wait."""
        return await self._estimates.submit(question)

    async def list_generations(
        self, request: scheduler_pb2.ListGenerationsRequest
    ) -> scheduler_pb2.ListGenerationsResponse:
        answer: scheduler_pb2.ListGenerationsResponse = await self._stub.ListGenerations(request)
        return answer

    async def withdraw(self, ref: Ref, job_ids: Sequence[str]) -> Sequence[status_pb2.Status]:
        """Take finished images back; answers each."""
        request = scheduler_pb2.WithdrawImagesRequest(ref=ref, job_ids=job_ids)
        answer: scheduler_pb2.WithdrawImagesResponse = await self._stub.WithdrawImages(request)
        return answer.outcomes

    async def delete(self, ref: Ref) -> None:
        """Have an ended generation forgotten."""
        answer: scheduler_pb2.DeleteGenerationsResponse = await self._stub.DeleteGenerations(
            scheduler_pb2.DeleteGenerationsRequest(refs=[ref])
        )
        for outcome in answer.outcomes:
            if outcome.code:
                raise from_status(outcome)

    async def survey(self, account_id: str) -> scheduler_pb2.SurveyAccountResponse:
        """What there is of an account."""
        request = scheduler_pb2.SurveyAccountRequest(account_id=account_id)
        answer: scheduler_pb2.SurveyAccountResponse = await self._stub.SurveyAccount(request)
        return answer

    async def forget_account(self, account_id: str, *, withdraw_shared: bool) -> int:
        """Take a step in forgetting an account; how many generations and workers are left."""
        answer: scheduler_pb2.ForgetAccountResponse = await self._stub.ForgetAccount(
            scheduler_pb2.ForgetAccountRequest(account_id=account_id, withdraw_shared=withdraw_shared)
        )
        return answer.left

    async def delete_worker(self, worker_id: str, owner_account_id: str) -> None:
        """Have an owner's worker forgotten that is away."""
        request = scheduler_pb2.DeleteWorkerRequest(worker_id=worker_id, owner_account_id=owner_account_id)
        await self._stub.DeleteWorker(request)

    async def list_workers(self, request: scheduler_pb2.ListWorkersRequest) -> scheduler_pb2.ListWorkersResponse:
        answer: scheduler_pb2.ListWorkersResponse = await self._stub.ListWorkers(request)
        return answer

    async def waits(self) -> scheduler_pb2.GetWaitsResponse:
        answer: scheduler_pb2.GetWaitsResponse = await self._stub.GetWaits(scheduler_pb2.GetWaitsRequest())
        return answer

    async def get_worker(self, request: scheduler_pb2.GetWorkerRequest) -> scheduler_pb2.GetWorkerResponse:
        answer: scheduler_pb2.GetWorkerResponse = await self._stub.GetWorker(request)
        return answer

    async def set_worker_paused(
        self, request: scheduler_pb2.SetWorkerPausedRequest
    ) -> scheduler_pb2.SetWorkerPausedResponse:
        answer: scheduler_pb2.SetWorkerPausedResponse = await self._stub.SetWorkerPaused(request)
        return answer

    async def update_worker(self, request: scheduler_pb2.UpdateWorkerRequest) -> scheduler_pb2.UpdateWorkerResponse:
        answer: scheduler_pb2.UpdateWorkerResponse = await self._stub.UpdateWorker(request)
        return answer

    async def list_models(self, request: scheduler_pb2.ListModelsRequest) -> scheduler_pb2.ListModelsResponse:
        answer: scheduler_pb2.ListModelsResponse = await self._stub.ListModels(request)
        return answer

    def follow(self) -> Stream:
        """Open the stream that tells what happens to generations."""
        stream: Stream = self._streams.Follow()
        return stream

    def relay(self) -> Stream:
        """Open the stream that carries the workers' sessions."""
        stream: Stream = self._streams.Relay()
        return stream

    async def _submit(self, items: Sequence[scheduler_pb2.SubmitGeneration]) -> Sequence[Known | Exception]:
        async def ask(part: Sequence[scheduler_pb2.SubmitGeneration]) -> Sequence[Outcome]:
            request = scheduler_pb2.SubmitGenerationsRequest(submissions=part)
            answer: scheduler_pb2.SubmitGenerationsResponse = await self._stub.SubmitGenerations(request)
            return answer.outcomes

        answers: list[Known | Exception] = []
        for part in split(items):
            answers += await _answers(ask, part)
        return answers

    async def _get(self, refs: Sequence[Ref]) -> Sequence[Known | Exception]:
        async def ask(part: Sequence[Ref]) -> Sequence[Outcome]:
            answer: scheduler_pb2.GetGenerationsResponse = await self._stub.GetGenerations(
                scheduler_pb2.GetGenerationsRequest(refs=part)
            )
            return answer.outcomes

        return await _answers(ask, refs)

    async def _cancel(self, refs: Sequence[Ref]) -> Sequence[Known | Exception]:
        async def ask(part: Sequence[Ref]) -> Sequence[Outcome]:
            answer: scheduler_pb2.CancelGenerationsResponse = await self._stub.CancelGenerations(
                scheduler_pb2.CancelGenerationsRequest(refs=part)
            )
            return answer.outcomes

        return await _answers(ask, refs)

    async def _estimate(
        self, questions: Sequence[scheduler_pb2.EstimateWait]
    ) -> Sequence[scheduler_pb2.EstimateWaitOutcome | Exception]:
        answers: list[scheduler_pb2.EstimateWaitOutcome | Exception] = []
        for part in split(questions):
            request = scheduler_pb2.EstimateWaitsRequest(estimates=part)
            answers += (await self._stub.EstimateWaits(request)).outcomes
        return answers


async def _answers(ask: Callable[[Sequence[T]], Awaitable[Sequence[Outcome]]], items: Sequence[T]) -> Answers:
    """The answers to a batch; where they are more than a message holds, one by one, so that nobody fails for another.

    What is asked may be asked again: ids are fixed. A scheduler that asks for a pause is not asked more.
    """
    try:
        return _results(await ask(items))
    except ResourceExhausted as error:
        if len(items) == 1 or error.retry_after is not None:
            raise
    answers: Answers = []
    for item in items:
        try:
            answers += _results(await ask([item]))
        except ServiceError as error:
            answers.append(error)
    return answers


def _results(outcomes: Sequence[Outcome]) -> list[Known | Exception]:
    return [
        outcome.generation if outcome.WhichOneof("result") == "generation" else from_status(outcome.error)
        for outcome in outcomes
    ]


def split(
    items: Sequence[T], max_bytes: int = MAX_BATCH_BYTES, size: Callable[[T], int] | None = None
) -> list[list[T]]:
    """Cut a batch into parts that stay below the message limit; an item above it travels alone."""
    parts: list[list[T]] = []
    room = 0
    for item in items:
        bytes_ = item.ByteSize() if size is None else size(item)
        if not parts or bytes_ > room:
            parts.append([])
            room = max_bytes
        parts[-1].append(item)
        room -= bytes_
    return parts
