"""Wishes to be forgotten: generations, workers, and all that there is of an account."""

from __future__ import annotations

from collections.abc import Sequence

from google.rpc import status_pb2

from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core import deleting, leaving, settling
from horde.scheduler.core.errors import GenerationNotFinished, WorkerBusy, WorkerNotFound
from horde.scheduler.core.job import AccountId, Deletion, Generation, Phase, WorkerId
from horde.scheduler.doors.reading import Reading
from horde.scheduler.janitor import FORGOTTEN
from horde.scheduler.store.saver import Saver
from horde.scheduler.term import Term
from horde.services.status import to_status

AT_ONCE = 50
"""Generations of an account in one step."""


class Deleting:
    """Answers wishes to be forgotten, each when it is durable."""

    def __init__(self, term: Term, saver: Saver, reading: Reading) -> None:
        self._term = term
        self._saver = saver
        self._reading = reading

    async def generations(self, refs: Sequence[pb.GenerationRef]) -> list[status_pb2.Status]:
        """Answer each; what is not there, or is somebody else's, is as good as deleted."""
        answers = []
        for ref, generation in zip(refs, await self._reading.find(refs), strict=True):
            if generation is not None and not generation.finished:
                answers.append(to_status(GenerationNotFinished(metadata={"generation_id": ref.generation_id})))
                continue
            if generation is not None:
                deleting.delete(self._term.board, generation, Deletion.ALL, FORGOTTEN)
            answers.append(status_pb2.Status())
        await self._durable()
        return answers

    async def worker(self, request: pb.DeleteWorkerRequest) -> None:
        """Raises WorkerNotFound for another's, and WorkerBusy."""
        worker = self._term.board.fleet.workers.get(WorkerId(request.worker_id))
        if worker is None:
            return
        named = {"worker_id": request.worker_id}
        if worker.owner != request.owner_account_id:
            raise WorkerNotFound(metadata=named)
        if not worker.away:
            raise WorkerBusy(metadata=named)
        leaving.worker_leaves(self._term.board, worker)
        await self._durable()

    async def survey(self, account: str) -> pb.SurveyAccountResponse:
        """Count what there is of an account."""
        await self._saver.saved()
        term, account_id = self._term, AccountId(account)
        found = await term.store.survey(account_id, term.now_ms())
        standing = term.board.fleet.standings.get(account_id)
        return pb.SurveyAccountResponse(
            open_generations=sum(map(_open, self._in_memory(account_id))),
            open_leases=0 if standing is None else standing.open_leases,
            generations=found.generations,
            private_images=found.private_images,
            shared_images=found.shared_images,
        )

    async def account(self, request: pb.ForgetAccountRequest) -> int:
        """Take one step; how many generations and workers are left after it."""
        term, board, account_id = self._term, self._term.board, AccountId(request.account_id)
        wish = Deletion.ALL if request.withdraw_shared else Deletion.PRIVATE
        for stored in await term.store.of_account(account_id, AT_ONCE):
            generation = term.remember(stored)
            if generation.phase is Phase.REFUSED:
                if generation.closed:
                    deleting.refused(board, generation)
            elif generation.finished:
                deleting.delete(board, generation, wish, FORGOTTEN)
        for generation in self._in_memory(account_id):
            settling.cancel(board, generation, term.now())
        left = leaving.owner_leaves(board, account_id, term.now(), term.now_ms())
        await self._durable()
        return (await term.store.survey(account_id, term.now_ms())).generations + left

    def _in_memory(self, account_id: AccountId) -> list[Generation]:
        """Those of its generations for which something is left to do."""
        board = self._term.board
        if not board.live_by_requester[account_id, b""]:
            return []
        return [
            generation
            for generation in board.generations.values()
            if generation.account_id == account_id and not generation.closed
        ]

    async def _durable(self) -> None:
        self._term.flush()
        await self._saver.saved()


def _open(generation: Generation) -> bool:
    return not generation.finished and generation.phase is not Phase.REFUSED
