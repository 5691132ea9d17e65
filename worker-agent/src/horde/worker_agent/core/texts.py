"""Words for people, made fit to be said: whatever a model, a file name or an error holds, the mesh takes the result.

One outcome that the mesh cannot read would be said again at every start, for ever. So texts are cleaned and cut where
they leave, whoever wrote them.
"""

from __future__ import annotations

import re

ELLIPSIS = "…"

# Colours, cursor movements and window titles of terminals; whole, or their tails would stay as words.
_TERMINAL = re.compile(
    r"\x1b(?:\[[0-9;:<=>?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])?|\x9b[0-9;:<=>?]*[@-~]?"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_ENDS = re.compile(r"[\t\n\r\u2028\u2029]+")


def fit(text: str, most: int, *, one_line: bool = False) -> str:
    """The text without control characters and halves of characters, of at most `most` characters."""
    plain = _CONTROL.sub("", _TERMINAL.sub("", text))
    if one_line:
        plain = _LINE_ENDS.sub(" ", plain)
    return plain if len(plain) <= most else plain[: most - len(ELLIPSIS)] + ELLIPSIS
