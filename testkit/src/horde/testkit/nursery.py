"""Processes of a mesh out of one that has loaded their modules already: a fork in place of a second of imports each.

What is forked has no threads yet and has never used gRPC: it has only imported. Each child gets its own environment,
session, standard streams and command line, becomes its program the way that `horde.cli.local.child` does, and has a
process id that can be killed, stopped and waited for like any other. It promises nothing about what starting a program
proves by itself, that its modules suffice: `tests/service` starts each service as people do.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import horde
from horde.cli.local import child as local_child
from horde.cli.local.processes import MAX_LINE_BYTES, Child, ProcessEnded, start_python
from horde.cli.local.processes import environment as environment_of_ours

LOADED: Final = (
    "horde.ledger.__main__",
    "horde.storage_router.__main__",
    "horde.scheduler.__main__",
    "horde.gateway.__main__",
    "horde.curation.__main__",
    "horde.webhooks.__main__",
    "horde.web_door.__main__",
    "horde.worker_agent.__main__",
    "horde.worker_agent.painters.scripted",
)
MAX_MESSAGE: Final = 1 << 17


class Forked:
    """A process that the nursery made, as `asyncio.subprocess.Process` shows one."""

    def __init__(self, pid: int, over: Future[int], stdin: int, stdout: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stdout: asyncio.StreamReader | None = stdout
        self._over = over
        # Its end is the parent's: held open for as long as the child runs.
        over.add_done_callback(lambda _: os.close(stdin))

    @property
    def returncode(self) -> int | None:
        return self._over.result() if self._over.done() else None

    def send_signal(self, number: int) -> None:
        """Raises ProcessLookupError if it is gone."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """The same with SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end; gives its exit status."""
        return await asyncio.shield(asyncio.wrap_future(self._over))


class Nursery:
    """Starts children. One for each process that tests run in; it ends with that process, or when it is closed."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._born: Future[tuple[int, Future[int]]] = Future()
        self._running: dict[int, Future[int]] = {}
        self._roots = {str(Path(folder).parent) for folder in horde.__path__}
        self._process: subprocess.Popen[bytes] | None = None
        self._socket, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def close(self) -> None:
        """End the one that loaded all. Its children are told by their own parents."""
        self._socket.shutdown(socket.SHUT_RDWR)
        if self._process is not None:
            self._process.wait()
        self._socket.close()
        self._theirs.close()

    async def start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start `python ARGUMENTS`, with a pipe as its input and one for all that it says.

        With other code than ours (`PYTHONPATH`) as usual, by a new interpreter.
        """
        if not self._roots <= {*environment.get("PYTHONPATH", "").split(os.pathsep)}:
            return await start_python(arguments, environment)
        stdin, our_stdin = os.pipe()
        our_stdout, stdout = os.pipe()
        wanted = {"arguments": [*arguments], "environment": {**environment}, "folder": str(Path.cwd())}
        try:
            pid, over = await asyncio.to_thread(self._ask, json.dumps(wanted).encode(), (stdin, stdout))
        finally:
            os.close(stdin)
            os.close(stdout)
        reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(our_stdout, "rb", 0)
        )
        return Forked(pid, over, our_stdin, reader)

    def _load(self) -> None:
        theirs = self._theirs.fileno()
        command = [sys.executable, "-m", "horde.testkit.nursery", str(theirs)]
        self._process = subprocess.Popen(
            command, pass_fds=[theirs], env=environment_of_ours(), stdin=subprocess.DEVNULL
        )
        self._theirs.close()
        threading.Thread(target=self._listen, name="nursery", daemon=True).start()

    def _ask(self, message: bytes, files: Sequence[int]) -> tuple[int, Future[int]]:
        with self._asking:
            if self._process is None:
                self._load()
            self._born = Future()
            socket.send_fds(self._socket, [message], files)
            return self._born.result()

    def _listen(self) -> None:
        while message := self._socket.recv(MAX_MESSAGE):
            news: dict[str, int] = json.loads(message)
            if "born" in news:
                over = self._running[news["born"]] = Future()
                self._born.set_result((news["born"], over))
            else:
                self._running.pop(news["gone"]).set_result(news["status"])
        ended = ProcessEnded("the nursery ended")
        if not self._born.done():
            self._born.set_exception(ended)
        for over in self._running.values():
            over.set_exception(ended)


def _serve(connection: socket.socket) -> dict[str, Any]:
    """Make children, and tell of their ends. Comes back in each child, with what it was asked to be."""
    waking, woken = socket.socketpair()
    for end in (waking, woken):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(woken.fileno())
    while True:
        ready, _, _ = select.select([connection, waking], [], [])
        if waking in ready:
            with contextlib.suppress(BlockingIOError):
                waking.recv(4096)
            _bury(connection)
        if connection in ready:
            message, files, _, _ = socket.recv_fds(connection, MAX_MESSAGE, 2)
            if not message:
                os._exit(0)
            if not (pid := os.fork()):
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for end in (waking, woken, connection):
                    end.close()
                wanted: dict[str, Any] = json.loads(message)
                _take_streams(*files)
                return wanted
            connection.send(json.dumps({"born": pid}).encode())
            for file in files:
                os.close(file)


def _bury(connection: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            status = os.waitstatus_to_exitcode(ended[1])
            connection.send(json.dumps({"gone": ended[0], "status": status}).encode())


def _take_streams(stdin: int, stdout: int) -> None:
    os.setsid()
    for source, number in ((stdin, 0), (stdout, 1), (stdout, 2)):
        os.dup2(source, number)
    for source in {stdin, stdout}:
        os.close(source)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = (
        open(number, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        for number in (1, 2)
    )


def _become(wanted: Mapping[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir(wanted["folder"])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sys.path]
    # As Python does for `-m`.
    sys.path[:0] = [wanted["folder"], *paths]
    sys.argv = [local_child.__file__, *wanted["arguments"]]
    local_child.main()


def main() -> None:
    """Load all, then be a nursery on the socket of this number; in a child, be its program."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    for name in LOADED:
        import_module(name)
        if name.endswith("__main__"):
            # It runs anew, as the program.
            del sys.modules[name]
    # No page is written to by the collector that the children could share.
    gc.collect()
    gc.freeze()
    _become(_serve(connection))


if __name__ == "__main__":
    main()
