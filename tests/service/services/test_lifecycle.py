"""Starting and stopping as a process; telemetry over a real OTLP connection."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

import horde.services
from horde.services import errors, lifecycle, telemetry
from horde.services.lifecycle import CannotStart, run
from horde.testkit.loopback import loopback

PROGRAM = """
import asyncio, sys
from horde.services.identity import AllowList
from horde.services.lifecycle import run, until_signalled
from horde.services.server import serving
from horde.services.telemetry import configure_logs, get_logger

async def main():
    configure_logs(level="info", form="json", service="program")
    async with serving("127.0.0.1:0", [], name="program", allow=AllowList({}), identity=None, farewell=farewell):
        print("up", flush=True)
        await until_signalled()

async def farewell():
    print("bye", flush=True)
    if len(sys.argv) > 1:
        await asyncio.Event().wait()

sys.exit(run(main()))
"""


STATES = """
import asyncio, sys, time
from horde.services import lifecycle
from horde.services.errors import Unavailable
from horde.services.identity import AllowList
from horde.services.lifecycle import run, until_signalled
from horde.services.loops import Loops
from horde.services.server import serving
from horde.services.telemetry import configure_logs

class Replaced(Unavailable):
    "Another has taken over."

async def loop():
    if state == "dies":
        raise KeyError("a defect")
    if state == "is replaced":
        raise Replaced
    await asyncio.Event().wait()

async def main():
    configure_logs(level="info", form="json", service="program")
    if state == "waits":
        print("up", flush=True)
        await asyncio.Event().wait()
    async with Loops() as loops, serving(
        "127.0.0.1:0", [], name="program", allow=AllowList({}), identity=None, farewell=farewell
    ):
        print("up", flush=True)
        loops.start("saver", loop())
        await until_signalled()

async def farewell():
    if state == "does not leave":
        time.sleep(1_000)

state = sys.argv[1]
sys.exit(run(main(), stop_seconds=1.0 if state == "does not leave" else 60, statuses={Replaced: lifecycle.REPLACED}))
"""


LITTER = """
import gc, sys
from horde.services.lifecycle import YOUNG, run

class Knot:
    alive = most = 0
    def __init__(self):
        self.itself = self
        Knot.alive += 1
        Knot.most = max(Knot.most, Knot.alive)
    def __del__(self):
        Knot.alive -= 1

async def main():
    assert gc.get_freeze_count() > 1_000
    for _ in range(20 * YOUNG):
        Knot()
    assert YOUNG // 4 < Knot.most < 2 * YOUNG, Knot.most

