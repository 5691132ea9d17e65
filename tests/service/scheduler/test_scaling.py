"""KEDA asks by its own contract how many workers of an operator's own a queue is worth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import FieldDescriptor
from grpc import aio
from tests.service.scheduler.mesh import MODEL, OWNER, Gateway, Running, scheduler, submission

from horde.internal.keda import externalscaler_pb2 as pb
from horde.internal.keda.externalscaler_pb2_grpc import ExternalScalerStub
from horde.scheduler.core.job import AccountId
from horde.scheduler.doors.scaling import LOOK_SECONDS, METRIC, SERVICE
from horde.scheduler.doors.servicer import ALLOW
from horde.services.errors import InvalidArgument
from horde.services.identity import AllowList, PeerCertificate
from horde.services.server import Listener, serving
from horde.testkit.certificates import Authority
from horde.testkit.loopback import fields_of
from horde.testkit.waiting import until

BURST = "00000000-0000-4000-8000-00000000b000"
PACE = 2.0
"""Seconds for a megapixel-step."""
WORK = 0.512 * 0.512 * 20
"""Megapixel-steps of a picture as `submission` asks for it."""


@pytest_asyncio.fixture
async def it() -> AsyncIterator[Running]:
    async with scheduler() as running:
        yield running


def asked(**metadata: str) -> pb.ScaledObjectRef:
    return pb.ScaledObjectRef(name="burst", namespace="horde", scalerMetadata={"scalerAddress": "s:7702", **metadata})


async def wanted(it: Running, **metadata: str) -> float:
    """How many workers KEDA would start: the measure divided by its target."""
    scaler: Any = ExternalScalerStub(it.loopback.channel)
    ref = asked(model=MODEL, **metadata)
    (spec,) = (await scaler.GetMetricSpec(ref)).metricSpecs
    assert spec.metricName == METRIC
    request = pb.GetMetricsRequest(scaledObjectRef=ref, metricName=spec.metricName)
    (measure,) = (await scaler.GetMetrics(request)).metricValues
    assert (measure.metricName, measure.metricValue) == (METRIC, -int(-measure.metricValueFloat // 1))
    return float(measure.metricValueFloat / spec.targetSizeFloat)


async def active(it: Running, **metadata: str) -> bool:
    scaler: Any = ExternalScalerStub(it.loopback.channel)
    return bool((await scaler.IsActive(asked(model=MODEL, **metadata))).result)


async def queue(it: Running, monkeypatch: pytest.MonkeyPatch, count: int, pace: float | None = PACE) -> None:
    """That many pictures wait, and the median worker has this pace."""
    monkeypatch.setattr(it.engine.board.speeds, "median", lambda model: pace)
    await it.submit(submission(count=count))
    await until(lambda: it.engine.board.queue.models and it.engine.board.queue.models[MODEL].count == count)


async def test_nothing_waits_and_nobody_is_wanted(it: Running) -> None:
    assert await wanted(it) == 0
    assert not await active(it)


async def test_a_queue_is_worth_its_seconds(it: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    await queue(it, monkeypatch, 10)
    assert await wanted(it, targetSeconds="20") == pytest.approx(10 * WORK * PACE / 20, rel=0.05)
    assert await active(it)


def prove(it: Running, proven: bool = True) -> None:
    """The volunteers have painted before, or never."""
    standing = it.engine.board.fleet.standings[AccountId(OWNER)]
    standing.proven_images, standing.paid_images = 5, 5 if proven else 0


async def test_volunteers_take_their_part_and_ones_own_do_not(it: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Gateway(it) as gateway:
        for name, owner in (("volunteer", OWNER), ("own", BURST)):
            await gateway.attach(name, owner)
        prove(it)
        monkeypatch.setattr(it.engine.board.speeds, "median", lambda model: PACE)
        await it.submit(submission(count=12))
        await until(lambda: it.engine.board.queue.models[MODEL].count == 10)
        alone = 10 * WORK * PACE / 20
        assert await wanted(it, targetSeconds="20", owner=BURST) == pytest.approx(alone - 1, rel=0.05)
        # Who does not say which workers are his own has all of them left out.
        assert await wanted(it, targetSeconds="20") == pytest.approx(alone, rel=0.05)
        assert await wanted(it, targetSeconds="1000", owner=BURST) == 0


async def test_who_only_sits_there_keeps_nobody_away(it: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    await queue(it, monkeypatch, 10, pace=None)
    async with Gateway(it) as gateway:
        for number in range(3):
            await gateway.attach(f"idle {number}", OWNER, slots=0)
        prove(it, proven=False)
        assert await wanted(it, owner=BURST) == 1, "strangers"
        prove(it)
        assert await wanted(it, owner=BURST) == 1, "without a slot"


async def test_one_is_wanted_where_nobody_was_ever_measured(it: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Gateway(it) as gateway:
        await gateway.attach("volunteer", OWNER)
        monkeypatch.setattr(it.engine.board.speeds, "median", lambda model: None)
        await it.submit(submission(count=3))
        await until(lambda: it.engine.board.queue.models[MODEL].count == 2)
        prove(it, proven=False)
        assert await wanted(it, owner=BURST) == 1
        prove(it)
        assert await wanted(it, owner=BURST) == 0


async def test_who_paints_is_not_ended(it: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Gateway(it) as gateway:
        painter = await gateway.attach("own", BURST)
        await it.submit(submission())
        await painter.next("assignment")
        assert await wanted(it, owner=BURST) == 0
        assert await active(it, owner=BURST)
        assert not await active(it, owner=OWNER)


async def test_a_stream_tells_at_once_and_whenever_it_changes(it: Running) -> None:
    async with Gateway(it) as gateway:
        stub: Any = ExternalScalerStub(it.loopback.channel)
        stream = stub.StreamIsActive(asked(model=MODEL, owner=BURST))
        assert not (await stream.read()).result
        painter = await gateway.attach("own", BURST)
        await it.submit(submission())
        await painter.next("assignment")
        await until(lambda: it.world.clock.waits_for(LOOK_SECONDS))
        await it.world.clock.advance(LOOK_SECONDS)
        assert (await stream.read()).result
        # Whoever leads next is asked then.
        it.engine.scaler.leave()
        await until(lambda: it.world.clock.waits_for(LOOK_SECONDS))
        await it.world.clock.advance(LOOK_SECONDS)
        assert await stream.read() is aio.EOF
        assert await stream.code() == grpc.StatusCode.OK


def test_the_contract_is_kedas_on_the_wire() -> None:
    """As pkg/scalers/externalscaler/externalscaler.proto of KEDA has it: methods, and fields by number and type."""
    service = pb.DESCRIPTOR.services_by_name["ExternalScaler"]
    assert service.full_name == "externalscaler.ExternalScaler"
    methods = {
        method.name: (method.input_type.name, method.output_type.name, method.client_streaming, method.server_streaming)
        for method in service.methods
    }
    assert methods == {
        "IsActive": ("ScaledObjectRef", "IsActiveResponse", False, False),
        "StreamIsActive": ("ScaledObjectRef", "IsActiveResponse", False, True),
        "GetMetricSpec": ("ScaledObjectRef", "GetMetricSpecResponse", False, False),
        "GetMetrics": ("GetMetricsRequest", "GetMetricsResponse", False, False),
    }
    text, boolean, whole, real, message = (
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_DOUBLE,
        FieldDescriptor.TYPE_MESSAGE,
    )
    fields = {
        name: [(field.number, field.name, field.type, field.is_repeated) for field in kind.fields]
        for name, kind in pb.DESCRIPTOR.message_types_by_name.items()
    }
    assert fields == {
        "ScaledObjectRef": [
            (1, "name", text, False),
            (2, "namespace", text, False),
            (3, "scalerMetadata", message, True),
        ],
        "IsActiveResponse": [(1, "result", boolean, False)],
        "GetMetricSpecResponse": [(1, "metricSpecs", message, True)],
        "MetricSpec": [
            (1, "metricName", text, False),
            (2, "targetSize", whole, False),
            (3, "targetSizeFloat", real, False),
        ],
        "GetMetricsRequest": [(1, "scaledObjectRef", message, False), (2, "metricName", text, False)],
        "GetMetricsResponse": [(1, "metricValues", message, True)],
        "MetricValue": [
            (1, "metricName", text, False),
            (2, "metricValue", whole, False),
            (3, "metricValueFloat", real, False),
        ],
    }


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({}, "scalerMetadata.model"),
        ({"model": MODEL, "targetSeconds": "soon"}, "scalerMetadata.targetSeconds"),
        ({"model": MODEL, "targetSeconds": "0"}, "scalerMetadata.targetSeconds"),
        ({"model": MODEL, "targetSeconds": "inf"}, "scalerMetadata.targetSeconds"),
    ],
    ids=["no model", "no number", "nothing", "no bound"],
)
async def test_a_trigger_that_cannot_be_is_refused_by_its_field(
    it: Running, metadata: dict[str, str], field: str
) -> None:
    scaler: Any = ExternalScalerStub(it.loopback.channel)
    with pytest.raises(InvalidArgument) as caught:
        await scaler.GetMetricSpec(asked(**metadata))
    assert fields_of(caught.value) == [field]


async def test_keda_calls_as_itself_by_certificate_and_nobody_else_does(it: Running, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    served = authority.issue("scheduler.mesh.internal")
    rules = {method: ALLOW.allowed(method) for method in ALLOW.methods() if method.startswith(f"/{SERVICE}/")}
    async with serving(
        Listener("127.0.0.1:0", served), [it.engine.scaler.registration],
        name="scheduler", allow=AllowList(rules), identity=PeerCertificate(".mesh.internal"),
    ) as server:  # fmt: skip
        for caller, code in (("keda", grpc.StatusCode.OK), ("gateway", grpc.StatusCode.PERMISSION_DENIED)):
            files = authority.issue(f"{caller}.mesh.internal")
            assert files.certificate is not None
            assert files.key is not None
            # As KEDA dials: plain gRPC with the three files of its TriggerAuthentication.
            credentials = grpc.ssl_channel_credentials(
                authority.file.read_bytes(), files.key.read_bytes(), files.certificate.read_bytes()
            )
            async with aio.secure_channel(f"127.0.0.1:{server.port}", credentials) as channel:
                call = ExternalScalerStub(channel).IsActive(asked(model=MODEL))
                assert await call.code() == code
