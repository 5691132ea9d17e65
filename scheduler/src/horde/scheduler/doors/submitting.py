"""Submissions: from a gateway's call to its answer, and what becomes of those that come twice."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from google.rpc import status_pb2

from horde.api.generation.v1 import generation_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core import accepting
from horde.scheduler.core.errors import InvalidField, RequestConflict
from horde.scheduler.core.job import (
    ANONYMOUS,
    SEED_SPACE,
    AccountId,
    Deletion,
    Generation,
    GenerationId,
    Phase,
    generation_id_of,
    make_jobs,
)
from horde.scheduler.core.rows import Stored
from horde.scheduler.core.shares import ANONYMOUS_WEIGHT, weight_of
from horde.scheduler.doors import wire
from horde.scheduler.store.saver import Saver
from horde.scheduler.term import Term
from horde.services.deadlines import remaining
from horde.services.errors import FieldViolation, ServiceError, Unavailable
from horde.services.failpoints import declare, failpoint_sync
from horde.services.ids import Ids
from horde.services.status import to_status

BEFORE_ANSWER = declare("scheduler.before_answer")
MAX_COUNT = 20
MAX_TTL_MS = 24 * 3600 * 1000
LONGEST_WAIT = 30.0
"""Seconds that a submission without a deadline waits for its answer."""
MAX_ANSWER_BYTES = 12 << 20
"""Generations of one answer, together; below what gateways take (16 MiB)."""
SHAVED = 0.1
"""Seconds of a caller's deadline that are left for the answer's way back."""


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits for a decision."""

    submission: pb.SubmitGeneration
    decided: asyncio.Future[pb.GenerationOutcome]


class Submitting:
    """Answers submissions."""

    def __init__(self, term: Term, saver: Saver, ids: Ids) -> None:
        self._term = term
        self._saver = saver
        self._ids = ids
        self._waiters: defaultdict[GenerationId, list[Waiter]] = defaultdict(list)
        self._watchers: defaultdict[GenerationId, list[Callable[[], None]]] = defaultdict(list)

    def undecided(self, generation: Generation) -> bool:
        """It was read back before its accepting was decided: what was shown of it may be ahead, so it is not shown."""
        return generation.reloaded and generation.phase in (Phase.CLAIMING, Phase.HOLDING)

    def when_decided(self, generation: Generation, then: Callable[[], None]) -> None:
        self._watchers[generation.generation_id].append(then)

    async def submit(self, submissions: Sequence[pb.SubmitGeneration]) -> list[pb.GenerationOutcome]:
        """Answer each, in order, once it is durable; UNAVAILABLE for what is not decided within the deadline."""
        waiters = [self._begin(submission) for submission in submissions]
        self._term.flush()
        left = remaining()
        await asyncio.wait(
            [waiter.decided for waiter in waiters],
            timeout=LONGEST_WAIT if left is None else max(0.0, left - SHAVED),
        )
        return bounded(self._outcome(waiter) for waiter in waiters)

    def _begin(self, submission: pb.SubmitGeneration) -> Waiter:
        waiter = Waiter(submission, asyncio.get_running_loop().create_future())
        try:
            self._take(waiter)
        except ServiceError as error:
            waiter.decided.set_result(refusal(error))
        return waiter

    def _take(self, waiter: Waiter) -> None:
        submission = waiter.submission
        check(submission)
        generation_id = GenerationId(submission.generation_id)
        known = self._term.board.generations.get(generation_id)
        if known is None:
            known = self._make(submission)
            accepting.submit(self._term.board, known)
        else:
            compare(known, submission)
            if known.phase in (Phase.ACCEPTED, Phase.REFUSED):
                self._answer_later(known, waiter)
                return
        self._waiters[generation_id].append(waiter)

    def _answer_later(self, generation: Generation, waiter: Waiter) -> None:
        def decide(outcome: pb.GenerationOutcome) -> None:
            if not waiter.decided.done():
                waiter.decided.set_result(outcome)

        self._saver.read_then(generation, lambda: outcome_of(generation, self._term.board.fleet.name_of), decide)

    def _outcome(self, waiter: Waiter) -> pb.GenerationOutcome:
        if waiter.decided.done():
            return waiter.decided.result()
        waiter.decided.cancel()
        waiting = self._waiters.get(GenerationId(waiter.submission.generation_id), [])
        if waiter in waiting:
            waiting.remove(waiter)
        return refusal(Unavailable("It is not decided yet; ask again with the same ids."))

    def _make(self, submission: pb.SubmitGeneration) -> Generation:
        term = self._term
        requester, spec = submission.requester, submission.spec
        account_id = AccountId(requester.account_id)
        anonymous = account_id == ANONYMOUS
        ttl_ms = wire.ttl_ms_of(spec)
        image = spec.job.image
        generation = Generation(
            generation_id=GenerationId(submission.generation_id),
            request_id=submission.request_id,
            account_id=account_id,
            digest=requester.anonymous_digest,
            spec=spec.SerializeToString(deterministic=True),
            quote=submission.quote.SerializeToString(),
            terms=wire.terms_of(spec, submission.quote),
            seed=image.seed if image.HasField("seed") else self._ids.new().int % SEED_SPACE,
            flow=f"{ANONYMOUS}/{submission.address_bucket}" if anonymous else account_id,
            weight=ANONYMOUS_WEIGHT if anonymous else weight_of(submission.balance_mkudos),
            accepted_at_ms=term.now_ms(),
            ttl_ms=ttl_ms,
            deadline=term.now() + ttl_ms / 1000,
            traceparent=submission.traceparent[:64],
            address_bucket=submission.address_bucket,
        )
        make_jobs(generation, (self._ids.new().hex for _ in range(spec.count)))
        return generation

    def answer(self, generation: Generation) -> None:
        """The accepting is decided."""
        for then in self._watchers.pop(generation.generation_id, ()):
            then()
        waiters = self._waiters.pop(generation.generation_id, ())
        if not waiters:
            return
        failpoint_sync(BEFORE_ANSWER)
        outcome = outcome_of(generation, self._term.board.fleet.name_of)
        for waiter in waiters:
            if not waiter.decided.done():
                waiter.decided.set_result(outcome)

    def forgotten(self, generation: Generation, words: bytes) -> None:
        """The accepting came to nothing."""
        outcome = pb.GenerationOutcome(error=status_pb2.Status.FromString(words))
        for waiter in self._waiters.pop(generation.generation_id, ()):
            if not waiter.decided.done():
                waiter.decided.set_result(outcome)

    def taken(self, generations: Sequence[Generation], stored: Sequence[Stored]) -> None:
        """These ids were used before, and what they stand for is over: that is the answer."""
        for generation in generations:
            generation.closed = True
            self._term.board.forget(generation)
        for found in stored:
            known = self._term.remember(found)
            for waiter in self._waiters.pop(known.generation_id, ()):
                if waiter.decided.done():
                    continue
                try:
                    compare(known, waiter.submission)
                    waiter.decided.set_result(outcome_of(known, self._term.board.fleet.name_of))
                except ServiceError as error:
                    waiter.decided.set_result(refusal(error))