sys.exit(run(main()))
"""


async def start(*arguments: str, program: str = PROGRAM) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(horde.services.__file__).parents[2])},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_one_signal_ends_it_cleanly(number: signal.Signals) -> None:
    process = await start()
    process.send_signal(number)
    out, err = await process.communicate()
    assert process.returncode == 0
    assert out == b"bye\n"
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["event"] for line in lines] == ["serving", "stopped"]
    assert {line["service"] for line in lines} == {"program"}


async def test_a_second_signal_ends_it_at_once() -> None:
    process = await start("hang")
    assert process.stdout is not None
    process.terminate()
    assert await process.stdout.readline() == b"bye\n"
    process.terminate()
    await process.communicate()
    assert process.returncode == 128 + signal.SIGTERM


async def test_a_service_that_is_still_starting_is_ended_by_a_signal() -> None:
    process = await start("waits", program=STATES)
    process.terminate()
    _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"stopped while it was starting\n")


async def test_a_process_that_does_not_end_is_ended_by_force() -> None:
    process = await start("does not leave", program=STATES)
    process.terminate()
    _, err = await process.communicate()
    assert process.returncode == lifecycle.FAILED
    assert err.splitlines()[-1] == b"not over 1 s after it had to end: ended by force"


@pytest.mark.parametrize(
    ("state", "status", "last"),
    [
        ("dies", lifecycle.FAILED, b"ended: the loop 'saver' has died: KeyError('a defect')"),
        ("is replaced", lifecycle.REPLACED, b"ended: Another has taken over."),
    ],
)
async def test_a_loop_that_dies_ends_the_process_with_a_status_and_one_line(
    state: str, status: int, last: bytes
) -> None:
    process = await start(state, program=STATES)
    _, err = await process.communicate()
    assert process.returncode == status
    lines = err.splitlines()
    assert lines[-1] == last
    events = [json.loads(line)["event"] for line in lines[:-1]]
    assert events == ["serving", "a loop has died, and this service ends with it", "stopped"]


@pytest.fixture
def same_collector(monkeypatch: Any) -> None:
    """This process is not a service: its garbage is looked for as before."""
    monkeypatch.setattr(lifecycle, "spare_the_collector", lambda: None)


@pytest.mark.usefixtures("same_collector")
def test_what_the_operator_must_change_is_told_in_a_line(capsys: Any) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup():
            raise CannotStart("127.0.0.1:1 is taken")

    assert run(main()) == 2
    assert capsys.readouterr().err == "cannot start: 127.0.0.1:1 is taken\n"


@pytest.mark.usefixtures("same_collector")
@pytest.mark.parametrize("number", sorted(lifecycle.NOT_OURS_TO_WRITE), ids=errno.errorcode.get)
def test_a_place_that_cannot_be_written_is_told_in_a_line(number: int, capsys: Any) -> None:
    async def main() -> None:
        raise OSError(number, os.strerror(number), "/var/lib/horde")

    assert run(main()) == lifecycle.CANNOT_START
    told = f"cannot start: /var/lib/horde, where this process keeps something: {os.strerror(number)}\n"
    assert capsys.readouterr().err == told


@pytest.mark.usefixtures("same_collector")
def test_a_file_that_is_not_there_and_a_socket_that_fails_are_defects() -> None:
    for error in (FileNotFoundError(errno.ENOENT, "no such file", "/x"), PermissionError(errno.EPERM, "no")):

        async def main(error: OSError = error) -> None:
            raise error

        with pytest.raises(OSError, match="no"):
            run(main())


@pytest.mark.usefixtures("same_collector")
def test_what_nobody_expected_keeps_its_traceback() -> None:
    async def main() -> None:
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        run(main())


async def test_garbage_is_looked_for_seldom_but_looked_for() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        LITTER,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(horde.services.__file__).parents[2])},
    )
    _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


class Collector(trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer):
    """Takes both traces and metrics: the two services have a method of the same name, told apart by the message."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:
        if isinstance(request, trace_service_pb2.ExportTraceServiceRequest):
            self.spans += [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
            return trace_service_pb2.ExportTraceServiceResponse()
        self.metrics += [m for r in request.resource_metrics for scope in r.scope_metrics for m in scope.metrics]
        return metrics_service_pb2.ExportMetricsServiceResponse()


async def test_one_trace_goes_through_the_wire_and_a_queue(servicer: Any, echo: Any, stub: Any) -> None:
    collector = Collector()
    sink = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, sink)  # type: ignore[no-untyped-call]
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(collector, sink)  # type: ignore[no-untyped-call]
    port = sink.add_insecure_port("127.0.0.1:0")
    sink.start()
    queued: list[str] = []

    async def hook(text: str) -> None:
        queued.append(telemetry.current_traceparent())
        if text == "fail":
            raise errors.NotFound

    servicer.hook = hook
    assert telemetry.current_traceparent() == ""
    with telemetry.telemetry(service="echo", endpoint=f"http://127.0.0.1:{port}"):
        async with loopback([echo]) as wire:
            await stub(wire.channel).Say(StringValue(value="x"))
            with pytest.raises(errors.NotFound):
                await stub(wire.channel).Say(StringValue(value="fail"))
            assert [answer.value async for answer in stub(wire.channel).Count(StringValue(value="1"))] == ["0"]
        with telemetry.span_from(queued[0], "painted later", colour="red"):
            pass
    sink.stop(0).wait()
    assert telemetry.rpc is None
    later = next(span for span in collector.spans if span.name == "painted later")
    served, made = sorted(
        (span for span in collector.spans if span.trace_id == later.trace_id and span.name.endswith("/Say")),
        key=lambda span: int(span.kind),
    )
    assert (served.kind, made.kind) == (2, 3)
    assert served.parent_span_id == made.span_id
    assert later.parent_span_id == served.span_id
    facts = {item.key: item.value.string_value for item in served.attributes}
    assert facts["rpc.system.name"] == "grpc"
    assert facts["rpc.method"] == "test.echo.v1.EchoService/Say"
    codes = {i.value.string_value for s in collector.spans for i in s.attributes if i.key == "rpc.response.status_code"}
    assert codes == {"OK", "NOT_FOUND"}
    histograms = {metric.name: metric for metric in collector.metrics}
    assert histograms.keys() >= {"rpc.server.call.duration", "rpc.client.call.duration"}
    assert histograms["rpc.server.call.duration"].unit == "s"
