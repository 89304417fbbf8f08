"""Batches to bytes: the bodies we post, with the gaps beside the samples."""

from collections.abc import Callable
from typing import Final, TypeAlias

from plantgate.sdk import Batch
from plantgate_connectors.http.settings import Format
from plantgate_connectors.payloads.batches import BatchWriter, event
from plantgate_connectors.payloads.texts import gap_object, json_text
from plantgate_connectors.payloads.words import TimeFormat

Encode: TypeAlias = Callable[[Batch, int, int], bytes]
"""The body for samples `start` to `stop` of a batch; with the first of them go the gaps."""

CONTENT_TYPES: Final = {
    Format.JSON: "application/json",
    Format.COLUMNS: "application/json",
    Format.CLOUDEVENTS: "application/cloudevents+json",
}


def encoder(format_: Format, time: TimeFormat, source: str) -> Encode:
    """How a batch is written; `source` is who we are in a CloudEvent."""
    writer = BatchWriter(time)

    def gaps(batch: Batch, start: int) -> str:
        if start or not batch.gaps:
            return ""
        return f',"gaps":{json_text([gap_object(gap, time) for gap in batch.gaps])}'

    def rows(batch: Batch, start: int, stop: int) -> bytes:
        return writer.rows(batch, start, stop, gaps(batch, start))

    match format_:
        case Format.JSON:
            return rows
        case Format.COLUMNS:
            return lambda batch, start, stop: writer.columns(batch, start, stop, gaps(batch, start))
        case Format.CLOUDEVENTS:
            return lambda batch, start, stop: event(
                "plantgate.samples", source, batch, batch.position + start, rows(batch, start, stop)
            )
