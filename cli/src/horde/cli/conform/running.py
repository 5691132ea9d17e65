"""Starts a driver, and the gateway of the kit where there is no other, and puts the cases through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

from horde.cli.conform.cases.reading import read_cases
from horde.cli.conform.drivers import HTTP_DRIVER, driving
from horde.cli.conform.script import scripted_mesh
from horde.cli.conform.suite import Suite, Verdict, needs_met

SHORT_PATIENCE_SECONDS = 20.0
"""Of an SDK before the gateway of the kit: long enough for each case, and no hour is waited for."""


async def hold(
    command: Sequence[str], host: str | None, model: str = "paintbox", only: str = "", *, words: str = ""
) -> AsyncIterator[Verdict]:
    """The verdicts of one driver; at `host`, or without it before a gateway that misbehaves. Raises DriverFailed.

    `words`: the door whose own words the cases are in (`v2`). Such a door opens no accounts: beside it the contract's
    paths do.
    """
    cases = [case for case in read_cases("mesh" if host else "sdk", words) if only in case.name]
    async with AsyncExitStack() as stack:
        driver = await stack.enter_async_context(driving(command))
        if host:
            clerk = await stack.enter_async_context(driving(HTTP_DRIVER)) if words else driver
            suite = Suite(driver, host, model, await needs_met(clerk, host, model), clerk=clerk)
        else:
            fake = await stack.enter_async_context(scripted_mesh())
            suite = Suite(driver, fake.address, model, set(), SHORT_PATIENCE_SECONDS, fake=fake)
        async for verdict in suite.run(cases):
            yield verdict
