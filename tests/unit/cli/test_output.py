"""Kudos are shown and read exactly, and options say what the contract says."""

import asyncio
import io
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from horde.api.job.v1.job_pb2 import NoiseSchedule, PostProcessor, ResizeMode, Sampler
from horde.cli.commands import asking
from horde.cli.commands.becoming import BECOMES_ANOTHER
from horde.cli.commands.generate import POST_PROCESSORS, RESIZE_MODES, SAMPLERS, SCHEDULES
from horde.cli.commands.main import COMMANDS, main
from horde.cli.commands.output import Output, kudos, milli
from horde.clients.client import HordeClient
from horde.clients.credentials import mesh_folder, write_secret
from horde.clients.errors import Unavailable


@given(st.integers(-(10**15), 10**15))
def test_what_is_shown_reads_back_as_the_same(mkudos: int) -> None:
    assert milli(kudos(mkudos)) == mkudos


@pytest.mark.parametrize("text", ["1.2345", "ten", "", "nan", "inf"])
def test_what_is_not_a_number_of_milli_kudos_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        milli(text)


def test_every_sampler_schedule_resize_mode_and_post_processor_can_be_chosen() -> None:
    assert {f"SAMPLER_{name.upper()}" for name in SAMPLERS} == set(Sampler.keys()) - {"SAMPLER_UNSPECIFIED"}
    schedules = {f"NOISE_SCHEDULE_{name.upper()}" for name in SCHEDULES}
    assert schedules == set(NoiseSchedule.keys()) - {"NOISE_SCHEDULE_UNSPECIFIED"}
    modes = {f"RESIZE_MODE_{name.upper()}" for name in RESIZE_MODES}
    assert modes == set(ResizeMode.keys()) - {"RESIZE_MODE_UNSPECIFIED"}
    finishing = {f"POST_PROCESSOR_{name.upper()}" for name in POST_PROCESSORS}
    assert finishing == set(PostProcessor.keys()) - {"POST_PROCESSOR_UNSPECIFIED"}


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "release"])
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def leaves(group: click.Group, path: str = "horde") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.parametrize(("name", "command"), list(leaves(main)), ids=[name for name, _ in leaves(main)])
def test_every_command_has_json_but_those_that_become_another_program(name: str, command: click.Command) -> None:
    becomes = name.removeprefix("horde ") in BECOMES_ANOTHER
    assert any("--json" in parameter.opts for parameter in command.params) is not becomes


@pytest.mark.parametrize("group", ["workers", "account", "kudos", "generations"])
def test_a_group_without_a_further_word_takes_the_options_of_what_is_meant(group: str) -> None:
    result = CliRunner().invoke(main, [group, "--gateway", "127.0.0.1:1", "--patience", "0", "--json"])
    assert result.exit_code == 6
    assert json.loads(result.stdout)["error"]["message"].startswith("No mesh answers at 127.0.0.1:1")


def test_a_wrong_option_is_a_document_too() -> None:
    result = CliRunner().invoke(main, ["generate", "a fox", "--steps", "none", "--json"])
    assert result.exit_code == 2
    assert "--steps" in json.loads(result.stdout)["error"]["message"]


def test_without_a_mesh_it_says_whom_it_tries_and_gives_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def never(horde: HordeClient, within: timedelta) -> None:
        waited.append(within.total_seconds())
        for _ in range(10):
            await asyncio.sleep(0)
        raise Unavailable(f"No mesh answers at {horde.target}: Connection refused")

    monkeypatch.setattr(HordeClient, "reach", never)
    monkeypatch.setattr(asking, "SILENT_SECONDS", 0)
    result = CliRunner().invoke(main, ["account", "show", "--gateway", "127.0.0.1:1"])
    assert result.exit_code == 6
    assert waited == [3.0]
    said = result.stderr.splitlines()
    assert said[0] == "trying to reach the mesh at 127.0.0.1:1 …"
    assert said[1] == "error: No mesh answers at 127.0.0.1:1: Connection refused"


def wide(rows: int) -> list[tuple[str, ...]]:
    return [("6f1a3a1e", "2026-11-26 10:00", "20/20 …", "private", "1,234.567", "a very long prompt " * 9)] * rows


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_cuts_no_id_and_keeps_to_the_terminal(width: int) -> None:
    out = Output(as_json=False)
    page = io.StringIO()
    out._consoles[False] = Console(file=page, force_terminal=True, color_system=None, width=width)
    out.table(("generation", "accepted", "done", "bucket", "price", "prompt"), wide(3))
    lines = page.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    assert len(lines) == 4
    assert all(
        line.startswith("6f1a3a1e    2026-11-26 10:00  20/20 …  private  1,234.567  a very") for line in lines[1:]
    )


def test_in_a_pipe_nothing_of_a_table_is_cut_nor_folded(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).table(("generation", "prompt"), [("6f1a3a1e", "word " * 100 + "[/end]")])
    assert "word [/end]" in capsys.readouterr().out.splitlines()[1]


def test_a_reader_that_has_read_enough_ends_nothing() -> None:
    code = (
        "from horde.cli.commands.output import Output\n"
        "out = Output(as_json=False)\n"
        "for number in range(20_000): out.say(f'line {number}')\n"
        "out.note('done')"
    )
    shell = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} | head -1"
    ran = subprocess.run(["bash", "-c", f"set -o pipefail; {shell}"], capture_output=True, text=True, check=True)
    assert ran.stdout == "line 0\n"
    assert ran.stderr == "done\n"


def test_a_wrong_option_is_status_2() -> None:
    assert CliRunner().invoke(main, ["generate", "a fox", "--sampler", "none"]).exit_code == 2
    assert CliRunner().invoke(main, ["paint"]).exit_code == 2


def test_who_has_keys_for_other_meshes_alone_is_told_that_he_asks_as_anonymous(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def there(horde: HordeClient, within: timedelta) -> None:
        pass

    monkeypatch.setattr(HordeClient, "reach", there)
    write_secret(mesh_folder("mesh.example:7700", tmp_path) / "api-key", "kept")
    words = ["account", "show", "--gateway", "127.0.0.1:1", "--patience", "0", "--config-dir", str(tmp_path)]
    assert "No key is kept for 127.0.0.1:1, only for other meshes" in CliRunner().invoke(main, words).stderr
    assert "only for other meshes" not in CliRunner().invoke(main, [*words, "--anonymous"]).stderr


def test_a_shell_completes_commands_and_options() -> None:
    assert "_HORDE_COMPLETE" in CliRunner().invoke(main, ["completion", "bash"]).output
    found = ShellComplete(main, {}, "horde", "_HORDE_COMPLETE").get_completions(["generate"], "--gui")
    assert [each.value for each in found] == ["--guidance"]
    assert "watch" in [
        get_completion.value for get_completion in ShellComplete(main, {}, "horde", "_").get_completions([], "wa")
    ]
