"""`horde completion`: what a shell needs to complete our words."""

from __future__ import annotations

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@click.pass_context
def completion(context: click.Context, shell: str, as_json: bool) -> None:
    """Print the completions of SHELL. For bash: `horde completion bash >> ~/.bashrc`."""
    import json

    from click.shell_completion import get_completion_class

    from horde.cli.commands.main import main

    found = get_completion_class(shell)
    assert found is not None
    source = found(main, {}, "horde", "_HORDE_COMPLETE").source()
    click.echo(json.dumps({"shell": shell, "source": source}) if as_json else source)
