"""How each service fares by its metrics: read twice, the difference is what it did meanwhile."""

from __future__ import annotations

import math
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Final

CALLS: Final = "rpc_server_call_duration_seconds"
SETTLED: Final = "horde_ledger_settled_total"
DEFECTS: Final = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNIMPLEMENTED", "UNAVAILABLE"})
"""Status codes that are nobody's wish: the others are answers to what was asked."""
SCRAPE_SECONDS: Final = 3.0
TAIL: Final = 0.99


@dataclass(frozen=True)
class Scrape:
    """A service's counters at one moment."""

    service: str
    at: float
    """Seconds, of any clock that goes forward."""
    calls: float = 0
    defects: float = 0
    durations: Mapping[float, float] = field(default_factory=dict)
    """Calls that took at most so many seconds."""
    settled: Mapping[str, float] = field(default_factory=dict)
    """Milli-kudos, by where they went."""


@dataclass(frozen=True)
class ServiceLine:
    """One service, as it is shown."""

    address: str
    service: str
    problem: str = ""
    """Why nothing is known of it; empty if something is."""
    calls_a_second: float | None = None
    """None until it was read twice."""
    defects_a_second: float | None = None
    tail_seconds: float | None = None
    """99 of a hundred calls since the last look took at most this; None without calls."""
    mkudos_a_second: Mapping[str, float] = field(default_factory=dict)


def read(text: str, at: float) -> Scrape:
    """What a service exports. Raises ValueError for what is not Prometheus' text."""
    from prometheus_client.parser import text_string_to_metric_families

    service, calls, defects = "", 0.0, 0.0
    durations: defaultdict[float, float] = defaultdict(float)
    settled: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            match sample.name:
                case "target_info":
                    service = sample.labels.get("service_name", "")
                case name if name == f"{CALLS}_count":
                    calls += sample.value
                    if sample.labels.get("rpc_response_status_code") in DEFECTS:
                        defects += sample.value
                case name if name == f"{CALLS}_bucket":
                    durations[float(sample.labels["le"])] += sample.value
                case name if name == SETTLED:
                    settled[sample.labels.get("part", "")] += sample.value
                case _:
                    pass
    return Scrape(service, at, calls, defects, durations, settled)


def line(address: str, now: Scrape, before: Scrape | None) -> ServiceLine:
    """A service by two looks. One that was started anew between them is looked at as if for the first time."""
    if before is None or now.calls < before.calls or now.at <= before.at:
        return ServiceLine(address, now.service)
    seconds = now.at - before.at
    return ServiceLine(
        address,
        now.service,
        calls_a_second=(now.calls - before.calls) / seconds,
        defects_a_second=(now.defects - before.defects) / seconds,
        tail_seconds=tail({le: count - before.durations.get(le, 0) for le, count in now.durations.items()}),
        mkudos_a_second={
            part: (amount - before.settled.get(part, 0)) / seconds for part, amount in sorted(now.settled.items())
        },
    )


def tail(durations: Mapping[float, float]) -> float | None:
    """The smallest bound that 99 of a hundred calls stayed within; infinite beyond the largest."""
    every = max(durations.values(), default=0.0)
    if every <= 0:
        return None
    return next((le for le, count in sorted(durations.items()) if count >= TAIL * every), math.inf)


def scraped(address: str, at: float) -> Scrape:
    """Read one service's metrics, over HTTP. Raises OSError or ValueError."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=SCRAPE_SECONDS) as answer:
            return read(answer.read().decode(), at)
    except HTTPException as error:
        # The port beside it, of gRPC, for example.
        raise ValueError(f"no metrics are shown there: {type(error).__name__}") from None


def addresses(names: Iterable[tuple[str, str]]) -> list[str]:
    """Where the services of an environment show their metrics: what HORDE_…_METRICS_LISTEN say."""
    found = {
        value.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - where to look, not where to listen
        for name, value in names
        if name.startswith("HORDE_") and name.endswith("_METRICS_LISTEN") and value
    }
    return sorted(found)
