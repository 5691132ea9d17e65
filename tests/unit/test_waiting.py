"""No verdict depends on how busy the machine is: the rule, over every test and the kit.

What should come is waited for until it must be called hung, with the one bound of `horde.testkit.waiting`. Less than a
second may be waited to see that something does *not* come: on a busy machine that test looks less closely, and passes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from horde.testkit import waiting
from horde.testkit.waiting import ticks

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path
    for folder in ("tests", "testkit/src")
    for path in (ROOT / folder).rglob("*.py")
    if path.name not in ("waiting.py", "test_waiting.py")
)
SHORT_SECONDS, LONG_SECONDS = 1.0, 500.0
PLACES = {"timeout": 0, "timeout_at": 0, "wait_for": 1, "result": 0, "wait_procs": 1, "join": 0}
"""Calls that take a bound, and where among their arguments."""


def too_short(node: ast.expr | None) -> bool:
    """Whether it is a number that somebody made up for this one place, and that a busy machine may exceed."""
    value = node.value if isinstance(node, ast.Constant) else None
    return isinstance(value, int | float) and SHORT_SECONDS <= value < LONG_SECONDS


def found_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = PLACES.get(name)
            bound = node.args[place] if place is not None and len(node.args) > place else None
            if too_short(bound) or any(word.arg == "timeout" and too_short(word.value) for word in node.keywords):
                yield node.lineno, "a bound of its own"
            if ast.unparse(node.func) in ("time.monotonic", "time.perf_counter", "time.time"):
                yield node.lineno, "the clock on the wall"
        elif isinstance(node, ast.For) and "range" in ast.dump(node.iter):
            sleeps = [
                call
                for call in ast.walk(node)
                if isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "sleep"
                and ast.unparse(call.args[0]).startswith("0.0")
            ]
            if sleeps:
                yield node.lineno, "looks again only so many times"


def test_a_loop_that_waits_for_what_never_comes_does_not_end_as_if_it_had_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "HANG_SECONDS", 0.0)
    with pytest.raises(AssertionError, match="a letter"):
        for _ in ticks("a letter"):
            break
    with pytest.raises(AssertionError, match="2 of 3"):
        for _ in ticks(lambda: f"{1 + 1} of 3"):
            break


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_verdict_depends_on_how_busy_the_machine_is(path: Path) -> None:
    assert list(found_in(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("asyncio.timeout(10)", "a bound of its own"),
        ("asyncio.wait_for(call.read(), 5)", "a bound of its own"),
        ("stub.Say(x, timeout=5)", "a bound of its own"),
        ("time.monotonic()", "the clock on the wall"),
        ("for _ in range(500):\n await asyncio.sleep(0.01)", "looks again only so many times"),
        ("stub.Say(x, timeout=0.1)", None),
        ("asyncio.timeout(HANG_SECONDS)", None),
        ("for _ in range(3):\n await asyncio.sleep(0)", None),
    ],
)
def test_the_rule_sees_what_it_should(code: str, why: str | None) -> None:
    assert [found for _, found in found_in(ast.parse(code))] == ([why] if why else [])
