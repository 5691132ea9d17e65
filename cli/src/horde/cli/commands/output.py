"""What a command says: lines for people, or with --json one document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from horde.services.errors import ServiceError

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console
    from rich.table import Table


class Output:
    """Standard output for results, standard error for everything that passes by."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._consoles: dict[bool, Console] = {}

    def console(self, *, err: bool = False) -> Console:
        """A terminal, or what stands in for one."""
        if err not in self._consoles:
            from rich.console import Console

            self._consoles[err] = Console(stderr=err, highlight=False, soft_wrap=True)
        return self._consoles[err]

    def say(self, text: str) -> None:
        """A line of the result, for people."""
        if not self.as_json:
            self.console().print(text)

    def note(self, text: str) -> None:
        """A line on the side, for people."""
        if not self.as_json:
            self.console(err=True).print(text)

    def show(self, table: Table) -> None:
        """A table of the result, for people."""
        if not self.as_json:
            self.console().print(table)

    def document(self, content: Mapping[str, Any] | Message) -> None:
        """The result, for programs: called once in a command."""
        if self.as_json:
            sys.stdout.write(json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    def error(self, error: Exception) -> None:
        """Why there is no result."""
        if self.as_json:
            self.document({"error": describe(error)})
            return
        from rich.markup import escape

        console = self.console(err=True)
        console.print(f"[red]error:[/red] {escape(_sentence(error))}")
        if isinstance(error, ServiceError):
            for violation in error.violations:
                console.print(f"  [bold]{escape(violation.field)}[/bold]: {escape(violation.description)}")
            for key, value in error.metadata.items():
                console.print(f"  [dim]{escape(key)}: {escape(value)}[/dim]")
            if error.retry_after is not None:
                console.print(f"  try again in {error.retry_after.total_seconds():.0f} s")


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
        "violations": [{"field": each.field, "description": each.description} for each in error.violations],
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
        return [plain(each) for each in content]
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


def seconds(value: float) -> str:
    """A while, for people."""
    if value < 10:
        return f"{value:.1f} s"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"
