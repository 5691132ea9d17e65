"""What all services' tests share: whatever is refused, is refused as the contract says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from horde.testkit.contract import refusals_watched


@pytest.fixture(autouse=True)
def _refusals_are_the_contracts() -> Iterator[None]:
    with refusals_watched() as found:
        yield
    assert not found
