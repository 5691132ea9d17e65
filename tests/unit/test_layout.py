"""The shape of the repository: what a reviewer should not have to look for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ROOTS = sorted([*ROOT.glob("*/src/horde"), ROOT / "clients/python/src/horde"])
SOURCES = sorted(path for root in ROOTS for path in root.rglob("*.py") if "__pycache__" not in path.parts)
TOO_LONG = 350
SAYS_NOTHING = {"utils", "util", "helpers", "common", "manager", "handler", "handlers", "base", "misc"}
ADDRESS = re.compile(r"--(extra-)?index-url|--find-links|https?://")


def test_there_are_sources_to_look_at() -> None:
    assert len(SOURCES) > 15


@pytest.mark.parametrize("root", ROOTS, ids=lambda path: path.relative_to(ROOT).parts[0])
def test_the_namespace_has_no_module_of_its_own(root: Path) -> None:
    # One stray __init__.py would hide all other roots.
    assert not (root / "__init__.py").exists()


@pytest.mark.parametrize("root", ROOTS, ids=lambda path: path.relative_to(ROOT).parts[0])
def test_a_folder_holds_the_package_of_its_name_alone(root: Path) -> None:
    packages = {path.name for path in root.iterdir() if path.name != "__pycache__"}
    assert packages == {root.relative_to(ROOT).parts[0].replace("-", "_")}
    assert (root / packages.pop() / "py.typed").exists()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_is_short_has_a_telling_name_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text("utf-8")
    assert path.stem not in SAYS_NOTHING
    assert text.count("\n") <= TOO_LONG
    assert text.startswith(('"""', 'r"""')) or not text.strip()


def test_every_source_root_is_listed_wherever_roots_are() -> None:
    roots = {path.parent.relative_to(ROOT).as_posix() for path in ROOTS} | {"protos/gen"}
    shipped = roots - {"testkit/src"}
    tool = CONFIG["tool"]
    hatch = tool["hatch"]["build"]
    assert roots <= set(hatch["dev-mode-dirs"])
    assert {f"{root}/horde" for root in shipped} == set(hatch["targets"]["wheel"]["packages"])
    assert roots <= set(tool["mypy"]["mypy_path"])
    assert roots <= set(tool["pytest"]["ini_options"]["pythonpath"])


def test_the_lock_names_no_index_and_no_torch() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    assert not [line for line in lock if ADDRESS.search(line)]
    assert not [line for line in lock if line.startswith(("torch==", "nvidia-", "triton=="))]


def test_what_the_gateway_needs_holds_no_torch() -> None:
    extras = CONFIG["project"]["optional-dependencies"]

    def named(requirement: str) -> set[str]:
        if found := re.fullmatch(r"horde-mesh\[(.*)\]", requirement):
            return {name for extra in found[1].split(",") for each in extras[extra] for name in named(each)}
        return {re.split(r"[^a-z0-9-]", requirement)[0]}

    for extra in ("gateway", "web-door", "scheduler", "ledger", "storage-router", "curation", "webhooks", "client"):
        names = {name for each in extras[extra] for name in named(each)}
        assert not names & {"torch", "diffusers", "transformers", "accelerate"}, extra


def test_copied_contracts_are_those_of_the_installed_package() -> None:
    import google.rpc.status_pb2

    installed = Path(google.rpc.status_pb2.__file__).parent
    for path in (ROOT / "protos" / "third_party" / "google" / "rpc").glob("*.proto"):
        assert path.read_text("utf-8") == (installed / path.name).read_text("utf-8")


BESIDE_THE_LOOPS = {
    "services/src/horde/services/loops.py": "the loops themselves",
    "services/src/horde/services/streams.py": "a stream's listener: its error is the stream's",
    "services/src/horde/services/calls.py": "the end of a span",
    "services/src/horde/services/channel.py": "one question why TLS fails, which ends within its bound",
    "services/src/horde/services/shared/redis.py": "within the loop that waits for it",
    "gateway/src/horde/gateway/neighbours/ledger.py": "an asking that many wait for",
    "gateway/src/horde/gateway/neighbours/exchange.py": "two directions that end together, within a loop",
    "gateway/src/horde/gateway/doors/authentication.py": "a look-up that many wait for",
    "gateway/src/horde/gateway/doors/catalogue.py": "a reading that many wait for",
    "storage-router/src/horde/storage_router/decoding.py": "a dead child that is buried",
    "storage-router/src/horde/storage_router/uploads.py": "an upload that goes on when its caller hangs up",
    "web-door/src/horde/web_door/remembering.py": "an asking that many wait for",
    "web-door/src/horde/web_door/v1/events.py": "the next message of one answer, and whether its reader is still there",
    "web-door/src/horde/web_door/v2/session.py": "a stream's two directions and its clock, within a loop",
    "webhooks/src/horde/webhooks/neighbours/receivers.py": "a look-up whose caller has given up",
    "worker-agent/src/horde/worker_agent/__main__.py": "the signal, which is waited for",
    "worker-agent/src/horde/worker_agent/running.py": "what is opened, until a signal comes",
    "worker-agent/src/horde/worker_agent/run.py": "two ways to be told to stop, of which the first counts",
    "worker-agent/src/horde/worker_agent/painters/easel.py": "a child's life, which begins anew where it breaks",
    "worker-agent/src/horde/worker_agent/painters/process.py": "a cancel that follows a picture",
    "worker-agent/src/horde/worker_agent/painters/scripted.py": "two waits of which the first counts",
}
"""Where a service starts a task by itself, and who hears its error: all others belong to `loops.py`."""
SERVICE_FOLDERS = (
    "services",
    "gateway",
    "web-door",
    "scheduler",
    "ledger",
    "storage-router",
    "curation",
    "webhooks",
    "worker-agent",
    "buckets",
)
STARTS_A_TASK = re.compile(r"\b(create_task|ensure_future|TaskGroup)\(")


def test_whatever_a_service_runs_beside_its_calls_is_one_of_its_loops() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] in SERVICE_FOLDERS and STARTS_A_TASK.search(path.read_text("utf-8"))
    }
    assert found == BESIDE_THE_LOOPS.keys()


def test_where_a_call_comes_from_is_asked_in_one_place() -> None:
    # Else somebody behind a proxy would be counted as that proxy.
    asks = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] in SERVICE_FOLDERS and "context.peer()" in path.read_text("utf-8")
    }
    assert asks == {"services/src/horde/services/addresses.py", "services/src/horde/services/interceptors.py"}
