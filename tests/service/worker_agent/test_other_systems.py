"""The agent where nothing of POSIX is: its modules hidden, its signals gone, an event loop that refuses signals.

An imitation, not the real system: paths, processes and files are still those of the machine that runs this.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from horde.testkit.worker_agent import FakeMesh

HIDDEN = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog")
PRELUDE = f"""
import asyncio, multiprocessing, os, runpy, signal, subprocess, sys
# What the libraries themselves need here is imported before it is taken away.
import concurrent.futures, tempfile, filelock, psutil, grpc.aio, multiprocessing.popen_spawn_posix
for name in {HIDDEN!r}:
    sys.modules[name] = None
for name in ("geteuid", "getuid", "getgid", "fork", "killpg", "setsid", "sysconf"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM"):
    delattr(signal, name)
def refuses(*arguments):
    raise NotImplementedError
asyncio.SelectorEventLoop.add_signal_handler = refuses
"""


async def run(code: str, **environment: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PRELUDE + code,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stdout=PIPE,
        stderr=PIPE,
    )
    said, errors = await process.communicate()
    return process.returncode, said.decode() + errors.decode()


async def test_every_module_of_the_agent_and_of_the_chassis_can_be_imported() -> None:
    code = """
import importlib, json, pkgutil, horde.worker_agent, horde.services
names = []
for package in (horde.worker_agent, horde.services):
    names += [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(json.dumps(names))
"""
    status, said = await run(code)
    assert status == 0, said
    assert "horde.worker_agent.home" in json.loads(said.splitlines()[0])


async def test_a_worker_attaches_paints_and_leaves_when_told(mesh: FakeMesh, tmp_path: Path) -> None:
    environment = {
        "HORDE_WORKER_GATEWAY": mesh.target,
        "HORDE_WORKER_API_KEY": "secret",
        "HORDE_WORKER_PAINTER": "scripted",
        "HORDE_WORKER_STATE_DIR": str(tmp_path),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PRELUDE + "runpy.run_module('horde.worker_agent', run_name='__main__', alter_sys=True)",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stderr=PIPE,
    )
    try:
        await mesh.gateway.until(lambda: mesh.gateway.restatements())
        name = mesh.gateway.heard[0].hello.worker_name
        assert (tmp_path / "name").read_text() == name
        mesh.assign()
        await mesh.gateway.until(mesh.gateway.outcomes)
        assert mesh.gateway.outcomes()[0].HasField("painted")
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
