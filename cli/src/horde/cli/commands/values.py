"""What may be typed where: each type says what it takes, so that nothing odd goes further than the command line."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Final

import click

from horde.cli.commands import output

MAX_MKUDOS: Final = 10**15
MAX_INT63: Final = 2**63 - 1
_SPAN = re.compile(r"(\d+(?:\.\d+)?) ?([smhd]?)", re.ASCII)
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Text(click.ParamType[str]):
    """Anything that can be sent: text, in the encoding of the terminal."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself."""
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail("is not text in UTF-8.", param, ctx)
        return text


class Word(Text):
    """Text without spaces, in ASCII: an address, a key."""

    name = "word"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word, without what surrounds it."""
        text = super().convert(value, param, ctx).strip()
        if not re.fullmatch(r"[!-~]+", text):
            self.fail("must be letters, digits and signs of ASCII, without spaces.", param, ctx)
        return text


class IdPrefix(click.ParamType[str]):
    """An id, or as many of its first digits as tell it from others: four at least."""

    name = "id or prefix"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """In lower case."""
        text = str(value).strip().lower()
        if not re.fullmatch(r"[0-9a-f][0-9a-f-]{3,35}", text, re.ASCII):
            self.fail(f"{str(value)!r} is not an id, nor four or more of its first digits.", param, ctx)
        return text


class Amount(click.ParamType[int]):
    """Kudos as typed, milli-kudos inside."""

    name = "kudos"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """In milli-kudos."""
        if isinstance(value, int):
            return value
        try:
            mkudos = output.milli(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not 0 <= mkudos <= MAX_MKUDOS:
            self.fail(f"must be 0 to {MAX_MKUDOS // 1000:,} kudos.", param, ctx)
        return mkudos


class Real(click.ParamType[float]):
    """A number between bounds, both included."""

    name = "number"

    def __init__(self, least: float, most: float, *, above: bool = False) -> None:
        self._least, self._most, self._above = least, most, above

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As a float; neither infinite nor not a number."""
        try:
            number = float(str(value))
        except ValueError:
            number = math.nan
        # Whatever is compared with not-a-number is false.
        if not self._least <= number <= self._most or (self._above and number == self._least):
            self.fail(f"must be {'above ' if self._above else ''}{self._least:g} to {self._most:g}.", param, ctx)
        return number


class Span(click.ParamType[timedelta]):
    """A while: `90s`, `20m`, `2h`, `1d`, or a number of `unit`s."""

    name = "time"

    def __init__(self, unit: str, least: timedelta, most: timedelta) -> None:
        self._unit, self._least, self._most = unit, least, most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """As a timedelta."""
        if isinstance(value, timedelta):
            return value
        found = _SPAN.fullmatch(str(value).strip().lower())
        seconds = float(found[1]) * _UNITS[found[2] or self._unit] if found else math.nan
        if not self._least.total_seconds() <= seconds <= self._most.total_seconds():
            bounds = f"{output.while_text(self._least)} to {output.while_text(self._most)}"
            self.fail(f"must be {bounds}, as 90s, 20m, 2h or 1d.", param, ctx)
        return timedelta(seconds=seconds)


TEXT: Final = Text()
WORD: Final = Word()
ID_PREFIX: Final = IdPrefix()
AMOUNT: Final = Amount()
