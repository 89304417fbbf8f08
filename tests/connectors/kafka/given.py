"""What the tests of the Kafka connector start from."""

import json
from pathlib import Path
from typing import Any

from plantgate.sdk import Batch, Clock, Context, Unavailable
from plantgate.testing.context import RecordedLog, lent
from plantgate_connectors.kafka import Kafka, KafkaSettings

T0 = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z."""


def settings(server: str, **written: Any) -> KafkaSettings:
    """As from a plant file."""
    return KafkaSettings.model_validate_json(json.dumps({"servers": [server], **written}))


def kafka(folder: Path, server: str, *, clock: Clock | None = None, **written: Any) -> Kafka:
    """A connector that keeps its things in `folder`."""
    return Kafka(settings(server, **written), lent(folder, clock=clock))


def logged(context: Context) -> list[str]:
    """What was said, without the facts."""
    assert isinstance(context.log, RecordedLog)
    return [event for _, event, _ in context.log.lines]


def batch(count: int, *, position: int = 0, tags: int = 5, origin: str = "outbox-1") -> Batch:
    """Samples numbered from `position`; the value is the number, the time a millisecond more each."""
    numbers = range(position, position + count)
    return Batch(
        [f"line/t{number % tags}" for number in numbers],
        [float(number) for number in numbers],
        [0] * count,
        [T0 + number * 1_000_000 for number in numbers],
        origin=origin,
        position=position,
    )


async def deliver(connector: Kafka, *batches: Batch) -> None:
    """One session, everything accepted."""
    async with connector.sink() as sink:
        for one in batches:
            await sink.accept(one)


async def why(connector: Kafka, one: Batch) -> str:
    """The sentence of the `Unavailable` that delivering it ends in."""
    try:
        await deliver(connector, one)
    except Unavailable as error:
        return str(error)
    raise AssertionError("it was delivered")
