"""Verdicts as a table of drivers by cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from horde.cli.conform.suite import Verdict


def as_markdown(verdicts: Mapping[str, Sequence[Verdict]]) -> str:
    """A row for each case, a column for each driver: `yes`, `NO`, or `-` for what was skipped."""
    cases = list(dict.fromkeys(verdict.case for found in verdicts.values() for verdict in found))
    by_name = {name: {verdict.case: verdict for verdict in found} for name, found in verdicts.items()}
    lines = [f"| case | {' | '.join(verdicts)} |", f"|---|{'---|' * len(verdicts)}"]
    lines += [f"| {case} | {' | '.join(_mark(by_name[name].get(case)) for name in verdicts)} |" for case in cases]
    return "\n".join(lines)


def _mark(verdict: Verdict | None) -> str:
    if verdict is None or verdict.skipped:
        return "-"
    return "yes" if verdict.passed else "NO"
