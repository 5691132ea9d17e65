"""Calling a web door as AI Horde's clients do, and holding what it answers to a shape."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel
from tests.mesh.probing import EXTRA
from tests.mesh.v2.shapes import Accepted, Checked, Refused, Status

from horde.cli.local.mesh import LocalMesh, local_mesh
from horde.cli.local.roles import SERVICES, WEB_DOORS, Role
from horde.testkit.waiting import HANG_SECONDS

S = TypeVar("S", bound=BaseModel)
ANONYMOUS = "0000000000"
SMALL: Mapping[str, Any] = {"width": 64, "height": 64, "steps": 4}


@asynccontextmanager
async def web_mesh(folder: Path, gateway: Mapping[str, str] | None = None, **door: str) -> AsyncIterator[LocalMesh]:
    """A mesh with a web door, which is told these settings; and the gateway those."""
    told = {Role.GATEWAY: {**EXTRA[Role.GATEWAY], **(gateway or {})}, Role.WEB_DOOR: {"LOG_LEVEL": "warning", **door}}
    extra = {**EXTRA, **told}
    async with local_mesh(folder / "state", extra=extra, services=(*SERVICES, *WEB_DOORS)) as running:
        yield running


class Door:
    """A client of the REST API, with one key."""

    def __init__(self, http: httpx2.AsyncClient, key: str = ANONYMOUS) -> None:
        self.http = http
        self.key = key

    def by(self, key: str) -> Door:
        """The same door, for somebody else."""
        return Door(self.http, key)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        shown = {"apikey": self.key, **headers} if self.key else headers
        return await self.http.request(method, path, json=body, headers=shown)

    async def get(self, path: str, shape: type[S]) -> S:
        """What is there, held to its shape."""
        answer = await self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return shape.model_validate_json(answer.text)

    async def refused(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """How a call is refused: its status, and its code."""
        answer = await self.call(method, path, body, **headers)
        assert answer.status_code >= 400, answer.text
        return answer.status_code, Refused.model_validate_json(answer.text).rc

    async def ask(self, **body: Any) -> Accepted:
        """Ask for pictures."""
        body.setdefault("prompt", "a fox")
        body["params"] = {**SMALL, **body.get("params", {})}
        answer = await self.call("POST", "generate/async", body)
        assert answer.status_code == 202, answer.text
        return Accepted.model_validate_json(answer.text)

    async def checked(self, name: str) -> Checked:
        return await self.by("").get(f"generate/check/{name}", Checked)

    async def finished(self, name: str) -> Status:
        """Wait until it is done, as clients do: ask, and wait as long as they are told, or less."""
        async with asyncio.timeout(HANG_SECONDS):
            while not (now := await self.checked(name)).done:
                assert now.wait_time >= 1
                await asyncio.sleep(0.1)
        return await self.by("").get(f"generate/status/{name}", Status)

    async def painted(self, **body: Any) -> Status:
        """Ask, wait, and fetch."""
        return await self.finished((await self.ask(**body)).id)


@asynccontextmanager
async def door_of(mesh: LocalMesh) -> AsyncIterator[Door]:
    """The door of a mesh, for anonymous."""
    async with httpx2.AsyncClient(base_url=f"{mesh.web}/api/v2/", timeout=HANG_SECONDS) as http:
        yield Door(http)
