"""What all services' tests share: whatever is refused, is refused as the contract says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from horde.testkit.contract import refusals_watched

SCRIPTED = ("clients", "worker_agent")
"""Tests in which a scripted mesh refuses, in as few words as the test needs."""


@pytest.fixture(autouse=True)
def _refusals_are_the_contracts(request: pytest.FixtureRequest) -> Iterator[None]:
    with refusals_watched() as found:
        yield
    path = request.node.path.as_posix()
    assert not found or any(f"/service/{scripted}" in path for scripted in SCRIPTED)
