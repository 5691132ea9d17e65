"""An overview as lines and tables. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from horde.api.worker.v1.worker_pb2 import WorkerState
from horde.cli.commands.output import cut, kudos, plural, seconds, short

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from horde.api.model.v1.model_service_pb2 import Model
    from horde.api.statistics.v1.statistics_service_pb2 import Totals
    from horde.api.worker.v1.worker_pb2 import Worker
    from horde.cli.overview.seen import Overview, Seen
    from horde.cli.overview.services import ServiceLine

NAME_COLUMNS: Final = 24
MAX_MODELS: Final = 12
ORDER: Final = (
    WorkerState.WORKER_STATE_BUSY,
    WorkerState.WORKER_STATE_DRAINING,
    WorkerState.WORKER_STATE_READY,
    WorkerState.WORKER_STATE_PAUSED,
    WorkerState.WORKER_STATE_AWAY,
)
"""Who is told first of."""


def drawn(seen: Seen, *, rows: int) -> RenderableType:
    """Everything that was seen, with at most so many rows of workers."""
    parts: list[RenderableType] = []
    if seen.problem:
        parts.append(Text(f"the mesh does not answer: {seen.problem}", style="red"))
    if seen.overview is not None:
        parts += [*_summary(seen.overview), Text(), _models(seen.overview.models)]
        parts += [Text(), _workers(seen.overview.workers, rows)]
    if seen.services:
        parts += [Text(), _services(seen.services)]
    return Group(*parts)


def _summary(overview: Overview) -> list[RenderableType]:
    busy, totals = overview.performance, overview.totals
    ready = f"{busy.workers_busy} of {plural(busy.workers_busy + busy.workers_ready, 'worker')} busy"
    paused = f", {busy.workers_paused} paused" if busy.workers_paused else ""
    speed = f"{busy.milli_megapixel_steps_last_minute / 1000:,.1f} megapixel-steps in the last minute"
    name = [Text(overview.mesh.name, style="bold")] if overview.mesh.name else []
    return [
        *name,
        Text(f"{plural(busy.jobs_queued, 'job')} waiting, {busy.jobs_leased} painting; {ready}{paused}; {speed}"),
        Text("; ".join(_made(name, part) for name, part in (("minute", totals.minute), ("day", totals.day)))),
    ]


def _made(name: str, totals: Totals) -> str:
    flow = f"{kudos(totals.minted_mkudos)} kudos minted, {kudos(totals.burned_mkudos)} burned"
    return f"last {name}: {plural(totals.images_done, 'image')}, {totals.images_failed} failed, {flow}"


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, no_wrap=True, justify="right" if number else "left")
    return table


def _models(models: Sequence[Model]) -> RenderableType:
    table = _table("model", "workers", "waiting", "painting", "wait", "a step", "kudos/h")
    longest = sorted(models, key=lambda model: (-model.jobs_queued, -model.jobs_leased, -model.workers, model.name))
    for model in longest[:MAX_MODELS]:
        wait = f"{_span(model.wait.p50)} to {_span(model.wait.p90)}" if model.HasField("wait") else "-"
        style = "red" if model.jobs_queued and not model.workers else ""
        step = f"{model.megapixel_step.ToMilliseconds()} ms" if model.HasField("megapixel_step") else "-"
        earns = kudos(model.mkudos_an_hour) if model.mkudos_an_hour else "-"
        counts = (str(model.workers), str(model.jobs_queued), str(model.jobs_leased))
        # Names are of strangers: text, not markup.
        table.add_row(Text(cut(model.name, NAME_COLUMNS)), *counts, wait, step, earns, style=style)
    return _and_more(table, len(longest) - MAX_MODELS, "model")


def _workers(workers: Sequence[Worker], rows: int) -> RenderableType:
    table = _table("worker", "id", "state", "busy", "done", "failed", "models")
    here = [worker for worker in workers if worker.state != WorkerState.WORKER_STATE_AWAY]
    for worker in sorted(here, key=lambda worker: (ORDER.index(worker.state), -worker.leases, worker.name))[:rows]:
        state = WorkerState.Name(worker.state).removeprefix("WORKER_STATE_").lower()
        models = cut(", ".join(offer.name for offer in worker.capabilities.models), NAME_COLUMNS)
        counts = (f"{worker.leases}/{worker.slots}", str(worker.images_done), str(worker.jobs_failed))
        table.add_row(Text(cut(worker.name, NAME_COLUMNS)), short(worker.worker_id), state, *counts, Text(models))
    return _and_more(table, len(here) - rows, "worker")


def _services(services: Sequence[ServiceLine]) -> RenderableType:
    table = _table("service", "at", "calls/s", "defects/s", "99 % within", "kudos/s")
    for service in services:
        if service.problem:
            table.add_row(
                Text(service.service or "?"), Text(service.address), Text(f"away: {service.problem}"), style="red"
            )
            continue
        flow = ", ".join(f"{part} {rate / 1000:,.1f}" for part, rate in service.mkudos_a_second.items() if rate)
        bad = "red" if service.defects_a_second else ""
        speeds = (_rate(service.calls_a_second), _rate(service.defects_a_second), _within(service.tail_seconds))
        table.add_row(Text(service.service), Text(service.address), *speeds, Text(flow or "-"), style=bad)
    return table


def _and_more(table: Table, left: int, noun: str) -> RenderableType:
    return Group(table, Text(f"and {plural(left, noun)} more", style="dim")) if left > 0 else table


def _span(span: Duration) -> str:
    whole: timedelta = span.ToTimedelta()
    return seconds(whole.total_seconds())


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _within(value: float | None) -> str:
    if value is None:
        return "-"
    return "more" if math.isinf(value) else f"{value * 1000:g} ms"
