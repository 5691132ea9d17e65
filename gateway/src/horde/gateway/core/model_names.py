"""Which model was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

SIMILAR = 0.6
"""How alike two names must be, 0 to 1."""
MOST = 3
CLOSE = 0.1
"""How much less alike than the best a further one may be, to be named beside it."""


def nearest(name: str, names: Iterable[str], aliases: Mapping[str, str] | None = None) -> list[str]:
    """The names that are most like this one whatever the case, best first; `aliases` are names that people use too."""
    meant = {alias.casefold(): known for alias, known in (aliases or {}).items()}
    meant.update((known.casefold(), known) for known in names)
    folded = name.casefold()
    near = difflib.get_close_matches(folded, meant, n=MOST, cutoff=SIMILAR)
    likeness = {other: difflib.SequenceMatcher(None, other, folded).ratio() for other in near}
    least = max(likeness.values(), default=0.0) - CLOSE
    return list(dict.fromkeys(meant[other] for other in near if likeness[other] >= least))
