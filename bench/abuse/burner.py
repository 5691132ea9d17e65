"""Uses a share of one core and attacks nothing: `python burner.py SHARE`. Imports little: it costs what it says."""

from __future__ import annotations

import sys
import time

SLICE_SECONDS = 0.02


def burn(share: float) -> None:
    """Use this share of a core until the process is ended."""
    while True:
        began, used = time.monotonic(), time.process_time()
        while time.process_time() - used < SLICE_SECONDS * share:
            pass
        time.sleep(max(0.0, SLICE_SECONDS - (time.monotonic() - began)))


if __name__ == "__main__":
    burn(float(sys.argv[1]))
