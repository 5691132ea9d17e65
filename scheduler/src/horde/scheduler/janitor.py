"""Forgetting, a little at a time: what is older than the history that is kept, and workers that stay away."""

from __future__ import annotations

from horde.scheduler.core.errors import RefusedBefore
from horde.scheduler.term import Term
from horde.services import telemetry
from horde.services.errors import ServiceError
from horde.services.status import to_status

log = telemetry.get_logger(__name__)

FORGOTTEN = to_status(RefusedBefore()).SerializeToString()
"""What is answered to a request whose id is of something forgotten."""
DAY_MS = 24 * 3600 * 1000
KNOWN_DAYS = 30
"""How long a worker that stays away keeps its speeds, counters and pause; then its row is deleted."""
PAUSE = 600.0
"""Seconds between two looks."""
AT_ONCE = 100
"""Rows of one transaction."""


async def sweep(term: Term, history_days: int) -> None:
    """Forget for ever; to be cancelled."""
    while True:
        await term.clock.sleep(PAUSE)
        forget_workers(term)
        try:
            while await term.store.forget(term.now_ms() - history_days * DAY_MS, AT_ONCE, FORGOTTEN) == AT_ONCE:
                await term.clock.sleep(1.0)
            while await term.store.forget_workers(term.now_ms() - KNOWN_DAYS * DAY_MS, AT_ONCE) == AT_ONCE:
                await term.clock.sleep(1.0)
            while await term.store.forget_owners(term.now_ms() - KNOWN_DAYS * DAY_MS, AT_ONCE) == AT_ONCE:
                await term.clock.sleep(1.0)
            while await term.store.forget_strikes(term.now_ms() - KNOWN_DAYS * DAY_MS, AT_ONCE) == AT_ONCE:
                await term.clock.sleep(1.0)
        except ServiceError as error:
            # What is too old today is no younger in ten minutes.
            log.debug("the store does not answer", error=str(error))


def forget_workers(term: Term) -> None:
    """Workers that have not been here for long are not known any more; of those that are here, it is written daily."""
    board, now_ms = term.board, term.now_ms()
    for worker in list(board.fleet.workers.values()):
        if worker.session is not None:
            if worker.last_seen_ms < now_ms - DAY_MS:
                worker.last_seen_ms = now_ms
                board.dirty_workers[worker] = None
        elif worker.away and worker.last_seen_ms < now_ms - KNOWN_DAYS * DAY_MS:
            board.fleet.forget(worker)
    term.flush()
