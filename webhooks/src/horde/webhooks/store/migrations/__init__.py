"""The history of the schema, applied whole at start. Each step is written once and never changed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

HISTORY: Final = Path(__file__).parent
