"""What a service tells about itself while it runs: logs, traces, metrics.

Logs always, to standard error. Traces and metrics only where an OTLP endpoint is set; elsewhere nothing is recorded and
nothing is paid. Spans and histograms follow OpenTelemetry's conventions for RPC.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import structlog
from opentelemetry import metrics, propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from horde.services.errors import ServiceError
from horde.services.status import code_of

TRACEPARENT = "traceparent"
BOUNDARIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
Headers = Iterable[tuple[str, str | bytes]]


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that takes an event and its facts: `log.info("job lost", job=job_id)`."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(name=name))


def configure_logs(*, level: str, form: Literal["console", "json"], service: str) -> None:
    """Send this process's logs to standard error, one line each."""
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_trace,
            *([structlog.processors.dict_tracebacks] if form == "json" else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_to_stderr,
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(
        level=max(number, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )


def _to_stderr(*names: str) -> structlog.PrintLogger:
    # What standard error is, is asked at each line: tests and daemons replace it.
    return structlog.PrintLogger(sys.stderr)


def _add_trace(logger: Any, name: str, event: Any) -> Any:
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = f"{span.trace_id:032x}"
    return event


# Until a process says otherwise: standard output belongs to programs' results, never to logs.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING), logger_factory=_to_stderr)


def current_traceparent() -> str:
    """The trace that this code runs in, as a W3C `traceparent` that can be stored or queued; empty if there is none."""
    if rpc is None:
        return ""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get(TRACEPARENT, "")


@contextmanager
def span_from(traceparent: str, name: str, **attributes: str | float | bool) -> Iterator[None]:
    """Go on with a trace that was carried through a queue: a span under it, for as long as the block."""
    if rpc is None:
        yield
        return
    parent = propagate.extract({TRACEPARENT: traceparent}) if traceparent else None
    with rpc.tracer.start_as_current_span(name, context=parent, attributes=attributes):
        yield


class ObservedCall:
    """A call while it runs: it succeeds unless told otherwise."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def failed(self, error: BaseException) -> None:
        self.error = error


class RpcTelemetry:
    """Spans and durations of calls, served and made."""

    def __init__(self, tracer: trace.Tracer, meter: metrics.Meter) -> None:
        self.tracer = tracer
        self._served = meter.create_histogram(
            "rpc.server.call.duration", "s", "Calls served", explicit_bucket_boundaries_advisory=BOUNDARIES
        )
        self._made = meter.create_histogram(
            "rpc.client.call.duration", "s", "Calls made", explicit_bucket_boundaries_advisory=BOUNDARIES
        )

    @contextmanager
    def served(self, method: str, headers: Headers) -> Iterator[ObservedCall]:
        """Around a call that this process serves; goes on with the caller's trace."""
        parent = next((str(value) for key, value in headers if key == TRACEPARENT), "")
        context = propagate.extract({TRACEPARENT: parent}) if parent else None
        with self._observed(method, SpanKind.SERVER, self._served, context) as call:
            yield call

    @contextmanager
    def made(self, method: str) -> Iterator[ObservedCall]:
        """Around a call that this process makes."""
        with self._observed(method, SpanKind.CLIENT, self._made, None) as call:
            yield call

    @contextmanager
    def _observed(self, method: str, kind: SpanKind, histogram: Any, context: Any) -> Iterator[ObservedCall]:
        name = method.lstrip("/")
        facts: dict[str, str] = {"rpc.system.name": "grpc", "rpc.method": name}
        call = ObservedCall()
        began = time.perf_counter()
        with self.tracer.start_as_current_span(
            name, context=context, kind=kind, attributes=facts, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield call
            except BaseException as error:
                call.error = call.error or error
                raise
            finally:
                code = _code_name(call.error)
                facts["rpc.response.status_code"] = code
                span.set_attribute("rpc.response.status_code", code)
                if call.error is not None:
                    facts["error.type"] = code
                    span.set_attribute("error.type", code)
                    if kind is SpanKind.CLIENT or code in ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE"):
                        span.set_status(Status(StatusCode.ERROR))
                histogram.record(time.perf_counter() - began, facts)


def _code_name(error: BaseException | None) -> str:
    if error is None:
        return "OK"
    if isinstance(error, ServiceError):
        return code_of(type(error)).name
    return "INTERNAL" if isinstance(error, Exception) else "CANCELLED"


rpc: RpcTelemetry | None = None
"""Set while traces and metrics are on; None costs nothing."""


@contextmanager
def telemetry(*, service: str, endpoint: str = "", export_seconds: float = 10.0) -> Iterator[None]:
    """Record traces and metrics and export them to an OTLP/gRPC endpoint for as long as the block.

    Without an endpoint nothing is recorded. Enter it before serving: methods are wrapped when they are added.
    """
    global rpc
    if not endpoint:
        yield
        return
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": service})
    insecure = not endpoint.startswith("https://")
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=insecure)))
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(endpoint=endpoint, insecure=insecure), export_interval_millis=export_seconds * 1000
    )
    meters = MeterProvider(resource=resource, metric_readers=[reader])
    trace.set_tracer_provider(traces)
    metrics.set_meter_provider(meters)
    rpc = RpcTelemetry(traces.get_tracer("horde.services"), meters.get_meter("horde.services"))
    try:
        yield
    finally:
        rpc = None
        traces.shutdown()
        meters.shutdown()
