"""Limits count who calls, through the door and through a proxy in front of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.mesh.probing import scripted
from tests.mesh.v2.calling import SMALL, Door, door_of, web_mesh

LIMIT = {"LIMIT_ADDRESS_IMAGES": "2/600s"}


async def asked(door: Door, address: str) -> tuple[int, str]:
    """Ask for a picture from an address, as a proxy says; the status, and the code where it is refused."""
    body = {"prompt": "a fox", "params": dict(SMALL)}
    answer = await door.call("POST", "generate/async", body, **{"x-forwarded-for": address})
    return answer.status_code, answer.json().get("rc", "")


async def ready(door: Door) -> None:
    while not (await door.call("GET", "status/models")).json():
        await asyncio.sleep(0.1)


async def test_callers_behind_a_proxy_that_is_named_are_counted_apart(tmp_path: Path) -> None:
    async with web_mesh(tmp_path, LIMIT, FORWARDED_FROM="127.0.0.0/8") as mesh, door_of(mesh) as door:
        await mesh.start_worker(scripted("anna"))
        await ready(door)
        assert [await asked(door, "192.0.2.7") for _ in range(2)] == [(202, "")] * 2
        assert await asked(door, "192.0.2.8") == (429, "TooManyPrompts")
        assert await asked(door, "198.51.100.7") == (202, "")


async def test_who_comes_directly_cannot_say_that_he_is_elsewhere(tmp_path: Path) -> None:
    async with web_mesh(tmp_path, LIMIT) as mesh, door_of(mesh) as door:
        await mesh.start_worker(scripted("anna"))
        await ready(door)
        assert [await asked(door, f"192.0.{number}.7") for number in range(2)] == [(202, "")] * 2
        assert await asked(door, "198.51.100.7") == (429, "TooManyPrompts")
