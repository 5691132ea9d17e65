"""What a traceback in the log tells: where it failed, and nothing of what was worked on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from horde.services.telemetry import configure_logs, get_logger


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.contextvars.clear_contextvars()
    structlog.configure(**before)


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_shows_no_variables(form: Literal["console", "json"], capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(level="info", form=form, service="program")
    prompt = "a secret wish"[::-1]
    try:
        raise KeyError("what failed")
    except KeyError:
        get_logger("test").exception("call failed", long=len(prompt))
    told = capsys.readouterr().err
    assert "what failed" in told
    assert "test_a_traceback_shows_no_variables" in told
    assert prompt not in told
