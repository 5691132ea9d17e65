"""What this machine is: where torch can compute, in which precision, and how much memory there is for it."""

from __future__ import annotations

import os
import threading
from importlib import import_module
from typing import Any, Self

SAMPLE_SECONDS = 0.005


def device() -> str:
    """torch's name of the best place to paint: `cuda:0` (ROCm answers to it, too), `mps` or `cpu`."""
    torch: Any = import_module("torch")
    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def others(place: str) -> tuple[str, ...]:
    """Further cards of this machine, beside the first."""
    torch: Any = import_module("torch")
    return tuple(f"cuda:{number}" for number in range(1, torch.cuda.device_count())) if place == "cuda:0" else ()


def usual_precision(place: str) -> str:
    """Weights in half precision fail or crawl on a processor."""
    return "float32" if place == "cpu" else "float16"


def device_class(place: str) -> str:
    """The kind of device, never which one it is."""
    if not place.startswith("cuda"):
        return place
    torch: Any = import_module("torch")
    major, minor = torch.cuda.get_device_capability(place)
    return f"{'rocm' if torch.version.hip else 'cuda'}-{major}.{minor}"


def free_bytes(place: str) -> int:
    """Memory that is free for painting: of the GPU if there is one, else of the machine."""
    if place.startswith("cuda"):
        torch: Any = import_module("torch")
        return int(torch.cuda.mem_get_info(place)[0])
    psutil: Any = import_module("psutil")
    return int(psutil.virtual_memory().available)


class PeakMemory:
    """How much the memory in use grew at most, during the block."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._process: Any = import_module("psutil").Process(os.getpid())
        self._over = threading.Event()
        self._first = 0
        self.bytes = 0

    def __enter__(self) -> Self:
        if self._place.startswith("cuda"):
            torch: Any = import_module("torch")
            torch.cuda.reset_peak_memory_stats(self._place)
            self._first = torch.cuda.memory_allocated(self._place)
        else:
            self._first = self._resident()
            self._watch = threading.Thread(target=self._sample, daemon=True)
            self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._place.startswith("cuda"):
            torch: Any = import_module("torch")
            self.bytes = max(0, torch.cuda.max_memory_allocated(self._place) - self._first)
        else:
            self._over.set()
            self._watch.join()

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, self._resident() - self._first)

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)
