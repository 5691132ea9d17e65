"""The driver of the Python SDK."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor_pool import Default
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from horde.api.generation.v1.generation_pb2 import GenerationSpec
from horde.clients.client import HordeClient
from horde.clients.credentials import AnonymousToken, ApiKey
from horde.clients.errors import DamagedImage, ServiceError
from horde.clients.retrying import Patience
from horde.clients.session import GenerationSession
from horde.clients.watching import Finished, ImageChanged, Previewed, Progressed, Snapshot, WatchEvent
from horde.services.status import code_of

Json = dict[str, Any]

NOUNS: Final = "account generation mesh model moderation rating release standing statistics storage worker".split()  # noqa: SIM905
KINDS: Final[Mapping[type, str]] = {
    Snapshot: "snapshot", ImageChanged: "image", Progressed: "progress", Previewed: "preview", Finished: "finished",
}  # fmt: skip


@dataclass(slots=True)
class Driver:
    """Clients and sessions by name, and the operations on them."""

    clients: dict[str, tuple[HordeClient, AsyncExitStack]] = field(default_factory=dict)
    sessions: dict[str, tuple[GenerationSession, AsyncExitStack]] = field(default_factory=dict)

    async def hello(self) -> Json:
        return {"name": "python", "version": version("horde-mesh")}

    async def open(
        self,
        client: str,
        target: str,
        api_key: str = "",
        anonymous: str = "",
        config_folder: str = "",
        patience_seconds: float = 30,
        attempt_seconds: float = 10,
    ) -> Json:
        credential = ApiKey(api_key) if api_key else AnonymousToken(anonymous) if anonymous else None
        stack = AsyncExitStack()
        opened = HordeClient(
            target,
            credential=credential,
            anonymous=credential is None,
            config_folder=Path(config_folder) if config_folder else None,
            patience=Patience(
                timedelta(seconds=patience_seconds),
                timedelta(milliseconds=20),
                attempt=timedelta(seconds=attempt_seconds),
            ),
        )
        self.clients[client] = (await stack.enter_async_context(opened), stack)
        return {}

    async def close(self, client: str) -> Json:
        await self.clients.pop(client)[1].aclose()
        return {}

    async def call(self, client: str, method: str, request: Json) -> Json:
        service, _, name = method.rpartition("/")
        found = Default().FindServiceByName(service).FindMethodByName(name)
        message = ParseDict(request, GetMessageClass(found.input_type)())
        return {"response": plain(await self._client(client).call(method, message))}

    async def quote(self, client: str, spec: Json) -> Json:
        return {"quote": plain(await self._client(client).generations.quote(parsed(spec)))}

    async def generate(
        self,
        client: str,
        spec: Json,
        request_id: str | None = None,
        max_total_mkudos: int | None = None,
        cancels: bool = True,
    ) -> Json:
        return await self._enter(
            self._client(client).generation(
                parsed(spec), request_id=request_id, max_total_mkudos=max_total_mkudos, cancels=cancels
            )
        )

    async def following(self, client: str, generation_id: str) -> Json:
        return await self._enter(self._client(client).following(generation_id))

    async def watch(self, session: str, previews: bool = False, until: str = "") -> Json:
        events = []
        watching = self.sessions[session][0].watch(previews=previews)
        async for event in watching:
            events.append(described(event))
            if until and events[-1]["kind"] == until:
                await watching.aclose()
                break
        return {"events": events, "generation": plain(self.sessions[session][0].generation)}

    async def pictures(self, session: str) -> Json:
        found = []
        async for image, content in self.sessions[session][0].pictures():
            promised = image.sha256.hex()
            found.append({"index": image.index, **digested(content), "promised_sha256": promised})
        return {"pictures": found, "generation": plain(self.sessions[session][0].generation)}

    async def fetch(self, client: str, generation_id: str, job_id: str) -> Json:
        return digested(await self._client(client).images.fetch(generation_id, job_id))

    async def put(self, client: str, content: str, input_id: str | None = None) -> Json:
        put = await self._client(client).images.put(base64.b64decode(content), input_id=input_id)
        return {"input": plain(put)}

    async def cancel(self, session: str) -> Json:
        return {"generation": plain(await self.sessions[session][0].cancel())}

    async def leave(self, session: str) -> Json:
        left, stack = self.sessions.pop(session)
        await stack.aclose()
        return {"generation": plain(left.generation)}

    def _client(self, name: str) -> HordeClient:
        return self.clients[name][0]

    async def _enter(self, session: GenerationSession) -> Json:
        stack = AsyncExitStack()
        entered = await stack.enter_async_context(session)
        name = f"session {len(self.sessions)} {entered.generation.generation_id}"
        self.sessions[name] = (entered, stack)
        return {"session": name, "generation": plain(entered.generation)}


def parsed(spec: Json) -> GenerationSpec:
    return ParseDict(spec, GenerationSpec())


def plain(message: Message) -> Json:
    found: Json = MessageToDict(message, preserving_proto_field_name=True)
    return found


def digested(content: bytes) -> Json:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def described(event: WatchEvent) -> Json:
    kind = KINDS.get(type(event), "wait")
    match event:
        case Snapshot(generation) | Finished(generation):
            return {"kind": kind, "version": generation.version}
        case ImageChanged(image):
            return {"kind": kind, "version": image.version, "index": image.index}
        case Progressed():
            return {"kind": kind, "index": event.index, "step": event.step}
        case _:
            return {"kind": kind, "index": event.index}


def error_of(error: Exception) -> Json:
    if isinstance(error, DamagedImage):
        return {"reason": "DAMAGED_IMAGE", "message": str(error)}
    if not isinstance(error, ServiceError):
        return {"code": "DRIVER", "message": f"{type(error).__name__}: {error}"}
    facts: Json = {
        "code": code_of(type(error)).name,
        "reason": error.reason,
        "domain": error.domain,
        "message": error.message,
        "metadata": error.metadata,
        "violations": [violation.field for violation in error.violations],
    }
    if error.retry_after is not None:
        facts["retry_after_s"] = error.retry_after.total_seconds()
    return facts


def know_every_method() -> None:
    """Import what the contract has: only then is a method found by its name."""
    for noun in NOUNS:
        package = import_module(f"horde.api.{noun}.v1")
        for path in sorted(Path(package.__path__[0]).glob("*_service_pb2.py")):
            import_module(f"{package.__name__}.{path.stem}")


async def main() -> None:
    know_every_method()
    driver = Driver()
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        number, op = request.pop("id"), request.pop("op")
        try:
            answer = {"id": number, "ok": await getattr(driver, op)(**request)}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            answer = {"id": number, "error": error_of(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
