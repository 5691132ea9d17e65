"""Every block of code and every command of every page is run or read by a test.

What asks a mesh is run against one (`tests/mesh/test_documents.py`); what runs long, or makes something outside, is
held against the program that it names: does it know these words? A block of no known kind fails here.
"""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import pairwise
from typing import Any

import click
import pytest
from helm_python import Chart
from tests.deploy.rendering import charts
from tests.documents import ALL, PAGES, ROOT, Block, inline_commands, program

from horde.cli.commands.exits import HELP, Exit
from horde.cli.commands.main import main
from horde.cli.commands.release import release
from horde.cli.commands.storage import PROGRAMS
from horde.data_releases.commands import main as releases

SAMPLES = {"worker-agent/README.md": "worker-agent/src", "deploy/tls.md": "services/src"}
"""Pages that show what a program writes, and where that program is: it must have these words."""
COMMANDS = [(str(block), command) for block in ALL for command in block.commands]
LANGUAGES_OF_SDKS = {"ts", "ruby", "go", "cpp", "java"}
"""`make sdks-test` runs the programs of their READMEs."""
HAVE_COMMANDS = {"paintbox", "horde.data_releases", "horde.data_releases.aesthetics"}
"""Modules whose first word is a command with options of its own."""
INLINE = [(page, command) for page in PAGES for command in inline_commands(page)]
LATER = re.compile(r"[A-Z]{2,}|<\w+>|…|\*")
"""What stands for something else."""


def sample(block: Block) -> bool:
    return block.page in SAMPLES and not block.commands and block.language == ""


def listing(block: Block) -> bool:
    return all(line.split()[0].startswith("tests/") for line in block.text.splitlines() if line.strip())


@pytest.mark.parametrize("block", ALL, ids=str)
def test_every_block_is_of_a_kind_that_is_looked_at(block: Block) -> None:
    sdk = block.page.startswith("clients/") and block.language in LANGUAGES_OF_SDKS
    kinds = (sdk, block.language == "python", bool(block.commands), block.drawing, sample(block), listing(block))
    assert sum(kinds) >= 1, block.text
    if block.commands:
        lines = [line for line in re.sub(r"\\\n", " ", block.text).splitlines() if line.strip()]
        assert len(lines) == len(block.commands), block.text


def test_the_pages_show_something() -> None:
    assert len(COMMANDS) >= 15
    assert sum(block.language == "python" for block in ALL) >= 3


@pytest.mark.parametrize(("where", "command"), [*COMMANDS, *INLINE], ids=lambda value: str(value)[:60])
def test_a_command_names_what_is_there(where: str, command: str) -> None:
    words = shlex.split(command)
    words = words[next(number for number, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)) :]
    match program(command):
        case "horde" if words[1:2] == ["release"]:
            # It becomes another program, which knows its own words.
            check_python(where, ["python", "-m", "horde.data_releases", *words[2:]])
        case "horde" if words[1:3] in (["ratings", "train"], ["ratings", "evaluate"]):
            check_python(where, ["python", "-m", "horde.data_releases.aesthetics", *words[2:]])
        case "horde" if words[1:3] in (["storage", "audit"], ["storage", "init"]):
            check_python(where, ["python", "-m", PROGRAMS[words[2]][0], *words[3:]])
        case "horde":
            assert options(words) <= known_options(words[1:])
        case "make":
            targets = [word for word in words[1:] if "=" not in word and not LATER.search(word)]
            for target in targets:
                assert re.search(rf"^(?:\.PHONY:.*\b)?{re.escape(target)}\b.*:|TIERS", MAKEFILE, re.M)
                assert target in make_targets(), target
        case "python":
            check_python(where, words)
        case "pip":
            check_pip(words)
        case "docker" if words[1] == "compose":
            # `tests/deploy/test_compose.py` looks into it.
            assert (ROOT / words[words.index("-f") + 1]).exists()
        case "docker" if words[1] == "run":
            image = next(word for word in words if word.startswith("horde-"))
            assert image.partition(":")[0].removeprefix("horde-") == "operator"
            test_a_command_names_what_is_there(where, shlex.join(["horde", *words[words.index(image) + 1 :]]))
        case "docker":
            target = words[words.index("--target") + 1]
            file = (ROOT / words[words.index("-f") + 1]).read_text()
            assert re.search(rf"^FROM .* AS {target}$", file, re.M)
        case "export":
            inner = re.fullmatch(r"export \$\((.*)\)", command)
            assert inner is not None, command
            test_a_command_names_what_is_there(where, inner[1])
        case "kubectl":
            for path in re.findall(r"deploy/\S+", command):
                assert (ROOT / path).exists(), path
        case "helm":
            told = dict(word.split("=", 1) for option, word in pairwise(words) if option == "--set")
            assert (ROOT / words[3]).resolve() == charts.CHART.resolve()
            values = functools.reduce(charts.merged, (nested(name, value) for name, value in told.items()))
            Chart.load(charts.CHART).render(values, name=words[2], namespace=charts.NAMESPACE)
            assert values.keys() == charts.NEEDED.keys(), "what has no default"
        case "python3.11":
            assert words[1:] == ["-m", "venv", ".venv"]
        case ".":
            assert words[1:] == [".venv/bin/activate"]
        case "curl" | "grpcurl":
            pass  # run against a mesh
        case other:
            raise AssertionError(other)


