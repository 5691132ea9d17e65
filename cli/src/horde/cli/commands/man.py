"""`horde man`: the manual page of all commands, made from what they say of themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib.metadata import version

import click

from horde.cli.commands.asking import json_option
from horde.cli.commands.output import Output


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@json_option
def man(as_json: bool) -> None:
    """Print the manual page, for `man`: `horde man > ~/.local/share/man/man1/horde.1`, then `man horde`."""
    from horde.cli.commands.main import main

    root = click.Context(main, info_name="horde")
    lines = [f'.TH HORDE 1 "" "horde-mesh {version("horde-mesh")}" "User Commands"', ".SH NAME"]
    lines += [r"horde \- a crowdsourced image generator", ".SH SYNOPSIS", r"\fBhorde\fP COMMAND [OPTIONS] [ARGUMENTS]"]
    lines += [".SH DESCRIPTION", *_paragraphs(main.help or ""), ".SH COMMANDS", *_commands(root)]
    lines += [".SH EXIT STATUS", *_paragraphs(main.epilog or "")]
    out = Output(as_json=as_json)
    out.document({"manual": "\n".join(lines)})
    out.say("\n".join(lines))


def _commands(context: click.Context) -> Iterator[str]:
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        below = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from (f".SS {_escaped(below.command_path)}", *_paragraphs(command.help or ""))
            yield from _commands(below)
            continue
        usage = " ".join(command.collect_usage_pieces(below))
        yield from (f".SS {_escaped(below.command_path)} {_escaped(usage)}", *_paragraphs(command.help or ""))
        for parameter in command.get_params(below):
            if (record := parameter.get_help_record(below)) is not None:
                yield from (".TP", rf"\fB{_escaped(record[0])}\fP", _escaped(record[1]) or r"\&")


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of help; one that click is not to wrap (it begins with \\b) keeps its lines."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", inspect.cleandoc(text))):
        lines = [line for line in paragraph.strip("\n").splitlines() if line.strip() != "\b"]
        kept = len(lines) < len(paragraph.strip("\n").splitlines())
        yield from [".PP"] if number else []
        yield from [".nf", *map(_escaped, lines), ".fi"] if kept else [_escaped(" ".join(map(str.strip, lines)))]


def _escaped(text: str) -> str:
    """Text as roff takes it: no request of its own, hyphens that can be searched for."""
    escaped = " ".join(text.split("\n")).replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