def check(submission: pb.SubmitGeneration) -> None:
    """What a gateway must have checked; raises InvalidField with every wrong field."""
    spec, wrong = submission.spec, []
    try:
        if str(UUID(submission.generation_id)) != submission.generation_id:
            raise ValueError
        expected = generation_id_of(wire.text_of(submission.requester), submission.request_id)
        if submission.generation_id != expected:
            wrong.append(FieldViolation("generation_id", "not uuid5 of requester and request_id"))
    except ValueError:
        wrong.append(FieldViolation("generation_id", "not a UUID in canonical form"))
    if not submission.requester.account_id:
        wrong.append(FieldViolation("requester.account_id", "missing"))
    if submission.requester.account_id == ANONYMOUS and len(submission.requester.anonymous_digest) != 32:
        wrong.append(FieldViolation("requester.anonymous_digest", "not 32 bytes"))
    if not spec.job.model:
        wrong.append(FieldViolation("spec.job.model", "missing"))
    if spec.job.WhichOneof("kind") != "image":
        wrong.append(FieldViolation("spec.job", "not a kind of work that is known here"))
    image = spec.job.image
    wrong += [
        FieldViolation(f"spec.job.image.{name}", "below 1")
        for name in ("width", "height", "steps")
        if getattr(image, name) < 1
    ]
    if not 1 <= spec.count <= MAX_COUNT:
        wrong.append(FieldViolation("spec.count", f"not 1 to {MAX_COUNT}"))
    if not 1000 <= wire.ttl_ms_of(spec) <= MAX_TTL_MS:
        wrong.append(FieldViolation("spec.time_to_live", "not 1 second to 24 hours"))
    if not submission.quote.placement:
        wrong.append(FieldViolation("quote.placement", "missing"))
    parts = submission.quote.per_image
    if (
        parts.price_mkudos < 0
        or parts.tax_mkudos < 0
        or any(surcharge.amount_mkudos < 0 for surcharge in parts.surcharges)
    ):
        wrong.append(FieldViolation("quote.per_image", "below 0"))
    if wrong:
        raise InvalidField(violations=wrong)


def compare(known: Generation, submission: pb.SubmitGeneration) -> None:
    """The same id must mean the same; raises RequestConflict, which names the first field that differs."""
    spec = submission.spec.SerializeToString(deterministic=True)
    requester = submission.requester
    if (requester.account_id, requester.anonymous_digest) != (known.account_id, known.digest):
        raise RequestConflict(metadata={"field": "requester"})
    if known.spec and spec != known.spec:  # Without a spec it is a tombstone.
        field = wire.first_difference(generation_pb2.GenerationSpec.FromString(known.spec), submission.spec, "spec")
        if field:
            raise RequestConflict(metadata={"field": field})


def outcome_of(generation: Generation, names: wire.Names) -> pb.GenerationOutcome:
    """What is answered once the accepting is decided."""
    if generation.phase is Phase.REFUSED or generation.deletion is not Deletion.NONE:
        return pb.GenerationOutcome(error=status_pb2.Status.FromString(generation.refusal))
    return pb.GenerationOutcome(generation=wire.generation_message(generation, names))


def bounded(outcomes: Iterable[pb.GenerationOutcome], max_bytes: int | None = None) -> list[pb.GenerationOutcome]:
    """Answers that fit into one message together; what does not fit is UNAVAILABLE, to be asked for again."""
    room = MAX_ANSWER_BYTES if max_bytes is None else max_bytes
    fitting: list[pb.GenerationOutcome] = []
    for outcome in outcomes:
        bytes_ = outcome.ByteSize()
        if fitting and bytes_ > room:
            fitting.append(refusal(Unavailable("It is too large for this answer; ask again for less at once.")))
            continue
        fitting.append(outcome)
        room -= bytes_
    return fitting


def refusal(error: ServiceError) -> pb.GenerationOutcome:
    return pb.GenerationOutcome(error=to_status(error))