def nested(name: str, value: object) -> dict[str, Any]:
    """What `--set a.b=c` says."""
    first, _, rest = name.partition(".")
    return {first: nested(rest, value) if rest else value}


MAKEFILE = (ROOT / "Makefile").read_text()


@functools.cache
def make_targets() -> set[str]:
    tiers = re.search(r"^TIERS\s*:?= (.*)$", MAKEFILE, re.M)
    assert tiers is not None
    named = set(re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.M))
    return named | {f"test-{tier}" for tier in tiers[1].split()}


def options(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}


def known_options(words: list[str]) -> set[str]:
    context = click.Context(main)
    command: click.Command = main
    for word in words:
        if isinstance(command, click.Group) and (inner := command.get_command(context, word)):
            # A program of its own takes these words.
            command = releases if inner is release else inner
        elif not word.startswith("-") and command is main:
            assert LATER.fullmatch(word), f"there is no command {word}"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return known | {"--help", "-h"}


@functools.cache
def help_of(folder: str, *words: str) -> str:
    shown = subprocess.run(
        [sys.executable, *words, "--help"], cwd=ROOT / folder, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def check_python(where: str, words: list[str]) -> None:
    if words[1] != "-m":
        assert (ROOT / words[1]).exists()
        return
    module = words[2]
    inner = next((word for word in words[3:4] if not word.startswith("-") and not LATER.search(word)), None)
    folder = "worker-agent/training" if module == "paintbox" else "."
    shown = help_of(folder, "-m", module, *([inner] if inner and module in HAVE_COMMANDS else []))
    for option in options(words[3:]):
        assert re.search(rf"{re.escape(option)}\b", shown), option


def check_pip(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words[2:]:
        if found := re.fullmatch(r"(?:horde-mesh|\.)\[([\w,-]+)\]", word):
            assert set(found[1].split(",")) <= set(extras)


@pytest.mark.parametrize("block", [block for block in ALL if sample(block)], ids=str)
def test_what_a_program_is_said_to_write_it_has_words_for(block: Block) -> None:
    source = "".join(path.read_text() for path in (ROOT / SAMPLES[block.page]).rglob("*.py"))
    for line in block.text.splitlines():
        words = re.split(r"  +|[;:]", line.strip())[0]
        assert words in source, words


@pytest.mark.parametrize("block", [block for block in ALL if listing(block) and not block.commands], ids=str)
def test_a_folder_that_is_listed_is_there(block: Block) -> None:
    for line in block.text.splitlines():
        if line.strip():
            assert (ROOT / line.split()[0].replace("<service>", "ledger")).is_dir(), line


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_somewhere(page: str) -> None:
    prose = re.sub(r"^```.*?^```", "", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("status", Exit, ids=lambda status: status.name)
def test_every_exit_status_is_explained(status: Exit) -> None:
    assert re.search(rf"^  {status.value}\b", HELP, re.MULTILINE)
    assert f"| {status.value} |" in (ROOT / "clients/python/README.md").read_text(encoding="utf-8")
