"""Who is one of several of which one leads is dialled with short pings, and takes them: everywhere, or calls break."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCES = {folder.name: folder / "src" for folder in ROOT.iterdir() if (folder / "src").is_dir()}


@cache
def nodes_of(module: Path) -> list[ast.AST]:
    """Of a module that dials or serves; of others nothing."""
    text = module.read_text()
    return list(ast.walk(ast.parse(text))) if "dial" in text or "serving(" in text or "in_charge(" in text else []


def calls_in(module: Path) -> Iterator[ast.Call]:
    return (node for node in nodes_of(module) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def is_led(call: ast.Call) -> bool:
    """Whether a call says `keepalive=LED`."""
    return any(
        word.arg == "keepalive" and isinstance(word.value, ast.Name) and word.value.id == "LED"
        for word in call.keywords
    )


def modules(service: str) -> list[Path]:
    return sorted(SOURCES[service].rglob("*.py"))


LEADERS = {
    service
    for service in SOURCES
    if any(name_of(call) == "in_charge" for module in modules(service) for call in calls_in(module))
}


def dialled(module: Path) -> Iterator[tuple[str, bool]]:
    """Whom a module dials, as far as it is one who leads, and whether with short pings."""
    short = {
        target.id
        for node in nodes_of(module)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and is_led(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for call in calls_in(module):
        named = [word.value for word in call.keywords if word.arg == "neighbour"] or call.args[:1]
        if name_of(call) in ("dial", "channel", "neighbour") and named and isinstance(named[0], ast.Constant):
            yield str(named[0].value).partition(" (")[0], is_led(call) or name_of(call) in short


def test_who_leads_takes_short_pings() -> None:
    assert {"curation", "ledger", "scheduler", "webhooks"} <= LEADERS
    serving: dict[str, list[bool]] = {service: [] for service in LEADERS}
    for service, found in serving.items():
        for module in modules(service):
            found += [is_led(call) for call in calls_in(module) if name_of(call) == "serving"]
    assert serving == {service: [True] for service in LEADERS}


def test_who_leads_is_dialled_with_short_pings_and_nobody_else_is() -> None:
    wrong = [
        (service, neighbour)
        for service in SOURCES.keys() - {"testkit"}
        for module in modules(service)
        for neighbour, short in dialled(module)
        if short != (neighbour in LEADERS)
    ]
    assert not wrong
    found = {neighbour for module in modules("gateway") for neighbour, _ in dialled(module)}
    assert found >= LEADERS
