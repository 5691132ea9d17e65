"""The history of the ledger's schema, for SQLite and PostgreSQL alike. Each version goes up and down."""

from __future__ import annotations

from pathlib import Path
from typing import Final

HISTORY: Final = Path(__file__).parent
