"""What all tiers share: a throwaway PostgreSQL and a throwaway S3 server, started when a test first asks for one."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence

import pytest
from hypothesis import Phase, settings

from horde.cli.local.processes import LineSink, Process
from horde.testkit.nursery import Nursery
from horde.testkit.postgres import ThrowawayPostgres, throwaway_postgres
from horde.testkit.s3 import ThrowawayS3, throwaway_s3

settings.register_profile("patient", deadline=None)
"""For everybody: how long an example takes says how busy the machine is."""
settings.register_profile("unshrunk", deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
"""For those who only ask whether a test fails, as bench/mutants.py."""
settings.load_profile("patient")
started: list[Process] = []
"""By tests of this module and their fixtures: what they said last stands beside a failure."""
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


@pytest.fixture(scope="session", autouse=True)
def processes() -> Iterator[None]:
    """The processes of meshes are forks of one that has imported everything, and are remembered for a while."""
    nursery, start = Nursery(), Process.start

    async def remembered(
        name: str, arguments: Sequence[str], environment: Mapping[str, str], sink: LineSink
    ) -> Process:
        started.append(await start(name, arguments, environment, sink))
        return started[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Process, "start_child", nursery.start)
        patch.setattr(Process, "start", remembered)
        yield
    nursery.close()


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> None:
    """Those of other modules are not at fault here."""
    started.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What each process of the mesh said last, beside the failure of a test."""
    report = yield
    if report.failed:
        for process in started:
            if process.tail:
                title = f"last words of {process.name}, status {process.status}"
                report.sections.append((title, "\n".join(process.tail)))
    return report
