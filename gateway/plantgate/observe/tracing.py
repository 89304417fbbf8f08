"""OpenTelemetry spans around each batch's two hops, for plants that collect traces; nothing for those that do not."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeAlias

Span: TypeAlias = Callable[[str, dict[str, str | int]], AbstractContextManager[None]]
"""``with span("accept", {"plantgate.flow": "telemetry", "plantgate.samples": 240}):``"""


def no_span(name: str, attributes: dict[str, str | int]) -> AbstractContextManager[None]:
    """For a plant file that asks for no traces."""
    return nullcontext()


@contextmanager
def tracing(endpoint: str, ratio: float, plant: str, version: str) -> Iterator[Span]:
    """Send the share `ratio` (0..1) of spans to an OTLP/HTTP collector (``http://otel:4318/v1/traces``).

    Export runs on the SDK's own thread with a bounded queue; a collector that is away costs spans, not samples.
    Raises `ImportError` with the remedy when the extra ``plantgate[tracing]`` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
    except ImportError as error:
        raise ImportError("tracing needs the extra plantgate[tracing]; install it or remove `tracing`") from error
    provider = TracerProvider(
        sampler=TraceIdRatioBased(ratio),
        resource=Resource.create({"service.name": "plantgate", "service.version": version, "plantgate.plant": plant}),
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    tracer = provider.get_tracer("plantgate", version)

    @contextmanager
    def span(name: str, attributes: dict[str, str | int]) -> Iterator[None]:
        with tracer.start_as_current_span(name, attributes=attributes):
            yield

    try:
        yield span
    finally:
        provider.shutdown()
