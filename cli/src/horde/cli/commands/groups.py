"""Groups of commands: loaded by the first word, with one meant where no further word is said, and errors in JSON."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from horde.cli.commands.exits import Exit


class DefaultGroup(click.Group):
    """A group whose command `default` is meant where none is named, with all of its options."""

    def __init__(self, *arguments: Any, default: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with the default put in where no command is named."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


class LazyGroup(click.Group):
    """The root: imports a command's module when the command is called, not before."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in self._lazy:
            return None
        module = importlib.import_module(f"horde.cli.commands.{self._lazy[cmd_name][0]}")
        # What Python has a word for already ends with an underscore there.
        command: click.Command = getattr(module, f"{cmd_name}_", None) or getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, so that help imports nothing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, which only knows commands to suggest that are imported."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=self._lazy, ctx=ctx) from None

    def main(  # type: ignore[override]  # click's overloads tell whether it returns
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **options: Any
    ) -> Any:
        """As click does; with --json a wrong option is a document, too."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **options)
        for stream in (sys.stdout, sys.stderr):
            # A terminal that cannot show a letter gets another one, not an error.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        as_json = "--json" in (sys.argv[1:] if args is None else args)
        try:
            status = super().main(args, standalone_mode=False, **options)
        except click.ClickException as error:
            _refuse(error, as_json=as_json)
        except OSError as error:
            # A folder that is none, a disk that is full: what the operating system says is what can be acted on.
            _refuse(click.ClickException(str(error)), as_json=as_json)
        except click.Abort:
            click.echo("cancelled", err=True)
            sys.exit(Exit.CANCELLED)
        sys.exit(status if isinstance(status, int) else Exit.OK)


def _refuse(error: click.ClickException, *, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"error": {"message": error.format_message()}}, indent=2, ensure_ascii=False))
    else:
        error.show()
    sys.exit(error.exit_code)
