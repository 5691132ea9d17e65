"""The owner's language: catalogues in `locale/`, by LANGUAGE, LC_ALL, LC_MESSAGES or LANG; English where there is none.

`make messages` finds what is to be translated, and compiles what is.
"""

from __future__ import annotations

import gettext
from collections.abc import Sequence
from pathlib import Path

DOMAIN = "horde-worker"
FOLDER = Path(__file__).parent / "locale"


def owners(languages: Sequence[str] | None = None) -> gettext.NullTranslations:
    """What the owner reads, or these languages, the most wanted first."""
    return gettext.translation(DOMAIN, FOLDER, languages, fallback=True)
