"""A gateway on loopback that does what a case says: fails, repeats itself, breaks off, lies. For SDKs.

A script is data: `fail = {Create = ["Unavailable"]}` (the next calls, by method), `watches` (what each watch says, an
error's name where it breaks), `chunks_before_break`, `expired_tickets`, `promise_other` (the picture is not what its
digest says). What the gateway heard is compared by the operation `heard`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from google.protobuf.json_format import MessageToDict, ParseDict

from horde.api.generation.v1.generation_service_pb2 import WatchGenerationResponse
from horde.cli.conform.fake_mesh import FakeMesh
from horde.cli.conform.matching import at, differences
from horde.clients import errors
from horde.services.errors import FieldViolation, ServiceError
from horde.services.identity import AllowList
from horde.services.server import serving

Json = dict[str, Any]
GENERATION: Final = "11111111-1111-4111-8111-111111111111"
"""The generation that scripts speak of: finished, with one image."""


@asynccontextmanager
async def scripted_mesh() -> AsyncIterator[FakeMesh]:
    """A fake mesh that is served, for as long as the block."""
    fake = FakeMesh()  # type: ignore[abstract]  # what no case calls is UNIMPLEMENTED
    services = fake.registrations()
    allow = AllowList({f"/{service.name}/*": {"*"} for service in services})
    async with serving(
        "127.0.0.1:0", services, name="conform", allow=allow, identity=None, grace=timedelta(seconds=0.2)
    ) as server:
        fake.address = f"127.0.0.1:{server.port}"
        async with _mute() as fake.mute_address:
            yield fake


@asynccontextmanager
async def _mute() -> AsyncIterator[str]:
    """The address of something that takes connections and says nothing, for as long as the block."""
    taken: list[asyncio.BaseTransport] = []

    class Mute(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            taken.append(transport)

    server = await asyncio.get_running_loop().create_server(Mute, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for transport in taken:
            transport.close()


def rehearse(fake: FakeMesh, script: Json) -> None:
    """Begin anew, with a script."""
    fake.begin_anew()
    fake.picture = b"picture" * 50_000
    fake.done_generation(GENERATION, promised=b"another" if script.get("promise_other") else None)
    for method, names in script.get("fail", {}).items():
        fake.fail(method, *(error_named(name) for name in names))
    for watch in script.get("watches", []):
        fake.watches.append([_said(fake, part) for part in watch])
    fake.sent_before_break = script.get("chunks_before_break")
    fake.tickets_until_good = script.get("expired_tickets", 0)


def _said(fake: FakeMesh, part: Json | str) -> WatchGenerationResponse | ServiceError:
    if isinstance(part, str):
        return error_named(part)
    if part.get("finished") is True:
        return WatchGenerationResponse(finished=fake.generations[GENERATION])
    return ParseDict(part, WatchGenerationResponse())


def error_named(text: str) -> ServiceError:
    """An error by its class, with how long to wait after it: `Unavailable`, `RateLimited after 0.5`."""
    name, _, after = text.partition(" after ")
    kind: type[ServiceError] = getattr(errors, name)
    violations = [FieldViolation("spec.count", "1 to 20")] if issubclass(kind, errors.InvalidField) else []
    metadata = {"needed_mkudos": "9000"} if issubclass(kind, errors.InsufficientKudos) else {}
    wait = timedelta(seconds=float(after)) if after else None
    return kind(metadata=metadata, violations=violations, retry_after=wait)


def not_heard(fake: FakeMesh, method: str, expected: Json) -> Iterator[str]:
    """Where what was heard of a method is not as expected: `times`, `same` (a path with one value in all of them),
    `requests` (each in turn), `authorization` (all begin so; empty: none), `one_authorization` (all from
    one requester).
    """
    requests = [MessageToDict(request, preserving_proto_field_name=True) for request in fake.heard(method)]
    if "times" in expected and len(requests) != expected["times"]:
        yield f"{method} was heard {len(requests)} times instead of {expected['times']}"
    if "same" in expected:
        values = {at(request, expected["same"]) for request in requests}
        if len(values) != 1 or None in values:
            yield f"{method}: {expected['same']} was {values}"
    if "requests" in expected:
        yield from differences(expected["requests"], requests, method)
    proofs = {authorization for name, _, authorization in fake.calls if name == method}
    if expected.get("one_authorization") and len(proofs) != 1:
        yield f"{method} came from {len(proofs)} requesters"
    if "authorization" in expected:
        beginning = expected["authorization"]
        if not all(proof.startswith(beginning) if beginning else not proof for proof in proofs):
            yield f"{method} came with {sorted(proof.partition(' ')[0] for proof in proofs)}"
