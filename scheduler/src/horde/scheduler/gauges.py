"""How full the scheduler is, for whoever watches: refreshed by the engine, read by exporters in threads of theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core.board import Board
from horde.scheduler.doors.fleet_reading import FleetReading

MAX_MODELS: Final = 100
"""Series of a gauge by model: strangers name models, and a time series is for ever. The longest queues are told."""

GAUGES: Final = (
    ("jobs", "{job}", "Jobs that have not ended"),
    ("sessions", "{session}", "Workers that are attached"),
    ("queued.jobs", "{job}", "Jobs that wait, by model"),
    ("queued.seconds", "s", "How long the queue of a model takes the workers that offer it"),
    ("leased.jobs", "{job}", "Jobs that are lent to a worker, by model"),
    ("model.workers", "{worker}", "Workers that offer a model"),
)

By = dict[str, str]


class Gauges:
    """Values of one moment, replaced whole."""

    def __init__(self, board: Board, fleet: FleetReading) -> None:
        self._board = board
        self._fleet = fleet
        self._values: dict[str, list[tuple[float, By]]] = {}
        meter = metrics.get_meter("horde.scheduler")
        for name, unit, description in GAUGES:
            meter.create_observable_gauge(f"horde.scheduler.{name}", [self._reader(name)], unit, description)

    def _reader(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, by) for value, by in self._values.get(name, ())]

        return read

    def refresh(self) -> None:
        """Look at the board."""
        shown = self._fleet.models(pb.ListModelsRequest(page_size=1000)).models
        longest = sorted(shown, key=lambda model: (-model.jobs_queued, -model.workers, model.name))[:MAX_MODELS]
        values: dict[str, list[tuple[float, By]]] = {
            "jobs": [(self._board.live_jobs, {})],
            "sessions": [(len(self._board.sessions), {})],
        }
        for model in longest:
            by = {"model": model.name}
            values.setdefault("queued.jobs", []).append((model.jobs_queued, by))
            values.setdefault("queued.seconds", []).append((seconds_queued(model), by))
            values.setdefault("leased.jobs", []).append((model.jobs_leased, by))
            values.setdefault("model.workers", []).append((model.workers, by))
        self._values = values


def seconds_queued(model: Any) -> float:
    """How long a model's queue takes its workers by their measured speed; one worker, where it has none."""
    step = model.megapixel_step.ToMicroseconds() / 1_000_000
    return float(model.queued_milli_megapixel_steps / 1000 * step / max(model.workers, 1))
