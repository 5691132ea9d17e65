"""A driver: the program that puts an SDK through the cases. JSON lines over its standard input and output.

A request is `{"id": 7, "op": "quote", ...}`; its answer `{"id": 7, "ok": {...}}` or `{"id": 7, "error": {...}}`.
What the operations are stands in `clients/README.md`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from horde.services.child_processes import wait_drained

Json = dict[str, Any]

LINE_BYTES: Final = 16 * 1024 * 1024
ANSWER_SECONDS: Final = 120.0
"""For what hangs; every operation has its own bound within it."""
PYTHON_DRIVER: Final = (sys.executable, "-m", "horde.cli.conform.python_driver")
HTTP_DRIVER: Final = (sys.executable, "-m", "horde.cli.conform.http_driver")
"""No SDK: the contract's paths, at a web door."""
V2_DRIVER: Final = (sys.executable, "-m", "horde.cli.conform.v2_driver")
"""No SDK: AI Horde's REST API, at a web door."""


class DriverFailed(Exception):
    """A driver ended, was silent for too long, or said what is no answer."""


CANNOT_SAY: Final = "CANNOT_SAY"
"""The code of an error by which a driver says that there is no way to ask for this where it asks."""


class Refused(Exception):
    """The SDK raised an error; `error` is it, as the protocol says it."""

    def __init__(self, error: Json) -> None:
        super().__init__(f"{error.get('code')} {error.get('reason', '')}: {error.get('message', '')}")
        self.error = error


class Driver:
    """A driver's process. Use `driving`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._count = 0

    async def do(self, op: str, **arguments: Any) -> Json:
        """Have one operation done. Raises Refused, DriverFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._count += 1
        line = json.dumps({"id": self._count, "op": op, **arguments}) + "\n"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._process.stdin.write(line.encode())
                await self._process.stdin.drain()
                raw = await self._process.stdout.readline()
            answer = json.loads(raw) if raw else {}
        except TimeoutError:
            raise DriverFailed(f"no answer to {op} in {ANSWER_SECONDS:.0f} s") from None
        except (ValueError, ConnectionError) as error:
            raise DriverFailed(f"{op}: {error}") from None
        if answer.get("id") != self._count:
            raise DriverFailed(f"{op}: {'the driver ended' if not raw else f'this is no answer: {raw[:200]!r}'}")
        if "error" in answer:
            raise Refused(answer["error"])
        found: Json = answer["ok"]
        return found


@asynccontextmanager
async def driving(command: Sequence[str] = PYTHON_DRIVER) -> AsyncIterator[Driver]:
    """Start a driver; it ends with the block. What it says on standard error is shown."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES
    )
    try:
        yield Driver(process)
    finally:
        if process.returncode is None:
            process.kill()
        await wait_drained(process)
