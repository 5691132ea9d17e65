"""From an empty folder to the first paid job: `horde worker join`, then `horde worker start`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tomllib
from pathlib import Path

import pytest
from tests.mesh.probing import Books, assert_done_and_paid, only, small

from horde.cli.local.mesh import LocalMesh
from horde.cli.local.processes import Process
from horde.clients.client import HordeClient
from horde.clients.credentials import mesh_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _horde(folder: Path, *arguments: str) -> tuple[int, str, str]:
    environment = os.environ | {
        "HORDE_CONFIG_DIR": str(folder),
        "HORDE_WORKER_PAINTER": "scripted",
        "HORDE_WORKER_NAME": "newcomer",
    }
    command = (sys.executable, "-m", "horde.cli.commands.main", *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_volunteer_joins_and_is_paid(
    mesh: LocalMesh, account: HordeClient, books: Books, tmp_path: Path
) -> None:
    at = ("--gateway", mesh.gateway)
    status, _, err = await _horde(tmp_path, "worker", "join", *at, "--no-start")
    assert status == 2
    assert "--new-account" in err

    join = ("worker", "join", *at, "--new-account", "Newcomer", "--no-start", "--json")
    status, out, err = await _horde(tmp_path, *join)
    assert status == 0, err
    config = Path(json.loads(out)["config"])
    assert config.parent == mesh_folder(mesh.gateway, tmp_path)
    key = (config.parent / "worker.key").read_text().strip()
    settings = tomllib.loads(config.read_text())
    assert settings["gateway"] == mesh.gateway
    assert Path(settings["api_key_file"]).stat().st_mode & 0o077 == 0
    assert key not in config.read_text() + out

    # Again: nothing is made anew.
    status, out, err = await _horde(tmp_path, *join)
    assert (status, (config.parent / "worker.key").read_text().strip()) == (0, key), err

    started = await Process.start(
        "newcomer",
        ("-m", "horde.worker_agent", "--config", str(config), "--painter", "scripted", "--name", "newcomer"),
        dict(os.environ),
        lambda name, line: None,
    )
    others = ("anna", "bert", "cleo")
    try:
        # Nobody else is there to take it.
        await asyncio.gather(*(mesh.processes[name].stop(60) for name in others))
        generation = await account.generations.create(small("by the newcomer"))
        ended = await account.generations.finish(generation.generation_id)
        assert only(ended).worker_name == "newcomer"
        await assert_done_and_paid(books, ended)
    finally:
        await started.stop(60)
        for name in others:
            await mesh.restart_worker(name)


async def test_the_doctor_names_what_is_wrong(mesh: LocalMesh, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("x\n")
    key.chmod(0o644)
    options = ("--api-key-file", str(key), "--state-dir", str(tmp_path), "--config", os.devnull)
    status, out, _ = await _horde(tmp_path, "worker", "doctor", "--gateway", "127.0.0.1:9", *options, "--json")
    verdicts = {verdict["about"]: verdict["is"] for verdict in json.loads(out)}
    assert status == 1
    assert (verdicts["key"], verdicts["mesh"], verdicts["disk"]) == ("bad", "bad", "good")
    key.chmod(0o600)
    status, out, _ = await _horde(tmp_path, "worker", "doctor", "--gateway", mesh.gateway, *options)
    assert status == 0, out
    assert "storage" in out
