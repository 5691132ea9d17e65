"""The history of the scheduler's schema, applied whole at start, within one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Final

HISTORY: Final = Path(__file__).parent
