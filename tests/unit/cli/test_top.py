"""The mesh at a glance: what is read of services' metrics, and what is drawn."""

from __future__ import annotations

import io
import math
import socket
import threading

import pytest
from google.protobuf.duration_pb2 import Duration
from rich.console import Console

from horde.api.generation.v1.generation_pb2 import WaitEstimate
from horde.api.mesh.v1.mesh_service_pb2 import GetMeshResponse
from horde.api.model.v1.model_service_pb2 import Model
from horde.api.statistics.v1.statistics_service_pb2 import GetPerformanceResponse, GetTotalsResponse, Totals
from horde.api.worker.v1.worker_pb2 import Capabilities, ModelOffer, Worker, WorkerState
from horde.cli.overview.drawing import drawn
from horde.cli.overview.seen import Overview, Seen
from horde.cli.overview.services import Scrape, ServiceLine, addresses, line, read, scraped, tail

METRICS = """\
# TYPE target_info gauge
target_info{service_name="ledger"} 1.0
# TYPE rpc_server_call_duration_seconds histogram
rpc_server_call_duration_seconds_bucket{le="0.01",rpc_method="a/Apply",rpc_response_status_code="OK"} 90.0
rpc_server_call_duration_seconds_bucket{le="0.1",rpc_method="a/Apply",rpc_response_status_code="OK"} 98.0
rpc_server_call_duration_seconds_bucket{le="+Inf",rpc_method="a/Apply",rpc_response_status_code="OK"} 98.0
rpc_server_call_duration_seconds_count{rpc_method="a/Apply",rpc_response_status_code="OK"} 98.0
rpc_server_call_duration_seconds_sum{rpc_method="a/Apply",rpc_response_status_code="OK"} 1.0
rpc_server_call_duration_seconds_bucket{le="0.01",rpc_method="a/Apply",rpc_response_status_code="INTERNAL"} 0.0
rpc_server_call_duration_seconds_bucket{le="0.1",rpc_method="a/Apply",rpc_response_status_code="INTERNAL"} 2.0
rpc_server_call_duration_seconds_bucket{le="+Inf",rpc_method="a/Apply",rpc_response_status_code="INTERNAL"} 2.0
rpc_server_call_duration_seconds_count{rpc_method="a/Apply",rpc_response_status_code="INTERNAL"} 2.0
rpc_server_call_duration_seconds_sum{rpc_method="a/Apply",rpc_response_status_code="INTERNAL"} 0.1
# TYPE horde_ledger_settled_total counter
horde_ledger_settled_total{part="earned"} 5000.0
"""


def text_of(seen: Seen, rows: int = 5) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(drawn(seen, rows=rows))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_service_is_what_it_did_between_two_looks() -> None:
    now = read(METRICS, at=10.0)
    assert (now.service, now.calls, now.defects) == ("ledger", 100, 2)
    before = Scrape("ledger", 0.0, 50, 1, {0.01: 50, 0.1: 50, math.inf: 50}, {"earned": 1000})
    shown = line("127.0.0.1:7790", now, before)
    assert (shown.calls_a_second, shown.defects_a_second, shown.tail_seconds) == (5.0, 0.1, 0.1)
    assert shown.mkudos_a_second == {"earned": 400.0}


@pytest.mark.parametrize("before", [None, Scrape("ledger", 0.0, calls=101), Scrape("ledger", 10.0)])
def test_nothing_is_told_of_what_was_not_seen_twice(before: Scrape | None) -> None:
    assert line("a:1", read(METRICS, at=10.0), before) == ServiceLine("a:1", "ledger")


def test_what_is_no_metrics_is_an_error_and_no_calls_have_no_tail() -> None:
    with pytest.raises(ValueError, match=r"."):
        read("<html>", at=0.0)
    assert tail({}) is None
    assert tail({0.1: 0.0, math.inf: 3.0}) == math.inf


def test_a_port_that_speaks_no_http_is_told_and_ends_nothing() -> None:
    def answer_as_grpc(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"\0\0\x12\x04\0\0\0\0\0\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=answer_as_grpc, args=(listening,))
        answering.start()
        with pytest.raises(ValueError, match="no metrics are shown there"):
            scraped(f"127.0.0.1:{listening.getsockname()[1]}", at=0.0)
        answering.join()


def test_where_services_show_their_metrics_is_read_from_their_settings() -> None:
    told = {"HORDE_LEDGER_METRICS_LISTEN": "0.0.0.0:7790", "HORDE_GATEWAY_METRICS_LISTEN": "", "METRICS_LISTEN": "a:1"}
    assert addresses(told.items()) == ["127.0.0.1:7790"]


def worker(name: str, state: WorkerState.ValueType, leases: int = 0) -> Worker:
    offers = [ModelOffer(name="[bold]paintbox")]
    return Worker(name=name, state=state, leases=leases, slots=2, capabilities=Capabilities(models=offers))


OVERVIEW = Overview(
    GetMeshResponse(name="a mesh"),
    GetPerformanceResponse(jobs_queued=3, jobs_leased=1, workers_ready=1, workers_busy=2),
    GetTotalsResponse(minute=Totals(images_done=1), day=Totals(images_done=70, burned_mkudos=1500)),
    [
        Model(name="idle", workers=2),
        Model(name="[red]long", jobs_queued=3, wait=WaitEstimate(p50=Duration(seconds=4), p90=Duration(seconds=9))),
    ],
    [worker("gone", WorkerState.WORKER_STATE_AWAY), worker("ready", WorkerState.WORKER_STATE_READY)]
    + [worker(f"busy-{number}", WorkerState.WORKER_STATE_BUSY, leases=2) for number in range(3)],
)


def test_who_looks_sees_the_longest_queue_first_and_who_is_busy() -> None:
    text = text_of(Seen(OVERVIEW, []), rows=3)
    assert "3 jobs waiting, 1 painting; 2 of 3 workers busy" in text
    assert "last day: 70 images, 0 failed, 0.000 kudos minted, 1.500 burned" in text
    assert text.index("[red]long") < text.index("idle")
    assert "4.0 s to 9.0 s" in text
    assert text.index("busy-0") < text.index("busy-2")
    assert "[bold]paintbox" in text
    assert "ready" not in text.partition("worker")[2].partition("and 1 worker more")[0].partition("busy-2")[2]
    assert "and 1 worker more" in text
    assert "gone" not in text


def test_services_that_are_away_are_told_beside_those_that_answer() -> None:
    services = [
        ServiceLine("a:1", "ledger", calls_a_second=5.0, defects_a_second=0.1, tail_seconds=0.1),
        ServiceLine("b:2", "gateway", problem="Connection refused"),
    ]
    text = text_of(Seen(None, services, "nobody answers"))
    assert "the mesh does not answer: nobody answers" in text
    assert "100 ms" in text
    assert "away: Connection refused" in text
