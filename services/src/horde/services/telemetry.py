"""What a service tells about itself while it runs: logs, traces, metrics.

Logs always, to standard error. Traces and metrics only where an OTLP endpoint is set; elsewhere nothing is recorded and
nothing is paid. Spans and histograms follow OpenTelemetry's conventions for RPC.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import structlog
from opentelemetry import metrics, propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from horde.services.errors import ServiceError
from horde.services.status import code_of

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import TracerProvider

TRACEPARENT = "traceparent"
BOUNDARIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
MAX_LINKS = 128
"""Of one span; OpenTelemetry keeps no more."""
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
        # Without variables: they hold keys and prompts, and to draw them takes a second in which nobody is served.
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_trace,
            *([TRACEBACKS] if form == "json" else []),
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


@contextmanager
def span_of_all(traceparents: Callable[[], Iterable[str]], name: str) -> Iterator[None]:
    """A span for what is done for several traces at once: of theirs if there is one alone, else linked to each."""
    if rpc is None:
        yield
        return
    contexts = [propagate.extract({TRACEPARENT: parent}) for parent in dict.fromkeys(traceparents()) if parent]
    spans = [trace.get_current_span(context).get_span_context() for context in contexts]
    one = contexts[0] if len({span.trace_id for span in spans}) == 1 else None
    links = [] if one is not None else [trace.Link(span) for span in spans[:MAX_LINKS]]
    with rpc.tracer.start_as_current_span(name, context=one, links=links, attributes={"items": len(spans)}):
        yield


class ObservedCall:
    """A call while it runs, served or made. Whoever observes it finishes it, once."""

    __slots__ = ("_began", "_facts", "_histogram", "_span")

    def __init__(self, span: trace.Span, histogram: metrics.Histogram, facts: dict[str, str]) -> None:
        self._span = span
        self._histogram = histogram
        self._facts = facts
        self._began = time.perf_counter()

    @property
    def traceparent(self) -> str:
        """What tells the other side of this call's span."""
        span = self._span.get_span_context()
        return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"

    def finish(self, error: BaseException | None = None, *, ours: bool = True) -> None:
        """Record how it ended; `ours` says whether an error of the caller's making counts as one of the span."""
        code = _code_name(error)
        self._facts["rpc.response.status_code"] = code
        if error is not None:
            self._facts["error.type"] = code
            if ours or code in ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "UNIMPLEMENTED"):
                self._span.set_status(Status(StatusCode.ERROR))
        self._span.set_attributes(self._facts)
        self._histogram.record(time.perf_counter() - self._began, self._facts)
        self._span.end()


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
    def served(self, method: str, headers: Headers) -> Iterator[None]:
        """Around a call that this process serves; goes on with the caller's trace, and is the current span."""
        parent = next((str(value) for key, value in headers if key == TRACEPARENT), "")
        context = propagate.extract({TRACEPARENT: parent}) if parent else None
        facts = {"rpc.system.name": "grpc", "rpc.method": method.lstrip("/")}
        span = self.tracer.start_span(facts["rpc.method"], context, SpanKind.SERVER, facts)
        call = ObservedCall(span, self._served, facts)
        error: BaseException | None = None
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as caught:
            error = caught
            raise
        finally:
            call.finish(error, ours=False)

    def made(self, method: str) -> ObservedCall:
        """A call that this process is about to make; whoever makes it sends `traceparent` along and finishes it."""
        facts = {"rpc.system.name": "grpc", "rpc.method": method.lstrip("/")}
        span = self.tracer.start_span(facts["rpc.method"], None, SpanKind.CLIENT, facts)
        return ObservedCall(span, self._made, facts)


def _code_name(error: BaseException | None) -> str:
    if error is None:
        return "OK"
    if isinstance(error, ServiceError):
        return code_of(type(error)).name
    return "INTERNAL" if isinstance(error, Exception) else "CANCELLED"


rpc: RpcTelemetry | None = None
"""Set while traces and metrics are on; None costs nothing."""


@contextmanager
def telemetry(
    *, service: str, endpoint: str = "", export_seconds: float = 10.0, prometheus: str = ""
) -> Iterator[None]:
    """Record traces and metrics and export them for as long as the block: both to an OTLP/gRPC endpoint, metrics also
    to whoever reads them at HOST:PORT as Prometheus does.

    Without either nothing is recorded. Enter it before serving: methods are wrapped when they are added.
    """
    global rpc
    if not endpoint and not prometheus:
        yield
        return
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    resource = Resource.create({"service.name": service})
    readers: list[MetricReader] = []
    traces = TracerProvider(resource=resource)
    with ExitStack() as stack:
        if endpoint:
            readers.append(_otlp(traces, endpoint, export_seconds))
        if prometheus:
            readers.append(stack.enter_context(_prometheus(prometheus)))
        meters = MeterProvider(resource=resource, metric_readers=readers)
        trace.set_tracer_provider(traces)
        metrics.set_meter_provider(meters)
        rpc = RpcTelemetry(traces.get_tracer("horde.services"), meters.get_meter("horde.services"))
        try:
            yield
        finally:
            rpc = None
            traces.shutdown()
            meters.shutdown()


def _otlp(traces: TracerProvider, endpoint: str, export_seconds: float) -> MetricReader:
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    insecure = not endpoint.startswith("https://")
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=insecure)))
    exporter = OTLPMetricExporter(endpoint=endpoint, insecure=insecure)
    return PeriodicExportingMetricReader(exporter, export_interval_millis=export_seconds * 1000)


@contextmanager
def _prometheus(listen: str) -> Iterator[MetricReader]:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import REGISTRY, start_http_server

    host, _, port = listen.rpartition(":")
    server, thread = start_http_server(int(port), host.strip("[]"), REGISTRY)
    try:
        yield PrometheusMetricReader()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
