"""Limits count who calls, also through a proxy; but only a proxy that is named is believed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.services.errors import ResourceExhausted
from horde.testkit.gateway import Bench, bench

Spec = Callable[..., generation_pb2.GenerationSpec]


async def quote(mesh: Bench, spec: Spec, address: str) -> None:
    metadata = [("authorization", f"Anonymous {uuid.uuid4().hex}"), ("x-forwarded-for", address)]
    await mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=spec()), metadata=metadata)


async def test_those_who_come_through_a_proxy_are_counted_apart(tmp_path: Path, spec: Spec) -> None:
    async with bench(tmp_path, limit_address_calls="2/60s", forwarded_from="127.0.0.0/8") as mesh:
        for _ in range(2):
            await quote(mesh, spec, "192.0.2.7")
        with pytest.raises(ResourceExhausted):
            await quote(mesh, spec, "192.0.2.8")
        await quote(mesh, spec, "198.51.100.7")


async def test_nobody_else_gets_away_by_saying_where_he_is(tmp_path: Path, spec: Spec) -> None:
    async with bench(tmp_path, limit_address_calls="2/60s", forwarded_from="10.0.0.0/8") as mesh:
        for number in range(2):
            await quote(mesh, spec, f"192.0.{number}.7")
        with pytest.raises(ResourceExhausted):
            await quote(mesh, spec, "192.0.9.7")


async def test_the_scheduler_hears_where_anonymous_really_are(tmp_path: Path, spec: Spec) -> None:
    async with bench(tmp_path, forwarded_from="127.0.0.0/8") as mesh:
        metadata = [("authorization", f"Anonymous {uuid.uuid4().hex}"), ("x-forwarded-for", "192.0.2.7")]
        request = pb.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec())
        await mesh.generations.CreateGeneration(request, metadata=metadata)
        assert mesh.scheduler.submissions[0].address_bucket == "192.0.2.0/24"
