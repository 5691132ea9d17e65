"""Nobody breaks the contract without a word: planted breaks are caught, and what may change may change."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import grpc
import pytest

from horde.testkit.contract import DETAILS, PROTOS, RETRIES, read_reasons

GENERATIONS = "horde/api/generation/v1/generation_service.proto"
WORKERS = "horde/api/worker/v1/worker_service.proto"
JOBS = "horde/api/job/v1/job.proto"
RELEASES = "horde/api/release/v1/data_release_service.proto"
LEDGER = "horde/internal/ledger/v1/ledger_service.proto"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("contract_image", PROTOS / "contract.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONTRACT = _load()


def replaced(path: str, old: str, new: str) -> Callable[[Path], None]:
    """An edit of one contract: `old`, an expression that matches once, becomes `new`."""

    def edit(protos: Path) -> None:
        text, count = re.subn(old, new, (protos / path).read_text("utf-8"), flags=re.DOTALL)
        assert count == 1, f"{old} is there {count} times"
        (protos / path).write_text(text, "utf-8")

    return edit


def deleted(path: str) -> Callable[[Path], None]:
    return lambda protos: (protos / path).unlink()


BREAKS = {
    "an RPC is deleted": replaced(GENERATIONS, r"  rpc WithdrawImages\(.*?\n  \}\n", ""),
    "a file is deleted": deleted(RELEASES),
    "a service is deleted": replaced(WORKERS, r"service WorkerService \{.*?\n\}\n", ""),
    "a message is deleted": replaced(
        WORKERS, r"    IdleQuestion idle_question = 8;\n(.*)// IdleQuestion asks.*?message IdleQuestion \{\}\n", r"\1"
    ),
    "a field is deleted": replaced(JOBS, r"  bool tiling = 20;\n", ""),
    "a field has another name": replaced(JOBS, r"string negative_prompt = 2;", "string unwanted = 2;"),
    "a field has another number": replaced(JOBS, r"bool invert_mask = 18;", "bool invert_mask = 30;"),
    "a field has another type": replaced(JOBS, r"int32 steps = 5;", "int64 steps = 5;"),
    "a field is said several times": replaced(JOBS, r"InputImage mask = 13;", "repeated InputImage mask = 13;"),
    "a value of an enum is deleted": replaced(JOBS, r"  SAMPLER_DDIM = 1;\n", ""),
    "an answer becomes a stream": replaced(
        GENERATIONS, r"returns \(GetGenerationResponse\)", "returns (stream GetGenerationResponse)"
    ),
    "an RPC asks for something else": replaced(
        GENERATIONS, r"rpc DeleteInput\(\w+\)", "rpc DeleteInput(GetGenerationRequest)"
    ),
    "a package for Go has another name": replaced(
        JOBS, r'option go_package = "[^"]+";', 'option go_package = "x/y;z";'
    ),
    "an internal field has another type": replaced(LEDGER, r"int64 earned_mkudos = 5;", "string earned_mkudos = 5;"),
}
GROWTH = {
    "a field comes": replaced(JOBS, r"(  bool tiling = 20;\n)", r"\1  bool glossy = 99;\n"),
    "an RPC comes": replaced(
        GENERATIONS,
        r"(service GenerationService \{\n)",
        r"\1  rpc Look(GetGenerationRequest) returns (GetGenerationResponse);\n",
    ),
    "words get better": replaced(
        JOBS, r"// Use 1 to 500\.|  // 1 to 500\.\n  int32 steps", "  // Rounds; 1 to 500.\n  int32 steps"
    ),
    "an internal RPC goes": replaced(LEDGER, r"  rpc ProveEntry\(\w+\) returns \(\w+\);\n", ""),
}


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    """A copy of the contracts, to be hurt."""
    copy = tmp_path / "protos"
    shutil.copytree(PROTOS, copy, ignore=shutil.ignore_patterns("gen", "__pycache__"))
    return copy


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_caught(name: str, protos: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.binpb"
    BREAKS[name](protos)
    assert CONTRACT.breaks(CONTRACT.build(image, protos))


@pytest.mark.parametrize("name", GROWTH)
def test_what_only_grows_breaks_nothing(name: str, protos: Path, tmp_path: Path) -> None:
    GROWTH[name](protos)
    assert CONTRACT.breaks(CONTRACT.build(tmp_path / "image.binpb", protos)) == []


def test_the_image_is_that_of_the_contracts() -> None:
    assert CONTRACT.check() == 0


def test_every_reason_says_its_code_and_what_to_do() -> None:
    reasons = read_reasons()
    assert len({(reason.domain, reason.name) for reason in reasons}) == len(reasons) > 100
    for reason in reasons:
        assert hasattr(grpc.StatusCode, reason.code), reason
        assert reason.retry in RETRIES, reason
        assert reason.details <= DETAILS, reason
        # Whoever is to wait is told how long.
        assert reason.retry != "later" or "RetryInfo" in reason.details, reason
        assert "RetryInfo" not in reason.details or reason.retry in ("later", "changed"), reason
        # Where fields are wrong, they are named.
        assert (reason.name in ("INVALID_FIELD", "UNKNOWN_FIELD")) == ("BadRequest" in reason.details), reason
        assert reason.code != "RESOURCE_EXHAUSTED" or reason.retry != "same", reason
