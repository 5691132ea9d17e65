"""Calling a web door by the contract's own paths, as curl does."""

from __future__ import annotations

import asyncio
import json
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from horde.cli.local.mesh import LocalMesh
from horde.testkit.waiting import HANG_SECONDS

SMALL = {"width": 64, "height": 64, "steps": 4}


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    data: dict[str, Any]
    id: str = ""


class Caller:
    """Somebody who calls by HTTP, with one credential."""

    def __init__(self, http: httpx2.AsyncClient, credential: str = "") -> None:
        self.http = http
        self.credential = credential

    def by(self, credential: str) -> Caller:
        """The same door, for somebody else."""
        return Caller(self.http, credential)

    async def call(self, verb: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        if self.credential:
            headers = {"authorization": self.credential, **headers}
        return await self.http.request(verb, path, json=body, headers=headers)

    async def done(self, verb: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """What a call answers that succeeds."""
        answer = await self.call(verb, path, body, **headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        told: dict[str, Any] = answer.json()
        return told

    async def refused(self, verb: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """How a call is refused: its status, and the problem."""
        answer = await self.call(verb, path, body, **headers)
        assert answer.status_code >= 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        problem: dict[str, Any] = answer.json()
        assert problem["status"] == answer.status_code
        return answer.status_code, problem

    async def events(self, path: str, **headers: str) -> AsyncIterator[Event]:
        """What a stream tells, until it ends."""
        if self.credential:
            headers = {"authorization": self.credential, **headers}
        async with self.http.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.strip()
                elif "event" in fields:
                    yield Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
                    fields = {}
                else:
                    fields = {}

    async def finished(self, generation_id: str) -> dict[str, Any]:
        """A generation, when it has ended."""
        async with asyncio.timeout(HANG_SECONDS):
            async for event in self.events(f"/v1/generations/{generation_id}:watch"):
                if event.name == "finished":
                    told: dict[str, Any] = event.data["finished"]
                    return told
        raise AssertionError("the watch ended without an end")


async def asked(caller: Caller, prompt: str = "a fox", **spec: Any) -> dict[str, Any]:
    """Ask for one picture; the generation."""
    model = (await caller.done("GET", "/v1/models"))["models"][0]["name"]
    image = {"prompt": prompt, **SMALL, **spec.pop("image", {})}
    body = {
        "request_id": str(uuid.uuid4()),
        "spec": {"count": 1, "job": {"model": model, "image": image}, **spec},
    }
    answer = await caller.done("POST", "/v1/generations", body)
    generation: dict[str, Any] = answer["generation"]
    return generation


def nobody() -> str:
    """The credential of somebody who has no account."""
    return f"Anonymous {secrets.token_hex(16)}"


@asynccontextmanager
async def caller_of(mesh: LocalMesh) -> AsyncIterator[Caller]:
    """The door of a mesh, for somebody without an account."""
    async with httpx2.AsyncClient(base_url=mesh.web, timeout=HANG_SECONDS) as http:
        yield Caller(http, nobody())
