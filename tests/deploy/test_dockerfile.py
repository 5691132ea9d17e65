"""The Dockerfile and the deployment's README say what the code says. Nothing is built here."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest

from horde.cli.local.roles import DEFAULT_PORTS, Role
from horde.curation.settings import CurationSettings
from horde.gateway.settings import GatewaySettings
from horde.ledger.settings import LedgerSettings
from horde.scheduler.settings import Settings as SchedulerSettings
from horde.services.settings import ServiceSettings
from horde.storage_router.settings import StorageRouterSettings
from horde.web_door.settings import WebDoorSettings
from horde.webhooks.settings import WebhooksSettings
from horde.worker_agent.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "deploy"))
import install  # noqa: E402 - it is a program, and runs where nothing is installed

TEXT = (ROOT / "deploy" / "Dockerfile").read_text()
TARGETS: dict[str, str] = dict(re.findall(r"^FROM base AS (\S+)\n(.*?)(?=^FROM|\Z)", TEXT, re.M | re.S))
SETTINGS: dict[Role, type[ServiceSettings]] = {
    Role.LEDGER: LedgerSettings,
    Role.STORAGE_ROUTER: StorageRouterSettings,
    Role.SCHEDULER: SchedulerSettings,
    Role.GATEWAY: GatewaySettings,
    Role.WEB_DOOR: WebDoorSettings,
    Role.CURATION: CurationSettings,
    Role.WEBHOOKS: WebhooksSettings,
    Role.WORKER: WorkerSettings,
}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_there_is_a_target_for_each_service_for_the_operators_jobs_and_for_clients() -> None:
    assert set(TARGETS) == {role.value for role in Role} | {"client", "operator", "data-releases", "auditor"}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_target_installs_its_own_extra_and_nothing_else_but_torch(target: str) -> None:
    (extra,) = re.findall(r"python3 /src/deploy/install\.py (\S+) /opt/horde", TARGETS[target])
    assert extra == target
    assert extra in EXTRAS
    assert re.findall(r"pip.* install .*'(\S+)'", TARGETS[target]) == (["torch>=2.13"] if target == "worker" else [])


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
def test_a_target_starts_its_service_with_settings_that_exist(role: Role) -> None:
    body = TARGETS[role.value]
    assert f'ENTRYPOINT ["python", "-m", "{role.module}"]' in body
    assert importlib.util.find_spec(f"{role.module}.__main__") is not None
    for name in re.findall(r"(HORDE_\w+)=", body):
        assert name.startswith(role.prefix)
        assert name.removeprefix(role.prefix).lower() in SETTINGS[role].model_fields
    ports = [str(DEFAULT_PORTS[role])] if role in DEFAULT_PORTS else []
    assert re.findall(r"EXPOSE (\d+)", body) == ports
    assert re.findall(r"_LISTEN=\S+?:(\d+)", body) == ports


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_nothing_runs_as_root(target: str) -> None:
    assert TARGETS[target].index("USER horde") < TARGETS[target].index("ENTRYPOINT")


def test_what_is_copied_is_there_and_holds_every_package() -> None:
    copied = [source for line in re.findall(r"^COPY (?!--from)(.+)$", TEXT, re.M) for source in line.split()[:-1]]
    assert all((ROOT / source).exists() for source in copied)
    for path in ROOT.glob("*/src/horde"):
        # The kit of the tests is not shipped.
        assert path.relative_to(ROOT).parts[0] in {*copied, "testkit"}


def test_what_is_installed_is_the_locks_with_its_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    blocks = install.locked(lock)
    pinned = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?(==[^ ;\\\n]+)", lock, re.M)
    assert "".join(blocks.values()).count("==") >= len(pinned) > 50
    # What has a version for each of several Pythons keeps all of them, with their markers.
    assert [line.partition(" ")[0] for line in install.constraints(lock).splitlines()] == [
        "".join(each) for each in pinned
    ]
    assert any(block.count(" ; python_full_version") > 1 for block in blocks.values())
    assert all("--hash=sha256:" in block for block in blocks.values())
    part = install.chosen(["grpcio", "SQLAlchemy", "typing_extensions"], lock)
    assert re.findall(r"^(\S+?)==", part, re.M) == ["grpcio", "sqlalchemy", "typing-extensions"]
    with pytest.raises(LookupError, match="not in the lock: torch"):
        install.chosen(["grpcio", "torch"], lock)


@pytest.mark.parametrize("role", list(SETTINGS), ids=lambda role: role.value)
def test_every_variable_that_the_documents_name_exists(role: Role) -> None:
    documents = (
        ROOT / "README.md",
        ROOT / "deploy" / "README.md",
        ROOT / role.value.replace("worker", "worker-agent") / "README.md",
    )
    for path in documents:
        for name in re.findall(rf"\b{role.prefix}([A-Z_]+)\b", path.read_text()):
            assert name.lower() in SETTINGS[role].model_fields, (path.name, name)
