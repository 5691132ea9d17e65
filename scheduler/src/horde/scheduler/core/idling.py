"""Why a worker that is here is given nothing: what keeps jobs from it, and what waits for others.

It costs nothing while nothing happens: a worker is told when what hinders it has changed, and when it asks. Of what
waits MAX_BUCKETS kinds of jobs are looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from horde.scheduler.core.board import Board
from horde.scheduler.core.capability import Bucket
from horde.scheduler.core.effects import SayIdle
from horde.scheduler.core.fitting import WhyNot, why_not
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.hindrances import Cause, Hindrance, Report

ANSWER_PAUSE = 10.0
"""Seconds between two answers to one session."""
TELL_PAUSE = 60.0
"""Seconds between two reports that nobody asked for; what changes sooner is in the next one."""
MAX_BUCKETS = 256
NEW_OWNER = (
    "The workers of a new owner hold few jobs together: one more with each image that somebody else has paid for."
)


def asked(board: Board, worker: Worker, now: float) -> None:
    """A worker wants to know; who asks too often is answered seldom."""
    session = worker.session
    if session is None or session.route is None or now - session.idle_answered_at < ANSWER_PAUSE:
        return
    session.idle_answered_at = now
    board.emit(SayIdle(session.route, report(board, worker, now)))


def tell(board: Board, worker: Worker, now: float) -> None:
    """Something may hinder a worker now, or does so no more: tell it if it does nothing, and that is news."""
    session = worker.session
    if session is None or session.route is None or not session.hears_idle or worker.leases:
        return
    if not session.ready or now - session.idle_told_at < TELL_PAUSE:
        return
    hinders = tuple((hindrance.reason, hindrance.model) for hindrance in hindrances(worker, now))
    if hinders != session.idle_told:
        session.idle_told, session.idle_told_at = hinders, now
        board.emit(SayIdle(session.route, report(board, worker, now)))


def report(board: Board, worker: Worker, now: float) -> Report:
    """Why a worker is given nothing now."""
    jobs: Counter[int] = Counter()
    models: dict[int, Counter[str]] = {}
    for model, bucket in islice(_buckets(board), MAX_BUCKETS):
        reason = _why_not(board, worker, model, bucket)
        if reason is not None and bucket.live:
            jobs[reason] += bucket.live
            models.setdefault(reason, Counter())[model] += bucket.live
    causes = tuple(Cause(reason, count, models[reason].most_common(1)[0][0]) for reason, count in jobs.most_common())
    return Report(causes, hindrances(worker, now))


def hindrances(worker: Worker, now: float) -> tuple[Hindrance, ...]:
    """What keeps jobs from a worker, whatever waits."""
    found = []
    session = worker.session
    if worker.paused:
        found.append(Hindrance(WhyNot.PAUSED, detail="Its owner, or a moderator, has paused it."))
    if worker.rests_until:
        found.append(Hindrance(WhyNot.RESTING, ends_in=max(0.0, worker.rests_until - now)))
    if session is not None and not session.slots:
        found.append(Hindrance(WhyNot.NO_SLOTS, detail="It asks for nothing."))
    elif worker.standing.full:
        found.append(Hindrance(WhyNot.NO_SLOTS, detail=NEW_OWNER))
    found += [
        Hindrance(WhyNot.REFUSED_MODEL, model, max(0.0, until - now))
        for model, until in sorted(worker.withheld.items())
    ]
    return tuple(found)


def _buckets(board: Board) -> Iterator[tuple[str, Bucket]]:
    for model, queue in board.queue.models.items():
        for lane in (queue.named, queue.anonymous):
            for bucket in lane.buckets.values():
                yield model, bucket


def _why_not(board: Board, worker: Worker, model: str, bucket: Bucket) -> int | None:
    if model in worker.withheld:
        return WhyNot.REFUSED_MODEL
    return why_not(bucket.signature, worker, model, board.speeds)
