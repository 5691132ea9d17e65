"""What the pages for readers say is what the program does."""

import re
from pathlib import Path

import click
import pytest

from horde.cli.commands.exits import HELP, Exit
from horde.cli.commands.main import main

ROOT = Path(__file__).parents[3]
PAGES = ("README.md", "clients/python/README.md")


def commands(page: str) -> list[list[str]]:
    """The words of each `horde …` that begins a line of code."""
    found = re.findall(r"^    (?:\.venv/bin/)?horde (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r'"[^"]*"', "TEXT", line.split("#")[0]).split() for line in found]


def known_options(words: list[str]) -> set[str]:
    context = click.Context(main)
    command: click.Command = main
    for word in words:
        if isinstance(command, click.Group) and (inner := command.get_command(context, word)):
            command = inner
        else:
            break
    assert command is not main, words
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("words", [each for page in PAGES for each in commands(page)], ids=" ".join)
def test_a_command_on_a_page_exists_with_its_options(words: list[str]) -> None:
    options = {word for word in words if re.fullmatch(r"--?[a-z-]+", word)}
    assert options <= known_options(words)


def test_the_pages_show_commands() -> None:
    assert len(commands("README.md")) >= 7


@pytest.mark.parametrize("status", Exit, ids=lambda status: status.name)
def test_every_exit_status_is_explained(status: Exit) -> None:
    assert re.search(rf"^  {status.value}\b", HELP, re.MULTILINE)
    assert f"| {status.value} |" in (ROOT / "clients/python/README.md").read_text(encoding="utf-8")
