"""Meshes by name: what a name stands for, which mesh is meant, and that no key goes to another one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete, get_completion_class
from click.testing import CliRunner, Result

from horde.cli.commands.main import COMMANDS, main
from horde.cli.commands.profiles import BadProfiles, Profile, Profiles, meant
from horde.clients.credentials import API_KEY_FILE, mesh_folder, write_secret


def run(folder: Path, *words: str) -> Result:
    told = {"HORDE_CONFIG_DIR": str(folder), "HORDE_GATEWAY": None, "HORDE_MESH": None}
    return CliRunner().invoke(main, list(words), env=told)


def told(folder: Path, *words: str) -> Any:
    result = run(folder, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_name_stands_for_a_mesh_until_it_is_removed(tmp_path: Path) -> None:
    assert told(tmp_path, "mesh") == {"meshes": {}, "use": ""}
    told(tmp_path, "mesh", "add", "home", "127.0.0.1:7700")
    told(tmp_path, "mesh", "add", "club", "mesh.example:443", "--page", 'https://mesh.example/"a"')
    assert meant(tmp_path, "club", None) == Profile("mesh.example:443", page='https://mesh.example/"a"')
    assert meant(tmp_path, "", None) == Profile("127.0.0.1:7700")
    told(tmp_path, "mesh", "use", "club")
    assert meant(tmp_path, "", None).gateway == "mesh.example:443"
    assert meant(tmp_path, "", "other.example:1").gateway == "other.example:1"
    assert run(tmp_path, "mesh").stdout.splitlines()[0].startswith("* club")
    told(tmp_path, "mesh", "remove", "club")
    assert told(tmp_path, "mesh")["use"] == ""
    with pytest.raises(BadProfiles, match="known: home"):
        meant(tmp_path, "club", None)


def test_two_ways_to_name_a_mesh_are_one_too_many(tmp_path: Path) -> None:
    told(tmp_path, "mesh", "add", "home", "127.0.0.1:7700")
    with pytest.raises(click.UsageError):
        meant(tmp_path, "home", "127.0.0.1:7701")


@pytest.mark.parametrize(
    "words",
    [
        ("add", "Home", "a:1"),
        ("add", "a.b", "a:1"),
        ("add", "a", ""),
        ("add", "a", "a:1", "--page", "ftp://a"),
        ("use", "nowhere"),
        ("remove", "nowhere"),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_refused_and_nothing_is_kept(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(tmp_path, "mesh", *words).exit_code != 0
    assert told(tmp_path, "mesh") == {"meshes": {}, "use": ""}


@pytest.mark.parametrize(
    "text",
    [
        "=",
        "use = 1",
        "mesh = 1",
        "[mesh.A]",
        "[mesh.a]\nport = 1",
        "[mesh.a]\ngateway = 1",
        "[mesh.a]\nplaintext = 'no'",
    ],
)
def test_a_file_that_holds_something_else_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "meshes.toml").write_text(text)
    with pytest.raises(BadProfiles, match=r"meshes\.toml"):
        Profiles.read(tmp_path)
    result = run(tmp_path, "generations", "--json")
    assert result.exit_code == 1
    assert "meshes.toml" in json.loads(result.stdout)["error"]["message"]


def test_each_mesh_has_the_key_that_was_kept_for_it(tmp_path: Path) -> None:
    told(tmp_path, "mesh", "add", "one", "127.0.0.1:7798")
    told(tmp_path, "mesh", "add", "two", "127.0.0.1:7799")
    for port in (7798, 7799):
        write_secret(mesh_folder(f"127.0.0.1:{port}", tmp_path) / API_KEY_FILE, f"key-of-{port}")
    assert told(tmp_path, "logout", "--mesh", "two") == {"forgotten": True}
    assert (mesh_folder("127.0.0.1:7798", tmp_path) / API_KEY_FILE).exists()
    assert not (mesh_folder("127.0.0.1:7799", tmp_path) / API_KEY_FILE).exists()


def test_the_page_of_a_mesh_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def launch(url: str) -> int:
        opened.append(url)
        return 0

    monkeypatch.setattr(click, "launch", launch)
    assert run(tmp_path, "open").exit_code == 0
    told(tmp_path, "mesh", "add", "club", "mesh.example:443", "--page", "https://mesh.example/")
    assert run(tmp_path, "open", "--mesh", "club").exit_code == 0
    assert opened == ["http://127.0.0.1:7710/", "https://mesh.example/"]
    assert run(tmp_path, "open", "--mesh", "club", "--print").stdout == "https://mesh.example/\n"
    assert run(tmp_path, "open", "--gateway", "elsewhere.example:1").exit_code == 1
    assert len(opened) == 2


def completed(folder: Path, *words: str) -> list[str]:
    kind: Any = get_completion_class("bash")
    shell: ShellComplete = kind(main, {}, "horde", "_HORDE_COMPLETE")
    *before, begun = words
    return [item.value for item in shell.get_completions(list(before), begun)]


def test_a_shell_completes_commands_options_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HORDE_CONFIG_DIR", str(tmp_path))
    told(tmp_path, "mesh", "add", "club", "mesh.example:443")
    assert completed(tmp_path, "wa") == ["watch"]
    assert "--mesh" in completed(tmp_path, "watch", "--m")
    assert completed(tmp_path, "generate", "--mesh", "c") == ["club"]
    assert completed(tmp_path, "mesh", "use", "") == ["club"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_completion_prints_is_what_the_shell_takes(tmp_path: Path, shell: str) -> None:
    result = run(tmp_path, "completion", shell)
    assert "_HORDE_COMPLETE" in result.stdout
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=result.stdout.encode(), check=True)


def test_the_manual_has_every_command_and_is_one(tmp_path: Path) -> None:
    page = run(tmp_path, "man").stdout
    for name in COMMANDS:
        assert f".SS horde {name}".replace("-", r"\-") in page
    assert r"\fB\-\-mesh NAME\fP" in page
    assert page.count(".SH ") == 5
    for line in page.splitlines():
        assert not line.startswith("'")
        assert not line.startswith(".") or line.split(" ")[0] in {".TH", ".SH", ".SS", ".PP", ".TP", ".nf", ".fi"}
    if groff := shutil.which("groff"):
        shown = subprocess.run(
            [groff, "-man", "-Kutf8", "-Tutf8", "-ww"], input=page.encode(), capture_output=True, check=True
        )
        # Long words that do not fit are no fault of the page.
        assert [line for line in shown.stderr.decode().splitlines() if "adjust line" not in line] == []
