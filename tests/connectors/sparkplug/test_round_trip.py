"""Whatever a batch holds, an edge node of ours writes it and a host application of ours reads it back, exactly."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Batch, Sample, Value
from plantgate.sdk.quality import BAD, GOOD, UNCERTAIN_LAST_USABLE
from plantgate_connectors.mqtt.publisher import Message
from plantgate_connectors.sparkplug.announced import Names
from plantgate_connectors.sparkplug.catalog import Catalog
from plantgate_connectors.sparkplug.datatypes import JSON, as_json
from plantgate_connectors.sparkplug.messages import Known, Messages
from plantgate_connectors.sparkplug.remote import Letter, Remote
from plantgate_connectors.sparkplug.settings import Publish
from plantgate_connectors.sparkplug.topics import read_address
from tests.fuzz.sparkplug_oracle import Outlet

NOW = 1_767_225_600_000_000_000
KINDS: list[Any] = [
    lambda luck: luck.uniform(-1e12, 1e12),
    lambda luck: luck.choice((math.nan, math.inf, -math.inf, -0.0, 5e-324)),
    lambda luck: luck.choice((0, 1, -1, 127, 128, -(2**63), 2**63 - 1)),
    lambda luck: luck.randrange(2**64),
    lambda luck: luck.random() < 0.5,
    lambda luck: "".join(luck.choices("aß\0\n€😀 ", k=luck.choice((0, 3, 300)))),
    lambda luck: luck.randbytes(luck.choice((0, 3, 300))),
    lambda luck: [luck.uniform(-1, 1) for _ in range(luck.randrange(5))],
    lambda luck: [luck.randrange(-5, 5) for _ in range(luck.randrange(1, 5))],
    lambda luck: [luck.random() < 0.5 for _ in range(luck.randrange(1, 20))],
    lambda luck: ["x" * n for n in range(luck.randrange(1, 5))],
    lambda luck: {"a": [1, None, {"b": "c"}]},
    lambda luck: None,
]


@pytest.mark.parametrize("seed", range(25))
def test_random_batches_come_back_exactly(tmp_path: Path, seed: int) -> None:
    luck = random.Random(f"round trip/{seed}")
    publish = Publish(edge_node="line", datatypes=seed % 4 == 3)
    known = Known(Catalog(tmp_path, publish.device_levels))
    messages = Messages(publish, "x", known, 0, version_5=True)
    outlet = Outlet()
    outlet.names = Names("{device}/{metric}", "{metric}")
    remote = Remote("plantgate", "line", outlet, lambda: None, lambda: None, 1.0)
    tags = [f"d{number % 3}/m{number}" for number in range(luck.choice((3, 40)))] + ["alone"]
    kinds = {tag: luck.choice(KINDS) for tag in tags}
    position = 0

    def hear(message: Message) -> None:
        address = read_address(message.topic[2:])
        assert address is not None
        remote.hear(Letter(address.kind, address.device, message.payload, 0))

    for message in messages.births(NOW):
        hear(message)
    for _ in range(6):
        batch = Batch.empty()
        for _ in range(luck.choice((1, 30, 200))):
            tag = luck.choice(tags)
            kind = kinds[tag] if luck.random() < 0.97 else luck.choice(KINDS)
            quality = luck.choice((GOOD, GOOD, GOOD, BAD, UNCERTAIN_LAST_USABLE, 0x8031_0000, 0x0000_0480))
            time = luck.choice((NOW + luck.randrange(10**12), NOW, None, luck.randrange(2**60)))
            batch.extend(Batch.of([Sample(tag, kind(luck), quality, time)]))
        batch.origin, batch.position, batch.received = "outbox", position, NOW
        position += len(batch)
        if known.catalog.learn(batch):
            for message in messages.births(NOW):
                hear(message)
        outlet.batch = Batch.empty()
        for message in messages.data(batch, [], NOW, historical=luck.random() < 0.5):
            hear(message)
        known.catalog.taken(batch)
        for tag in tags:
            sent = [_shown(sample, known) for sample in batch if sample.tag == tag]
            came = [_shown(sample, known) for sample in outlet.batch if sample.tag == tag]
            assert came == sent


def _shown(sample: Sample, known: Known) -> tuple[Any, ...]:
    """NaN made comparable; JSON's losses allowed for where a tag's values go as JSON."""
    (metric,) = known.catalog.lineup([sample.tag]).metrics
    value: Value = sample.value
    if metric.datatype is JSON:
        value = json.loads(as_json(value))
    return repr(float(value)) if type(value) in (int, float) else value, sample.quality, sample.time
