"""Schemas change once, however many start together; and an older release goes on with a newer schema."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import inspect, text
from structlog.testing import capture_logs

from horde.gateway.store.migrations import HISTORY
from horde.services.migrations import upgrade
from horde.services.sql import open_database

TOGETHER = 4


def test_replicas_that_start_at_once_on_an_empty_database_change_it_once(postgresql_url: str) -> None:
    engine, ready = open_database(postgresql_url), Barrier(TOGETHER)

    def start() -> None:
        with engine.connect() as connection:
            ready.wait()
            with connection.begin():
                upgrade(connection, HISTORY)

    with ThreadPoolExecutor(TOGETHER) as threads:
        for started in [threads.submit(start) for _ in range(TOGETHER)]:
            started.result()
    assert "gateway_schema" in inspect(engine).get_table_names()
    engine.dispose()


@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
def test_a_schema_of_a_newer_release_is_left_as_it_is(where: str, request: pytest.FixtureRequest) -> None:
    engine = open_database("sqlite://" if where == "sqlite" else request.getfixturevalue("postgresql_url"))
    with engine.begin() as connection:
        upgrade(connection, HISTORY)
        connection.execute(text("UPDATE gateway_schema SET version_num = 'later'"))
    with capture_logs() as told, engine.begin() as connection:
        upgrade(connection, HISTORY)
        assert connection.execute(text("SELECT version_num FROM gateway_schema")).scalar() == "later"
    assert [line["revision"] for line in told if "newer release" in line["event"]] == ["later"]
    engine.dispose()
