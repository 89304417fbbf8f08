"""Any bytes at all: read as protobuf reads them, or refused with a reason."""

import random
from collections import Counter

import pytest

from plantgate_connectors.sparkplug.reading import DEPTH_MAX, METRICS_MAX, read_payload
from plantgate_connectors.sparkplug.runs import Run, read_data
from plantgate_connectors.sparkplug.wire import Malformed, blob, varint
from tests.fuzz.sparkplug_oracle import judge, mutations, seeds
from tests.peers.sparkplug_proto import Payload


def test_every_kind_of_message_is_read_as_protobuf_reads_it() -> None:
    assert Counter(map(judge, seeds())) == {"metrics": 5, "nothing": 1}


@pytest.mark.parametrize("number", range(6))
def test_mutated_messages_are_read_as_protobuf_reads_them_or_refused(number: int) -> None:
    body = list(seeds())[number]
    luck = random.Random(f"sparkplug/{number}")
    endings = Counter(judge(mutated) for mutated in mutations(body, luck, 150))
    assert endings["malformed"] > 5
    if body:
        assert endings["metrics"] > 5


def test_lengths_that_lie_anywhere_in_a_message_are_refused_or_read_as_protobuf_does() -> None:
    body = next(iter(seeds()))
    for at in range(0, len(body), 8):
        lie = (b"\xff\xff\xff\xff\x07", b"\x7f", b"\x80")[at // 8 % 3]
        judge(body[:at] + lie + body[at + len(lie) :])


def test_every_beginning_of_a_message_is_refused_or_read_as_protobuf_does() -> None:
    for body in seeds():
        for end in range(0, len(body), 13):
            judge(body[:end])


def test_templates_deeper_than_the_limit_are_refused() -> None:
    def nested(depth: int) -> bytes:
        metric = blob(b"\x0a", b"x")
        for _ in range(depth):
            metric = blob(b"\x0a", b"x") + blob(b"\x92\x01", blob(b"\x12", metric))
        return blob(b"\x12", metric)

    assert len(read_payload(nested(DEPTH_MAX)).metrics) == 1
    with pytest.raises(Malformed, match="deep"):
        read_payload(nested(DEPTH_MAX + 1))
    with pytest.raises(Malformed, match="deep"):
        read_payload(nested(100_000 // 8))


def test_more_metrics_than_the_limit_are_refused() -> None:
    body = b"\x12\x00" * (METRICS_MAX + 1)
    for read in (read_payload, read_data):
        with pytest.raises(Malformed, match="more than 200000 metrics"):
            read(body)


def test_what_edge_nodes_send_most_is_read_as_runs() -> None:
    data = Payload(timestamp=1_767_225_600_000, seq=1)
    for number in range(1_000):
        metric = data.metrics.add(alias=number, timestamp=1_767_225_600_000 + number)
        metric.double_value = number / 4
    parts = read_data(data.SerializeToString()).parts
    assert sum(len(part.values) for part in parts if isinstance(part, Run)) == 1_000
    assert len(parts) == 2  # aliases of one byte, aliases of two


def test_a_number_that_does_not_end_is_refused() -> None:
    for written in (b"\x08", b"\x08\xff", b"\x08" + b"\xff" * 11, b"\x18" + varint(2**64 - 1)[:-1]):
        with pytest.raises(Malformed):
            read_payload(written)
