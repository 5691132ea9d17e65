"""Starts a driver, and the gateway of the kit where there is no other, and puts the cases through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from horde.cli.conform.cases.reading import read_cases
from horde.cli.conform.drivers import driving
from horde.cli.conform.script import scripted_mesh
from horde.cli.conform.suite import Suite, Verdict, needs_met

SHORT_PATIENCE_SECONDS = 20.0
"""Of an SDK before the gateway of the kit: long enough for each case, and no hour is waited for."""


async def hold(
    command: Sequence[str], host: str | None, model: str = "paintbox", only: str = ""
) -> AsyncIterator[Verdict]:
    """The verdicts of one driver; at `host`, or without it before a gateway that misbehaves. Raises DriverFailed."""
    cases = [case for case in read_cases("mesh" if host else "sdk") if only in case.name]
    async with driving(command) as driver:
        if host:
            suite = Suite(driver, host, model, await needs_met(driver, host, model))
            async for verdict in suite.run(cases):
                yield verdict
            return
        async with scripted_mesh() as fake:
            suite = Suite(driver, fake.address, model, set(), SHORT_PATIENCE_SECONDS, fake)
            async for verdict in suite.run(cases):
                yield verdict
