"""The models that are in memory. One comes in when it is asked for; those used longest ago go first to make room."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from horde.worker_agent.painters.models import ModelSource
from horde.worker_agent.painters.pipelines import Pipelines, load_pipelines
from horde.worker_agent.painters.weights import values_in

HEADROOM = 1.25
"""What a model takes beside its weights, to be painted with, as a factor."""
WIDER = {"float16": "bfloat16", "bfloat16": "float32"}
"""Where numbers of one precision overflow, those of the next may not."""
_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


class Shelf:
    """Loads models and lets them go."""

    def __init__(
        self,
        sources: Iterable[ModelSource],
        device: str,
        precision: str,
        free_bytes: Callable[[int], int],
        load: Callable[[ModelSource, str, str], Pipelines] = load_pipelines,
    ) -> None:
        """`free_bytes` says what is free, told what the models here take."""
        self._sources = {source.name: source for source in sources}
        self._device = device
        self._usual = precision
        self._precision = dict.fromkeys(self._sources, precision)
        self._free_bytes = free_bytes
        self._load = load
        self._lean: set[str] = set()
        self._bytes: dict[str, int] = {}
        self._models: OrderedDict[str, Pipelines] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._models

    def get(self, name: str) -> Pipelines:
        """A model, loaded if it is not in memory. Raises what loading raises."""
        if name in self._models:
            self._models.move_to_end(name)
            return self._models[name]
        self._make_room(self._needed(name))
        model = self._load(self._sources[name], self._device, self._precision[name])
        if name in self._lean:
            model.make_lean()
        self._bytes[name] = model.bytes
        self._models[name] = model
        return model

    def supply(self, sources: Iterable[ModelSource]) -> None:
        """Take models from these places from now on; what is in memory from another goes, and what was learnt of it."""
        fresh = {source.name: source for source in sources}
        for name in [name for name, source in self._sources.items() if fresh.get(name) != source]:
            self._precision.pop(name)
            self._bytes.pop(name, None)
            self._lean.discard(name)
            self.discard(name)
        self._sources = fresh
        self._precision = dict.fromkeys(fresh, self._usual) | self._precision

    def discard(self, name: str) -> None:
        """Forget what is in memory of a model: it may be damaged, and is loaded anew when it is next asked for."""
        if self._models.pop(name, None) is not None:
            self.sweep()

    def make_lean(self, name: str) -> bool:
        """Give a model all of the memory, and let it take less from now on; False if it takes the least already."""
        was_lean = name in self._lean
        self._lean.add(name)
        self._models.clear()
        self.sweep()
        return not was_lean

    def widen(self, name: str) -> bool:
        """Load a model in a wider precision from now on; False if it has the widest."""
        wider = WIDER.get(self._precision[name])
        if wider is None:
            return False
        self._precision[name] = wider
        self.discard(name)
        return True

    def _needed(self, name: str) -> int:
        """Bytes that a model takes: as measured the last time, else by its files; 0 where nothing is known."""
        source = self._sources[name]
        weights = self._bytes.get(name)
        if weights is None:
            weights = (
                0 if source.hub or source.stand_in else values_in(Path(source.place)) * _BYTES[self._precision[name]]
            )
        return int(weights * HEADROOM)

    def _make_room(self, needed: int) -> None:
        while self._models and needed > self._free_bytes(sum(self._bytes[name] for name in self._models)):
            self._models.popitem(last=False)
            self.sweep()

    def sweep(self) -> None:
        """Give back what nothing holds any more."""
        gc.collect()
        if self._device.startswith("cuda"):
            torch: Any = import_module("torch")
            torch.cuda.empty_cache()


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch means that memory was not to be had; on a processor it has no type of its own."""
    torch: Any = import_module("torch")
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
