"""Who is asked every second whether it lives serves those who ask so often: else gRPC hangs up (`too_many_pings`)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def calls_with_led(folder: Path) -> Iterator[ast.Call]:
    """Every call in a service that is told `keepalive=LED`."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg == "keepalive" and isinstance(keyword.value, ast.Name) and keyword.value.id == "LED":
                        yield node


def dialled() -> set[str]:
    """The services that gateways dial so: the first word of what their channel is called."""
    found = set()
    for call in calls_with_led(ROOT / "gateway" / "src"):
        if call.args and isinstance(call.args[0], ast.Constant):
            found.add(str(call.args[0].value).split()[0])
    return found


def test_gateways_ask_all_who_have_leaders() -> None:
    assert dialled() >= {"scheduler", "ledger", "curation", "webhooks"}


@pytest.mark.parametrize("service", sorted(dialled()))
def test_who_is_asked_every_second_lets_others_ask_so_often(service: str) -> None:
    serves = [
        call
        for call in calls_with_led(ROOT / service / "src")
        if isinstance(call.func, ast.Name) and call.func.id == "serving"
    ]
    assert serves, f"{service} hangs up on whoever asks it every second"
