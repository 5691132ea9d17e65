"""Previews between gateways: from the one that holds the worker to those that hold somebody who watches.

Each gateway tells the others which generations are watched at its door, when that begins and when it ends, and again to
one that has just joined; nothing is said for somebody who goes on watching. A gateway that has not been heard for
SILENT_SECONDS watches nothing. All of it may be lost: then a preview is not seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from horde.gateway.core.previews import Glimpse, Previews, Sink
from horde.services.clock import Clock
from horde.services.shared.port import Shared

WATCHING: Final = "watching"
"""The topic of what is watched where."""
ALIVE_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 30.0
IDS_AT_ONCE: Final = 1_000
"""Generations of one piece of news."""
MAX_GATEWAYS: Final = 1_000
MAX_WATCHED_THERE: Final = 20_000
"""Generations watched at one other gateway; further ones see no previews from here."""


class _Other:
    """Another gateway: when it was last heard, and what is watched there."""

    def __init__(self, heard_at: float) -> None:
        self.heard_at = heard_at
        self.watched: dict[str, Sink] = {}


class PreviewNews:
    """Brings previews to who watches here, whichever gateway holds the worker."""

    def __init__(self, previews: Previews, shared: Shared, clock: Clock, gateway_id: str) -> None:
        self._previews = previews
        self._shared = shared
        self._clock = clock
        self._id = gateway_id
        self._sinks: dict[str, set[Sink]] = {}
        self._others: dict[str, _Other] = {}
        shared.subscribe(WATCHING, self._heard)
        shared.subscribe(_topic(gateway_id), self._seen)
        shared.on_joined(self._joined)

    def watch(self, generation_id: str, sink: Sink) -> None:
        """Somebody here, who may fetch the images, wants to see them grow."""
        sinks = self._sinks.setdefault(generation_id, set())
        if not sinks:
            self._say(watch=[generation_id])
        sinks.add(sink)
        self._previews.watch(generation_id, sink)

    def unwatch(self, generation_id: str, sink: Sink) -> None:
        """That somebody looks away."""
        self._previews.unwatch(generation_id, sink)
        sinks = self._sinks.get(generation_id)
        if sinks is None:
            return
        sinks.discard(sink)
        if not sinks:
            del self._sinks[generation_id]
            self._say(unwatch=[generation_id])

    async def run(self) -> None:
        """Say that this gateway is there, and forget those that are not. Runs until cancelled."""
        while True:
            await self._clock.sleep(ALIVE_SECONDS)
            if self._sinks:
                self._say()
            silent_since = self._clock.monotonic() - SILENT_SECONDS
            for gateway_id in [name for name, other in self._others.items() if other.heard_at < silent_since]:
                self._forget(gateway_id)

    def _joined(self) -> None:
        """Among the others (again): what they watch was not heard, nor they what is watched here."""
        for gateway_id in tuple(self._others):
            self._forget(gateway_id)
        self._say(again=True)
        self._restate()

    def _restate(self) -> None:
        watched = list(self._sinks)
        for start in range(0, len(watched), IDS_AT_ONCE):
            self._say(watch=watched[start : start + IDS_AT_ONCE])

    def _say(self, watch: Iterable[str] = (), unwatch: Iterable[str] = (), *, again: bool = False) -> None:
        news = {"gateway": self._id, "watch": list(watch), "unwatch": list(unwatch), "again": again}
        self._shared.publish(WATCHING, json.dumps(news).encode())

    def _heard(self, news: bytes) -> None:
        watches = _read(news, _WATCHES)
        if watches is None or watches["gateway"] == self._id:
            return
        gateway_id: str = watches["gateway"]
        other = self._others.get(gateway_id)
        if other is None:
            if len(self._others) >= MAX_GATEWAYS:
                return
            other = self._others[gateway_id] = _Other(self._clock.monotonic())
        other.heard_at = self._clock.monotonic()
        for generation_id in watches["watch"]:
            if generation_id not in other.watched and len(other.watched) < MAX_WATCHED_THERE:
                sink = other.watched[generation_id] = partial(self._pass_on, gateway_id, generation_id)
                self._previews.watch(generation_id, sink)
        for generation_id in watches["unwatch"]:
            if (gone := other.watched.pop(generation_id, None)) is not None:
                self._previews.unwatch(generation_id, gone)
        if watches["again"]:
            self._restate()

    def _forget(self, gateway_id: str) -> None:
        for generation_id, sink in self._others.pop(gateway_id).watched.items():
            self._previews.unwatch(generation_id, sink)

    def _pass_on(self, gateway_id: str, generation_id: str, glimpse: Glimpse) -> None:
        facts = {"generation": generation_id, "job": glimpse.job_id, "lease": glimpse.lease_id, "step": glimpse.step}
        self._shared.publish(_topic(gateway_id), json.dumps(facts).encode() + b"\0" + glimpse.image)

    def _seen(self, news: bytes) -> None:
        head, _, image = news.partition(b"\0")
        read_back = _read(head, _GLIMPSE)
        if read_back is None:
            return
        glimpse = Glimpse(read_back["job"], read_back["lease"], read_back["step"], image)
        for sink in tuple(self._sinks.get(read_back["generation"], ())):
            sink(glimpse)


_WATCHES: Final = {"gateway": str, "watch": list, "unwatch": list, "again": bool}
_GLIMPSE: Final = {"generation": str, "job": str, "lease": str, "step": int}


def _read(news: bytes, fields: Mapping[str, type]) -> dict[str, Any] | None:
    """What another gateway says; None if it makes no sense: it may be newer, or not a gateway."""
    try:
        plain = json.loads(news)
    except ValueError:
        return None
    if not isinstance(plain, dict) or not all(isinstance(plain.get(name), kind) for name, kind in fields.items()):
        return None
    if not all(isinstance(item, str) for listed in plain.values() if isinstance(listed, list) for item in listed):
        return None
    return plain


def _topic(gateway_id: str) -> str:
    return f"previews/{gateway_id}"
