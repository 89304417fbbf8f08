"""Batches to bytes: the messages we publish."""

from collections.abc import Callable
from typing import TypeAlias

from plantgate.sdk import Batch, Value
from plantgate_connectors.mqtt.settings import Format
from plantgate_connectors.payloads.batches import BatchWriter, event
from plantgate_connectors.payloads.texts import value_texts
from plantgate_connectors.payloads.words import TimeFormat

Encode: TypeAlias = Callable[[Batch, int, int], bytes]
"""The message for samples `start` to `stop` of a batch."""
EncodeEach: TypeAlias = Callable[[Batch], list[bytes]]
"""A message for each sample of a batch."""


def encoder(format_: Format, time: TimeFormat, source: str) -> Encode:
    """How a batch is written; `source` is who we are in a CloudEvent."""
    writer = BatchWriter(time)
    match format_:
        case Format.COLUMNS:
            return writer.columns
        case Format.CLOUDEVENTS:
            return lambda batch, start, stop: event(
                "plantgate.samples", source, batch, batch.position + start, writer.rows(batch, start, stop)
            )
        case _:
            return writer.rows


def value_encoder(format_: Format, time: TimeFormat, source: str) -> EncodeEach:
    """How single samples are written."""
    writer = BatchWriter(time)
    match format_:
        case Format.TEXT:
            return lambda batch: list(map(text, batch.values))
        case Format.CLOUDEVENTS:
            return lambda batch: [
                event("plantgate.sample", source, batch, batch.position + place, written)
                for place, written in enumerate(writer.each(batch))
            ]
        case _:
            return writer.each


def gaps_encoder(format_: Format, time: TimeFormat, source: str) -> Callable[[Batch], bytes]:
    """How the gaps of a batch are written, all in one message."""
    writer = BatchWriter(time)
    if format_ is Format.CLOUDEVENTS:
        return lambda batch: event("plantgate.gaps", source, batch, batch.position, writer.gaps(batch))
    return writer.gaps


def text(value: Value) -> bytes:
    """A bare value: numbers and words as they are, bytes as they are, nothing for None, JSON for the rest."""
    if isinstance(value, str):
        return value.encode(errors="replace")
    if isinstance(value, bytes):
        return value
    if value is None:
        return b""
    written = value_texts([value])[0]
    return written.strip('"').encode() if isinstance(value, float) else written.encode()
