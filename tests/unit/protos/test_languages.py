"""The public contract generates in other languages. `make languages` compiles it in all whose tools are there."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from horde.testkit.contract import PROTOS

OPTIONS = (
    "csharp_namespace",
    "go_package",
    "java_multiple_files",
    "java_package",
    "objc_class_prefix",
    "php_namespace",
)


def test_every_contract_says_its_name_in_every_language() -> None:
    for path in (PROTOS / "horde").rglob("*.proto"):
        text = path.read_text("utf-8")
        for option in (*OPTIONS, "ruby_package", "swift_prefix"):
            assert f"\noption {option} = " in text, f"{path.name} lacks {option}"


@pytest.mark.parametrize("language", ["csharp", "objc", "php", "ruby", "node"])
def test_the_contract_generates(language: str) -> None:
    if language != "node" and shutil.which("protoc") is None:
        pytest.skip("protoc is not here")
    done = subprocess.run(
        [sys.executable, PROTOS / "languages.py", language], capture_output=True, text=True, check=False
    )
    if "skipped" in done.stdout:
        pytest.skip(done.stdout.splitlines()[0])
    assert done.returncode == 0, done.stdout
