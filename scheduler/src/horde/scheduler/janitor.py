"""Forgetting, a little at a time: what is older than the history that is kept, and workers that stay away."""

from __future__ import annotations

from horde.scheduler.core.errors import RefusedBefore
from horde.scheduler.engine import DAY_MS, KNOWN_DAYS, Engine
from horde.services import telemetry
from horde.services.errors import ServiceError
from horde.services.status import to_status

log = telemetry.get_logger(__name__)

FORGOTTEN = to_status(RefusedBefore()).SerializeToString()
"""What is answered to a request whose id is of something forgotten."""
PAUSE = 600.0
"""Seconds between two looks."""
AT_ONCE = 500
"""Rows of one transaction."""


async def sweep(engine: Engine, history_days: int) -> None:
    """Forget for ever; to be cancelled."""
    while True:
        await engine.clock.sleep(PAUSE)
        forget_workers(engine)
        try:
            while await engine.store.forget(engine.now_ms() - history_days * DAY_MS, AT_ONCE, FORGOTTEN) == AT_ONCE:
                await engine.clock.sleep(1.0)
            while await engine.store.forget_workers(engine.now_ms() - KNOWN_DAYS * DAY_MS, AT_ONCE) == AT_ONCE:
                await engine.clock.sleep(1.0)
        except ServiceError as error:
            log.warning("the store does not answer", error=str(error))


def forget_workers(engine: Engine) -> None:
    """Workers that have not been here for long are not known any more; of those that are here, it is written daily."""
    board, now_ms = engine.board, engine.now_ms()
    for worker in list(board.fleet.workers.values()):
        if worker.session is not None:
            if worker.last_seen_ms < now_ms - DAY_MS:
                worker.last_seen_ms = now_ms
                board.dirty_workers[worker] = None
        elif worker.away and worker.last_seen_ms < now_ms - KNOWN_DAYS * DAY_MS:
            board.fleet.forget(worker)
    engine.flush()
