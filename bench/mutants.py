"""Seeded defects: each is put into a copy of the project, and the tests must fail; see ledger_mutants.py.

A defect that no test catches is a hole in the tests, and ends the run with status 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTEST = ("-x", "-q", "--timeout", "600", "-p", "no:cacheprovider", "--hypothesis-profile", "unshrunk")
"""The time is long, for a test that only took too long has caught nothing."""


@dataclass(frozen=True)
class Mutant:
    """One defect: what is replaced in a module, by what, and the tests that should notice."""

    name: str
    module: str
    """Its path below the service's package, as core/journal."""
    changes: tuple[tuple[str, str], ...]
    tests: tuple[str, ...] = ()
    service: str = ""
    """Its package's folder, if it is not the one that is tried."""


def run(source: str, tests: tuple[str, ...], mutants: Sequence[Mutant]) -> int:
    """Try those mutants of the modules below `source` whose name has all words of the command line; the exit status.

    With a number before the words, those from that one on. `tests` are those of a mutant that names none.
    """
    words = sys.argv[1:]
    begin = int(words.pop(0)) if words and words[0].isdigit() else 0
    chosen = [mutant for mutant in mutants[begin:] if all(word in mutant.name for word in words)]
    survived = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        copy = Path(name)
        shutil.copy(ROOT / "pyproject.toml", copy)
        for folder in (ROOT / "protos" / "gen", ROOT / "tests", ROOT / "bench", *ROOT.glob("*/src")):
            shutil.copytree(folder, copy / folder.relative_to(ROOT), ignore=shutil.ignore_patterns("__pycache__"))
        for suite in dict.fromkeys(mutant.tests or tests for mutant in chosen):
            if (sound := _test(copy, suite)).returncode != 0:
                raise SystemExit(f"{' '.join(suite)}: fails without any defect\n{sound.stdout[-2000:]}")
        for mutant in chosen:
            caught = _try(
                mutant, copy / (mutant.service or source) / f"{mutant.module}.py", copy, mutant.tests or tests
            )
            print(f"{'caught  ' if caught else 'SURVIVED'}  {mutant.name}: {caught or 'no test failed'}", flush=True)
            if not caught:
                survived.append(mutant.name)
    print(f"{len(chosen) - len(survived)} of {len(chosen)} defects caught")
    return 1 if survived else 0


def defective(mutant: Mutant, sound: str) -> str:
    """A module's text with the defect in it; raises ValueError where it does not fit there once."""
    text = sound
    for before, after in mutant.changes:
        if text.count(before) != 1:
            raise ValueError(f"{mutant.name}: {before!r} is {text.count(before)} times in {mutant.module}.py")
        text = text.replace(before, after)
    return text


def _try(mutant: Mutant, path: Path, copy: Path, tests: tuple[str, ...]) -> str:
    """Put the defect in, run the tests, take it out again; the first test that failed."""
    sound = path.read_text()
    text = defective(mutant, sound)
    compile(text, path, "exec")  # What cannot be read would be caught by any test.
    path.write_text(text)
    began = time.monotonic()
    try:
        ran = _test(copy, tests)
    finally:
        path.write_text(sound)
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)
    if ran.returncode == 0 or failed is None:
        if ran.returncode != 0:
            print(ran.stdout[-2000:], ran.stderr[-2000:])
        return ""
    return f"{failed[1].rpartition('/')[2]} ({time.monotonic() - began:.0f} s)"


def _test(copy: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", *PYTEST, *tests],
        cwd=copy,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
