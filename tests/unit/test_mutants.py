"""Seeded defects still fit the code that they change: one that does not is caught by any test, or tried by none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import abuse_mutants  # noqa: E402 - benches are no package
import ledger_mutants  # noqa: E402
import scheduler_mutants  # noqa: E402
from mutants import Mutant, defective  # noqa: E402

LISTS: dict[str, tuple[list[Mutant], str]] = {
    "abuse": (abuse_mutants.MUTANTS, ""),
    "ledger": (ledger_mutants.MUTANTS, ledger_mutants.LEDGER),
    "scheduler": (scheduler_mutants.MUTANTS, scheduler_mutants.SOURCE),
}


@pytest.mark.parametrize("name", LISTS)
def test_every_seeded_defect_can_be_put_in(name: str) -> None:
    mutants, source = LISTS[name]
    for mutant in mutants:
        path = ROOT / (mutant.service or source) / f"{mutant.module}.py"
        compile(defective(mutant, path.read_text()), path, "exec")
    assert len({mutant.name for mutant in mutants}) == len(mutants)
