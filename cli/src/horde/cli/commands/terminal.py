"""The terminal, or what stands in for one."""

from __future__ import annotations

from rich.console import Console

from horde.cli.commands.output import nobody_reads


class PatientConsole(Console):
    """Goes on when nobody reads any more; Rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Let the rest go nowhere."""
        nobody_reads(err=self.stderr)
