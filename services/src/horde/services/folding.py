"""Text as the eye reads it, for comparing; and expressions that always end.

Folding makes one text of all that look alike: width and style of letters, accents, case, letters of other scripts that
look like Latin ones, signs that nobody sees, and however many spaces. Expressions are RE2's: their time is linear in
the text, whatever the pattern.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import re2

MAX_PATTERN = 1_000
MAX_PROGRAM_BYTES = 1 << 20
"""Of a compiled expression, so that `((a{100}){100}){100}` is refused."""

# Letters that look like Latin small letters in most fonts, after NFKC and case folding.
_ALIKE = str.maketrans(
    "аеіјорсухѕԁԛѡвкмнтгпьαικνορτυχγωɑɡıʟոսցհքօ0134578",
    "aeijopcyxsdqwbkmhtrnbaiknoptuxywagilnughqooleastb",
)
_SIGNS = {"@": "a", "$": "s", "!": "i", "|": "i"}
_SIGN = re.compile(r"[@$!|](?=\w)")
"""In place of a letter, where another one follows: behind a word they are what they look like."""


def fold(text: str) -> str:
    """The text in one form for all that look alike; words are parted by one space."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = unicodedata.normalize("NFD", plain)
    plain = "".join(c for c in plain if unicodedata.category(c) not in ("Mn", "Cf", "Me", "Cc") or c in "\t\n\r")
    plain = _SIGN.sub(lambda sign: _SIGNS[sign[0]], plain.translate(_ALIKE))
    return " ".join("".join(c if c.isalnum() else " " for c in plain).split())


def within(part: str, text: str) -> bool:
    """Whether a folded text holds another as whole words, also where its letters are spread (`b a d`)."""
    if not part:
        return False
    if f" {part} " in f" {text} ":
        return True
    spread = " ".join(part.replace(" ", ""))
    return len(spread) > 1 and f" {spread} " in f" {text} "


def expression(pattern: str) -> Callable[[str], bool]:
    """Says whether a text holds what an expression in RE2's syntax describes, whatever the case. Raises ValueError."""
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = MAX_PROGRAM_BYTES
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"must have at most {MAX_PATTERN} characters")
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0] if error.args else "cannot be read"
        raise ValueError(why.decode(errors="replace") if isinstance(why, bytes) else str(why)) from None
    return lambda text: compiled.search(text) is not None
