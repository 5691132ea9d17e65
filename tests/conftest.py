"""What all tiers share: a throwaway PostgreSQL and a throwaway S3 server, started when a test first asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from horde.testkit.postgres import ThrowawayPostgres, throwaway_postgres
from horde.testkit.s3 import ThrowawayS3, throwaway_s3

settings.register_profile("patient", deadline=None)
"""For everybody: how long an example takes says how busy the machine is."""
settings.register_profile("unshrunk", deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
"""For those who only ask whether a test fails, as bench/mutants.py."""
settings.load_profile("patient")
BUCKETS = ("horde-private", "horde-shared", "horde-releases")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[ThrowawayPostgres]:
    """A PostgreSQL of this test run alone."""
    with throwaway_postgres() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql_server: ThrowawayPostgres) -> Iterator[str]:
    """The address of an empty PostgreSQL database, for one test."""
    url = postgresql_server.database()
    yield url
    postgresql_server.drop(url)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[ThrowawayS3]:
    """An S3 server of this test run alone, with a bucket each for what is private, shared, and released."""
    with throwaway_s3(BUCKETS) as server:
        yield server
