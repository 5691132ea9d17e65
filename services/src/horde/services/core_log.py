"""What gRPC's core writes to standard error, as lines of our log: it is in C++, and asks nobody how a log looks."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from horde.services import telemetry
from horde.services.certificates import meaning

log = telemetry.get_logger(__name__)

LINE: Final = re.compile(r"[IWEF]\d{4} [\d:.]+ +\d+ (?P<where>\S+:\d+)\] (?P<words>.*)")
HANDSHAKE: Final = "Handshake failed with error"
QUIET_SECONDS: Final = 60.0
"""Between two lines about callers' handshakes that fail for the same reason: a caller tries again every second."""


class Lines:
    """Tells the core's lines from others'."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def take(self, line: str) -> bool:
        """Log a line if it is the core's; False if it is somebody else's."""
        found = LINE.match(line)
        if found is None:
            return False
        words = found["words"]
        if HANDSHAKE in words:
            self._handshake(meaning(words.partition(HANDSHAKE)[2]))
        else:
            log.info("grpc", words=words, where=found["where"])
        return True

    def _handshake(self, why: str) -> None:
        now = self._monotonic()
        self._unsaid[why] = self._unsaid.get(why, 0) + 1
        if now - self._last.get(why, float("-inf")) < QUIET_SECONDS or len(self._last) > 100:
            return
        self._last[why] = now
        log.warning("the TLS handshake with somebody fails", why=why, failures=self._unsaid.pop(why))


@contextmanager
def core_log() -> Iterator[None]:
    """Read what is written to the process's standard error beside Python, for as long as the block."""
    real = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    own = os.fdopen(os.dup(real), "w", buffering=1, encoding="utf-8", errors="replace")
    before, sys.stderr = sys.stderr, own
    lines = Lines()

    def pump() -> None:
        with os.fdopen(reading, encoding="utf-8", errors="replace") as source:
            for line in source:
                if not lines.take(line):
                    own.write(line)
                    own.flush()

    thread = threading.Thread(target=pump, name="core-log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # The pipe ends when nobody has it any more; children may, and are not waited for.
        os.dup2(real, 2)
        os.close(real)
        thread.join(0.2)
        sys.stderr = before
        if not thread.is_alive():
            own.close()
