"""What this machine can do, from what was measured: arithmetic over a short benchmark and the memory that is free."""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_PIXELS = 4096 * 4096
"""The contract's largest picture."""
SMALLEST_OFFER = 512 * 512
"""A machine that has the memory offers this much however slow it is: slowness is the mesh's to weigh, not ours."""
BENCHMARK_SIDE = 256
BENCHMARK_STEPS = 3
"""The first step warms up and is not counted."""
USUAL_STEPS = 30
USUAL_BATCH = 4
"""Like pictures in one pass on a card, where they fit: past it the first of them waits longer than the rest gains."""
LONGEST_JOB_SECONDS = 240.0
"""A larger picture than can be painted in this time with the usual steps is not offered."""
LEAST_BYTES_PER_PIXEL = 4_096
"""Never believe less: decoding a megapixel with a usual VAE takes several gigabytes in full precision."""
SHARE_OF_FREE_MEMORY = 0.5
"""The rest stays with whoever else lives on this machine."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One benchmark: a picture of BENCHMARK_SIDE squared, painted once."""

    seconds_per_step: float
    bytes_used: int
    """By how much the most memory ever held grew; 0 where it did not grow."""
    bytes_free: int
    """Memory that is free for painting: of the GPU if there is one, else of the machine."""

    @property
    def ms_per_megapixel_step(self) -> float:
        """Milliseconds for one step of one megapixel."""
        return self.seconds_per_step * 1e3 / (BENCHMARK_SIDE**2 / 1e6)


def fitting_pixels(measured: Measured) -> int:
    """How many pixels fit into the memory at once, of one picture or of several."""
    per_pixel = max(LEAST_BYTES_PER_PIXEL, measured.bytes_used / BENCHMARK_SIDE**2)
    return int(measured.bytes_free * SHARE_OF_FREE_MEMORY / per_pixel)


def max_pixels(measured: Measured) -> int:
    """The largest width x height that fits the memory and, beyond SMALLEST_OFFER, the time."""
    milliseconds = max(measured.ms_per_megapixel_step, 1e-6)
    in_time = int(LONGEST_JOB_SECONDS * 1e3 / USUAL_STEPS / milliseconds * 1e6)
    return max(64 * 64, min(fitting_pixels(measured), max(in_time, SMALLEST_OFFER), LARGEST_PIXELS))
