"""The compose file for a house: what it names exists, and a mesh with its settings paints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.rendering import charts
from tests.documents import ROOT
from tests.mesh.probing import DONE, scripted, small
from tests.service.processes import started

from horde.cli.local.mesh import LocalMesh, free_ports, says_serving, to_nowhere
from horde.cli.local.roles import DEFAULT_PORTS, Layout, Role
from horde.services.settings_of import settings_of

FILE = ROOT / "deploy" / "compose.yaml"
COMPOSE: Mapping[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: Mapping[Role, Mapping[str, Any]] = {
    role: COMPOSE["services"][role.value] for role in Role if role is not Role.WORKER
}
TARGETS = re.findall(r"^FROM base AS (\S+)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
VERSION = yaml.safe_load((charts.CHART / "Chart.yaml").read_text())["appVersion"]


def test_every_service_is_there_with_its_image() -> None:
    assert {*(role.value for role in SERVICES), "network", "keys"} == set(COMPOSE["services"])
    for told in COMPOSE["services"].values():
        name, _, tag = told["image"].partition(":")
        assert name.removeprefix("horde-") in TARGETS
        assert tag == VERSION
        if "build" in told:
            assert told["build"]["target"] == name.removeprefix("horde-")
        assert {mount.partition(":")[0] for mount in told.get("volumes", ())} <= set(COMPOSE["volumes"])


def test_every_variable_is_a_setting_and_every_port_is_where_others_look_for_it() -> None:
    for role, told in SERVICES.items():
        for name in told["environment"]:
            assert name.startswith(role.prefix)
            assert name.removeprefix(role.prefix).lower() in settings_of(role.module).model_fields, name
        assert told["environment"][f"{role.prefix}LISTEN"].endswith(f":{DEFAULT_PORTS[role]}")
        assert told["network_mode"] == "service:network"
        assert told["read_only"]
    # What is not published listens on loopback alone: it is plain, and believes a key.
    published = {int(port.partition(":")[0]) for port in COMPOSE["services"]["network"]["ports"]}
    for role, told in SERVICES.items():
        host = told["environment"][f"{role.prefix}LISTEN"].partition(":")[0]
        assert (host == "127.0.0.1") is (DEFAULT_PORTS[role] not in published)


async def test_a_mesh_with_these_settings_paints(tmp_path: Path) -> None:
    ports = free_ports()
    (tmp_path / "state").mkdir()
    subprocess.run(
        [Path(sys.executable).with_name("horde"), "keys", "init", tmp_path / "keys"],
        check=True,
        stdout=subprocess.DEVNULL,
    )

    def here(text: str) -> str:
        text = re.sub(r"\$\{HORDE_HOST[^}]*\}", "127.0.0.1", text).replace("0.0.0.0:", "127.0.0.1:")
        for role, port in DEFAULT_PORTS.items():
            text = re.sub(rf":{port}$", f":{ports[role]}", text)
        return re.sub(r"^/(keys|state)", f"{tmp_path}/\\1", text)

    kept = {name: text for name, text in os.environ.items() if not name.startswith("HORDE_")}
    layout = Layout(tmp_path / "mesh", ports)
    layout.state.mkdir()
    async with AsyncExitStack() as stack:
        for role, told in SERVICES.items():
            own = {name: here(text) for name, text in told["environment"].items()}
            await stack.enter_async_context(started(role.value, kept | own))
        await says_serving(layout.address(Role.GATEWAY))
        mesh = LocalMesh(layout, to_nowhere, {})
        stack.push_async_callback(mesh.stop)
        await mesh.start_worker(scripted("anna"))
        async with mesh.client() as client:
            accepted = await client.generations.create(small("a cat"))
            ended = await client.generations.finish(accepted.generation_id)
    assert [image.ending for image in ended.images] == [DONE]


def test_composes_own_program_finds_nothing_wrong() -> None:
    try:
        subprocess.run(["docker", "compose", "version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no docker compose")
    command = ["docker", "compose", "-f", str(FILE), "config", "--quiet"]
    told = {**os.environ, "HORDE_HOST": "192.0.2.1"}
    checked = subprocess.run(command, check=False, capture_output=True, text=True, env=told)
    assert checked.returncode == 0, checked.stderr
