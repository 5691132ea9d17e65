"""Envoy's files: Envoy takes them, and what comes of one connection without end is answered by Envoy alone."""

from __future__ import annotations

import json
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import yaml

from horde.api.mesh.v1.mesh_service_pb2 import GetMeshRequest
from horde.api.mesh.v1.mesh_service_pb2_grpc import MeshServiceStub
from horde.testkit.waiting import HANG_SECONDS

ENVOY: Final = Path(sysconfig.get_path("scripts")) / "envoy"
FILE: Final = Path(__file__).parents[2] / "deploy" / "envoy" / "envoy.yaml"
HCM: Final = "envoy.filters.network.http_connection_manager"
pytestmark = pytest.mark.skipif(not ENVOY.exists(), reason="no envoy")


def mesh_listener(document: Any) -> Any:
    (listener,) = [each for each in document["static_resources"]["listeners"] if each["name"] == "mesh"]
    return listener


def filter_of(filters: list[Any], name: str) -> Any:
    (found,) = [each["typed_config"] for each in filters if each["name"] == name]
    return found


@contextmanager
def envoy(document: Any, folder: Path) -> Iterator[str]:
    """Runs it with the people's listener alone, on a free port; nobody is behind it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
    listener = mesh_listener(document)
    listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    document["static_resources"]["listeners"] = [listener]
    for cluster in document["static_resources"]["clusters"]:
        cluster["load_assignment"]["endpoints"] = []
    path = folder / "envoy.json"
    path.write_text(json.dumps(document))
    arguments = [str(ENVOY), "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def asked(target: str, times: int) -> list[grpc.StatusCode]:
    """How calls of one connection are answered, one after the other."""
    with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        grpc.channel_ready_future(channel).result(HANG_SECONDS)
        # The generated types know the stubs of asyncio alone.
        stub: Any = MeshServiceStub(channel)  # type: ignore[arg-type]
        answers = []
        for _ in range(times):
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetMesh(GetMeshRequest())
            answers.append(caught.value.code())
    return answers


def test_calls_of_one_connection_above_its_limit_never_reach_the_mesh(tmp_path: Path) -> None:
    document = yaml.safe_load(FILE.read_text())
    manager = filter_of(mesh_listener(document)["filter_chains"][0]["filters"], HCM)
    bucket = filter_of(manager["http_filters"], "envoy.filters.http.local_ratelimit")["token_bucket"]
    assert bucket == {"max_tokens": 1000, "tokens_per_fill": 200, "fill_interval": "1s"}
    bucket |= {"max_tokens": 5, "tokens_per_fill": 1, "fill_interval": "3600s"}
    with envoy(document, tmp_path) as target:
        unavailable, exhausted = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
        assert asked(target, 8) == [unavailable] * 5 + [exhausted] * 3
        # Another connection has tokens of its own.
        assert asked(target, 1) == [unavailable]


def test_connections_above_the_limit_are_closed(tmp_path: Path) -> None:
    document = yaml.safe_load(FILE.read_text())
    filters = mesh_listener(document)["filter_chains"][0]["filters"]
    limit = filter_of(filters, "envoy.filters.network.connection_limit")
    assert limit["max_connections"] == 20_000
    limit["max_connections"] = 1
    apart = [("grpc.use_local_subchannel_pool", 1)]
    with envoy(document, tmp_path) as target, grpc.insecure_channel(target, options=apart) as first:
        grpc.channel_ready_future(first).result(HANG_SECONDS)
        host, _, port = target.partition(":")
        with socket.create_connection((host, int(port)), timeout=HANG_SECONDS) as second:
            assert second.recv(1) == b""
