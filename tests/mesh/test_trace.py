"""One trace for one generation: from the client's call, through the queue, to the write into the bucket."""

from __future__ import annotations

import asyncio
import re
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from tests.mesh.probing import EXTRA, eventually, scripted, small

from horde.cli.local.mesh import free_ports, local_mesh
from horde.cli.local.roles import Role
from horde.services.telemetry import telemetry

HORDE = Path(sys.executable).with_name("horde")


class Collector(trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer):
    """An OTLP endpoint that keeps what it is sent: (service, span)."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        self.metrics: set[str] = set()

    def Export(self, request: Any, context: Any) -> Any:
        if isinstance(request, trace_service_pb2.ExportTraceServiceRequest):
            for resource_span in request.resource_spans:
                service = next(
                    i.value.string_value for i in resource_span.resource.attributes if i.key == "service.name"
                )
                self.spans += [(service, span) for scope in resource_span.scope_spans for span in scope.spans]
            return trace_service_pb2.ExportTraceServiceResponse()
        for resource_metric in request.resource_metrics:
            self.metrics |= {metric.name for scope in resource_metric.scope_metrics for metric in scope.metrics}
        return metrics_service_pb2.ExportMetricsServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    kept = Collector()
    sink = grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(kept, sink)  # type: ignore[no-untyped-call]
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(kept, sink)  # type: ignore[no-untyped-call]
    port = sink.add_insecure_port("127.0.0.1:0")
    sink.start()
    yield kept, f"http://127.0.0.1:{port}"
    sink.stop(0).wait()


def scrape(port: int) -> str:
    """What Prometheus would read."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


async def test_one_trace_from_the_clients_call_to_the_bucket(tmp_path: Path, collector: tuple[Collector, str]) -> None:
    kept, endpoint = collector
    extra = {role: {**EXTRA.get(role, {}), "TELEMETRY_ENDPOINT": endpoint} for role in Role}
    ports = free_ports((Role.SCHEDULER, Role.LEDGER, Role.GATEWAY))
    for role, port in ports.items():
        extra[role]["METRICS_LISTEN"] = f"127.0.0.1:{port}"
    with telemetry(service="requester", endpoint=endpoint):
        async with local_mesh(tmp_path / "state", extra=extra) as mesh:
            await mesh.start_worker(scripted("anna"))
            async with mesh.client() as client:
                accepted = await client.generations.create(small("a cat"), request_id=str(uuid.uuid4()))
                async for _ in client.generations.watch(accepted.generation_id):
                    pass
            # What is looked at now and then is there a little later.
            await eventually(lambda: "horde_scheduler_model_workers{" in scrape(ports[Role.SCHEDULER]), "the gauges")
            told = [f"--metrics=127.0.0.1:{port}" for port in (*ports.values(), 1)]
            top = await asyncio.create_subprocess_exec(
                *(str(HORDE), "top", "--gateway", mesh.gateway, *told), stdout=asyncio.subprocess.PIPE
            )
            (glance, _), status = await top.communicate(), top.returncode
            shown = [await asyncio.to_thread(scrape, port) for port in ports.values()]
    assert status == 0
    for words in (
        "0 jobs waiting",
        "of 1 worker busy",
        "paintbox",
        "anna",
        "scheduler  ",
        "ledger  ",
        "gateway  ",
        "refused",
    ):
        assert words in glance.decode(), glance.decode()
    # Processes export what is left when they stop, and so does ours: all spans are here now.
    created = next(
        span for service, span in kept.spans if service == "requester" and span.name.endswith("/CreateGeneration")
    )
    trace = [(service, span.name) for service, span in kept.spans if span.trace_id == created.trace_id]
    names = {(service, name.rpartition("/")[2]) for service, name in trace}
    assert ("gateway", "CreateGeneration") in names
    assert {("scheduler", "lend"), ("scheduler", "settle")} <= names
    assert {("worker-agent", "paint"), ("worker-agent", "upload")} <= names
    assert {("storage-router", "PutImage"), ("storage-router", "commit")} <= names
    assert ("ledger", "Apply") in names
    # One tree: all but the first hang on another, and that is the requester's.
    by_id = {span.span_id: (service, span) for service, span in kept.spans if span.trace_id == created.trace_id}
    roots = [(service, span.name) for service, span in by_id.values() if not span.parent_span_id]
    assert roots == [("requester", created.name)]
    for service, span in by_id.values():
        assert not span.parent_span_id or span.parent_span_id in by_id, f"{service} {span.name} hangs in the air"
    assert {"rpc.server.call.duration", "rpc.client.call.duration"} <= kept.metrics
    # By the names that deploy/watching asks for.
    scheduler, ledger, gateway = shown
    for name in ("horde_scheduler_jobs", "horde_scheduler_sessions", "horde_scheduler_model_workers{"):
        assert name in scheduler
    assert 'horde_ledger_events_total{kind="settle",' in ledger
    assert "horde_ledger_settled_total{" in ledger
    assert 'part="earned"' in ledger
    for name in ("bucket", "count"):
        assert f"rpc_server_call_duration_seconds_{name}{{" in gateway
    assert re.search(r'rpc_method="[^"]*/CreateGeneration"', gateway)
    assert 'rpc_response_status_code="OK"' in gateway
