"""What a command says: lines for people, or with --json one document for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from horde.services.errors import ServiceError

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console

PIPE_COLUMNS: Final = 1_000
"""How wide a table may be where nobody looks at it: nothing is cut that a program may want."""

GAP: Final = 2
"""Between two columns of a table."""
LEAST_COLUMNS: Final = 10
"""What the last column of a table always has."""


class Output:
    """Standard output for results, standard error for everything that passes by."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.known: dict[str, Any] = {}
        """What a document says also when the command fails: what was begun."""
        self.resume: tuple[str, ...] = ()
        """What is said after any end but a good one: how to go on."""
        self._consoles: dict[bool, Console] = {}

    def console(self, *, err: bool = False) -> Console:
        """A terminal, or what stands in for one."""
        if err not in self._consoles:
            from horde.cli.commands.terminal import PatientConsole

            console = PatientConsole(stderr=err, highlight=False, soft_wrap=True)
            if not console.is_terminal:
                console.width = PIPE_COLUMNS
            self._consoles[err] = console
        return self._consoles[err]

    def say(self, text: str) -> None:
        """A line of the result, for people."""
        if not self.as_json:
            self._print(text)

    def note(self, text: str) -> None:
        """A line on the side, for people."""
        if not self.as_json:
            self._print(text, err=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, folds: bool = False) -> None:
        """A table of the result, for people.

        Of all columns only the last gives way where the terminal is narrow: it is cut, or `folds`.
        """
        if self.as_json:
            return
        from rich.cells import cell_len
        from rich.table import Table
        from rich.text import Text

        # What stands in a cell may come from strangers: it is text, not markup.
        lines = [[Text(cell) for cell in row] for row in rows]
        table = Table(box=None, padding=(0, GAP, 0, 0), header_style="bold", pad_edge=False)
        left = self.console().width
        for number, name in enumerate(columns[:-1]):
            width = max([cell_len(name), *(line[number].cell_len for line in lines)])
            table.add_column(name, no_wrap=True, width=width)
            left -= width + GAP
        table.add_column(
            columns[-1], no_wrap=not folds, overflow="fold" if folds else "ellipsis", max_width=max(left, LEAST_COLUMNS)
        )
        for line in lines:
            table.add_row(*line)
        self._print(table, soft_wrap=False)

    def document(self, content: Mapping[str, Any] | Message) -> None:
        """The result, for programs: called once in a command."""
        if self.as_json:
            try:
                sys.stdout.write(json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n")
                sys.stdout.flush()
            except BrokenPipeError:
                nobody_reads(err=False)

    def error(self, error: Exception) -> None:
        """Why there is no result."""
        if self.as_json:
            self.document({"error": describe(error), **self.known})
            return
        from rich.markup import escape

        from horde.cli.commands.wording import facts_of, violation_text

        self.note(f"[red]error:[/red] {escape(_sentence(error))}")
        if isinstance(error, ServiceError):
            for violation in error.violations:
                self.note(f"  {escape(violation_text(violation))}")
            for fact in facts_of(error):
                self.note(f"  [dim]{escape(fact)}[/dim]")
            if error.retry_after is not None:
                self.note(f"  try again in {while_text(error.retry_after)}")

    def _print(self, shown: Any, *, err: bool = False, **options: Any) -> None:
        self.console(err=err).print(shown, **options)


def nobody_reads(*, err: bool) -> None:
    """Let everything further that is written there go nowhere: whoever reads, as `head` does, has read enough, and
    pictures are painted and saved all the same.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2 if err else 1)
    os.close(nowhere)


def _sentence(error: Exception) -> str:
    return (error.message if isinstance(error, ServiceError) else str(error)) or type(error).__name__


def describe(error: Exception) -> dict[str, Any]:
    """An error, as programs read it."""
    if not isinstance(error, ServiceError):
        return {"message": _sentence(error)}
    described: dict[str, Any] = {
        "message": error.message,
        "reason": error.reason,
        "domain": error.domain,
        "metadata": error.metadata,
        "violations": [
            {"field": violation.field, "description": violation.description} for violation in error.violations
        ],
    }
    if error.retry_after is not None:
        described["retry_after_seconds"] = error.retry_after.total_seconds()
    return described


def plain(content: Any) -> Any:
    """Contract messages as JSON of the names in the contract; big integers as text, as protobuf's JSON has them."""
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import Message

    if isinstance(content, Message):
        return MessageToDict(content, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    if isinstance(content, Mapping):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(item) for item in content]
    return content


def kudos(mkudos: int) -> str:
    """Milli-kudos as kudos with three places, exactly."""
    sign = "-" if mkudos < 0 else ""
    return f"{sign}{abs(mkudos) // 1000:,}.{abs(mkudos) % 1000:03d}"


def milli(text: str) -> int:
    """Kudos as somebody types them, as milli-kudos, exactly. Raises ValueError."""
    from decimal import Decimal, InvalidOperation

    try:
        scaled = Decimal(text.replace(",", "")) * 1000
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number of kudos") from None
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise ValueError(f"{text!r} has more than three decimal places")
    return int(scaled)


def short(identifier: str) -> str:
    """The beginning of an id, for tables."""
    return identifier[:8]


def cut(text: str, columns: int) -> str:
    """The beginning of a name, for tables."""
    return text if len(text) <= columns else f"{text[: columns - 1]}…"


def seconds(value: float) -> str:
    """A while that was measured or guessed, for people."""
    if value < 10:
        return f"{value:.1f} s"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"


def while_text(span: timedelta) -> str:
    """A while that somebody set, exactly, in the largest unit that fits: `20 min`, `30 days`."""
    total = span.total_seconds()
    for name, size in (("day", 86_400), ("h", 3_600), ("min", 60)):
        if total >= size and total % size == 0:
            number = int(total // size)
            return f"{number} {name}{'s' if name == 'day' and number > 1 else ''}"
    return f"{total:.0f} s" if total >= 1 else f"{total:g} s"


def plural(number: int, noun: str) -> str:
    """For example `1 image`, `4 images`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
