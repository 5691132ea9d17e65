"""Glimpses of unfinished images: from the worker's stream straight to who watches, inside the gateway.

Never stored, never sent to the scheduler, and dropped before anything else. A worker is asked for previews of a lease
only while somebody who may fetch the image watches it. A preview is believed only from the worker that the lease was
lent to, by an assignment that went through this gateway: lease ids can be guessed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from horde.services.clock import Clock

MAX_PREVIEW_BYTES = 32 * 1024
MIN_SECONDS_BETWEEN = 0.9
"""A worker may send one a second; a little less, for clocks differ."""
MAX_LEASES = 50_000

_MAGIC = ((b"\xff\xd8\xff", b""), (b"\x89PNG\r\n\x1a\n", b""), (b"RIFF", b"WEBP"))


@dataclass(frozen=True, slots=True)
class Glimpse:
    """One preview, of a lease."""

    job_id: str
    lease_id: str
    step: int
    image: bytes


Sink = Callable[[Glimpse], None]
Wish = Callable[[str, bool], None]
"""Tells a worker whether previews of a lease (by id) are wanted."""


@dataclass(slots=True)
class _Lease:
    worker: str
    generation_id: str
    job_id: str
    wish: Wish | None
    wanted: bool = False
    last: float = field(default=float("-inf"))


class Previews:
    """Who paints what, and who watches it. `worker` is whatever names a worker, the same over its sessions."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        self._of_generation: dict[str, set[str]] = {}
        self._sinks: dict[str, set[Sink]] = {}
        self.shown = 0
        self.refused = 0

    def lent(self, worker: str, lease_id: str, job_id: str, generation_id: str, wish: Wish) -> None:
        """A lease was lent to a worker; asks it for previews if somebody watches."""
        self.ended(lease_id)
        self._leases[lease_id] = _Lease(worker, generation_id, job_id, wish)
        self._of_generation.setdefault(generation_id, set()).add(lease_id)
        if len(self._leases) > MAX_LEASES:
            self.ended(next(iter(self._leases)))
        self._ask(lease_id)

    def resumed(self, worker: str, lease_id: str, wish: Wish) -> None:
        """The worker is back on another stream and still works on a lease."""
        lease = self._leases.get(lease_id)
        if lease is not None and lease.worker == worker:
            lease.wish, lease.wanted = wish, False
            self._ask(lease_id)

    def ended(self, lease_id: str) -> None:
        """Nothing more will come of this lease."""
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            return
        siblings = self._of_generation[lease.generation_id]
        siblings.discard(lease_id)
        if not siblings:
            del self._of_generation[lease.generation_id]

    def ended_by(self, worker: str, lease_id: str) -> None:
        """A worker says that it has ended a lease; believed only of its own."""
        lease = self._leases.get(lease_id)
        if lease is not None and lease.worker == worker:
            self.ended(lease_id)

    def watch(self, generation_id: str, sink: Sink) -> None:
        """Somebody who may fetch the images wants to see them grow."""
        self._sinks.setdefault(generation_id, set()).add(sink)
        for lease_id in self._of_generation.get(generation_id, ()):
            self._ask(lease_id)

    def unwatch(self, generation_id: str, sink: Sink) -> None:
        """That somebody looks away."""
        sinks = self._sinks.get(generation_id, set())
        sinks.discard(sink)
        if not sinks:
            self._sinks.pop(generation_id, None)
            for lease_id in self._of_generation.get(generation_id, ()):
                self._ask(lease_id)

    def admit(self, worker: str, lease_id: str, image: bytes) -> bool:
        """Whether this worker's preview of a lease may be shown now, as far as can be told without decoding it."""
        lease = self._leases.get(lease_id)
        if lease is None or lease.worker != worker or not lease.wanted or not is_picture(image):
            self.refused += 1
            return False
        now = self._clock.monotonic()
        if now - lease.last < MIN_SECONDS_BETWEEN:
            self.refused += 1
            return False
        lease.last = now
        return True

    def pass_on(self, lease_id: str, step: int, image: bytes) -> None:
        """Show a preview to who watches, if the lease is still lent."""
        lease = self._leases.get(lease_id)
        if lease is None:
            return
        self.shown += 1
        glimpse = Glimpse(lease.job_id, lease_id, step, image)
        for sink in tuple(self._sinks.get(lease.generation_id, ())):
            sink(glimpse)

    def _ask(self, lease_id: str) -> None:
        lease = self._leases.get(lease_id)
        if lease is None or lease.wish is None:
            return
        wanted = lease.generation_id in self._sinks
        if wanted != lease.wanted:
            lease.wanted = wanted
            lease.wish(lease_id, wanted)


def is_picture(image: bytes) -> bool:
    """Whether it is small enough, and begins as a JPEG, PNG or WebP does."""
    if not 12 <= len(image) <= MAX_PREVIEW_BYTES:
        return False
    return any(image.startswith(start) and image[8 : 8 + len(then)] == then for start, then in _MAGIC)
