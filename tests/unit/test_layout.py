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

    for extra in ("gateway", "scheduler", "ledger", "storage-router", "client"):
        names = {name for each in extras[extra] for name in named(each)}
        assert not names & {"torch", "diffusers", "transformers", "accelerate"}, extra


def test_copied_contracts_are_those_of_the_installed_package() -> None:
    import google.rpc.status_pb2

    installed = Path(google.rpc.status_pb2.__file__).parent
    for path in (ROOT / "protos" / "third_party" / "google" / "rpc").glob("*.proto"):
        assert path.read_text("utf-8") == (installed / path.name).read_text("utf-8")
