"""Any bytes at all: read as protobuf reads them, or refused with a reason."""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from plantgate.sdk import Batch
from plantgate.sdk.quality import BAD_DECODING
from plantgate_connectors.sparkplug import usual as usual_metrics
from plantgate_connectors.sparkplug.layouts import Layouts
from plantgate_connectors.sparkplug.reading import DEPTH_MAX, METRICS_MAX, Reading, read_payload
from plantgate_connectors.sparkplug.remote import Letter, Remote
from plantgate_connectors.sparkplug.runs import read_data
from plantgate_connectors.sparkplug.stamps import stamp
from plantgate_connectors.sparkplug.topics import Kind
from plantgate_connectors.sparkplug.wire import Malformed, blob, varint
from tests.fuzz.sparkplug_oracle import Outlet, judge, mutations, same_as_data, seeds
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
    usual = blob(b"\x12", b"\x10\x01\x18" + stamp(1_767_225_600_000) + b"\x70\x01") * (METRICS_MAX + 1)
    with pytest.raises(Malformed, match="more than 200000 metrics"):
        read_data(usual)


def poll(luck: random.Random, *, lengths: bool = False, exact: bool = False) -> bytes:
    """A data message of 200 metrics, always the same ones; with `lengths` their values are not always as long."""
    data = Payload(timestamp=1_767_225_600_000 + luck.randrange(10**6), seq=1)
    time = 1_767_225_600_000 + luck.randrange(10**6)
    for number in range(200):
        metric = data.metrics.add(alias=3 * number, timestamp=time + (number % 7 if number > 150 else 0))
        match number % 5:
            case 0:
                metric.double_value = luck.choice((luck.uniform(-9, 9), -0.0, 1e300))
            case 1:
                metric.boolean_value = luck.random() < 0.5
            case 2:
                metric.long_value = luck.choice((5, 2**64 - 7, 2**33)) if lengths else 2**63 + luck.randrange(2**62)
            case 3:
                metric.string_value = "läuft"[: luck.randrange(6)] if lengths else luck.choice(("an", "zu", "ß"))
            case _:
                metric.float_value = luck.choice((0.5, -2.0))
        if number % 9 == 0:
            metric.properties.keys.extend(("Quality", "StatusCode"))
            metric.properties.values.add(type=3, int_value=0)
            metric.properties.values.add(type=4, long_value=0x8031_0000)
        if exact:
            metric.properties.keys.append("ns")
            metric.properties.values.add(type=3, int_value=luck.randrange(20_000, 10**6))
    return bytes(data.SerializeToString())


def test_every_kind_of_value_is_read_together_with_its_neighbours() -> None:
    parts = read_data(poll(random.Random("kinds"), lengths=True)).parts
    assert [len(part.stamps) for part in parts if not isinstance(part, Reading)] == [64, 64, 64, 8]


@pytest.mark.parametrize("exact", [False, True])
def test_what_is_laid_out_as_twice_before_is_read_at_once_whatever_its_values(exact: bool) -> None:
    luck, layouts = random.Random(f"layouts/{exact}"), Layouts()
    known = []
    for _ in range(6):
        body = poll(luck, exact=exact)
        known.append(same_as_data(body, read_payload(body).metrics, layouts))
    assert known == [0, 0, 200, 200, 200, 200]


@pytest.mark.parametrize("seed", range(6))
def test_what_is_known_of_earlier_messages_makes_no_difference_to_what_is_read(seed: int) -> None:
    """Of messages whose values differ in length, and of such that were changed anywhere, bit by bit as well."""
    luck, layouts = random.Random(f"no difference/{seed}"), Layouts()
    endings: Counter[str] = Counter()
    for _ in range(25):
        body = poll(luck, lengths=luck.random() < 0.3, exact=seed % 2 == 1)
        changed = [*mutations(body, luck, 10), *(_one_bit_other(body, luck) for _ in range(20))]
        for each in (body, body, *changed):
            try:
                readings = read_payload(each).metrics
            except Malformed:
                with pytest.raises(Malformed):
                    read_data(each, layouts)
                endings["refused"] += 1
            else:
                endings["known"] += same_as_data(each, readings, layouts) > 0
                endings["read"] += 1
    assert endings["refused"] > 50
    assert endings["known"] > 100
    assert endings["read"] > 200


def _one_bit_other(body: bytes, luck: random.Random) -> bytes:
    changed = bytearray(body)
    changed[luck.randrange(len(body))] ^= 1 << luck.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("mutation", ["none", "aliases", "ends of numbers", "lengths"])
def test_every_bit_that_is_layout_is_compared(mutation: str) -> None:
    """Were one kind of them not, a message that differs in it alone would be read wrongly."""
    luck, layouts = random.Random("every bit"), Layouts()
    for time in range(3):
        body = poll(luck)
        assert (same_as_data(body, read_payload(body).metrics, layouts) > 0) == (time == 2)
    (_, place), *_ = layouts._places.items()
    layout = place.layout
    assert layout is not None
    begin = body.index(b"\x12")
    second = 2 + body[begin + 1]  # by how the first begins, the stretch is found
    behind = body[begin + second :]
    spot = (
        second
        + {
            "none": 1 + behind[1],  # the last byte of a yes or no, of which only the lowest bit is a value
            "aliases": 3,
            "ends of numbers": behind.index(b"\x18") + 1,
            "lengths": 1,
        }[mutation]
    )
    other = bytearray(body)
    other[begin + spot] ^= {"none": 1, "aliases": 1, "ends of numbers": 0x80, "lengths": 1}[mutation]
    if mutation != "none":
        layout.mask &= ~(0xFF << 8 * spot)
        layout.bits &= layout.mask
    caught = False
    try:
        readings = read_payload(bytes(other)).metrics
    except Malformed:
        readings = []
    try:
        same_as_data(bytes(other), readings, layouts)
    except (AssertionError, Malformed):
        caught = True
    assert caught == (mutation != "none")


def test_a_number_that_does_not_end_is_refused() -> None:
    for written in (b"\x08", b"\x08\xff", b"\x08" + b"\xff" * 11, b"\x18" + varint(2**64 - 1)[:-1]):
        with pytest.raises(Malformed):
            read_payload(written)


def test_a_new_birth_gives_known_layouts_new_tags_and_types() -> None:
    """How messages are laid out is known longer than what they mean."""
    outlet = Outlet()
    remote = Remote("g", "n", outlet, lambda: None, lambda: None, 1.0)
    luck = random.Random("births")

    def birth(names: Callable[[int], str], datatype: int) -> None:
        born = Payload(timestamp=1_767_225_600_000, seq=0)
        born.metrics.add(name="bdSeq", datatype=4, long_value=0)
        for number in range(40):
            metric = born.metrics.add(name=names(number), alias=number, timestamp=1_767_225_600_000)
            metric.datatype = datatype
            metric.is_null = True
        remote.hear(Letter(Kind.NBIRTH, None, born.SerializeToString(), 0))

    def poll(seq: int) -> tuple[list[float], Batch]:
        sent = Payload(timestamp=1_767_225_600_000, seq=seq)
        values = [luck.uniform(-1, 1) for _ in range(40)]
        for number, value in enumerate(values):
            metric = sent.metrics.add(alias=number, timestamp=1_767_225_600_000 + seq)
            metric.double_value = value
        outlet.batch = Batch.empty()
        remote.hear(Letter(Kind.NDATA, None, sent.SerializeToString(), 0))
        return values, outlet.batch

    birth(lambda number: f"m{number}", 10)
    for seq in range(1, 6):
        values, batch = poll(seq)
        assert (batch.tags, batch.values) == ([f"g/n/m{number}" for number in range(40)], values)
    birth(lambda number: f"m{39 - number}", 10)
    for seq in range(1, 6):
        values, batch = poll(seq)
        assert (batch.tags, batch.values) == ([f"g/n/m{39 - number}" for number in range(40)], values)
    birth(lambda number: f"m{number}", 4)
    _, batch = poll(1)
    assert batch.values == [None] * 40
    assert set(batch.qualities) == {BAD_DECODING}


@pytest.mark.parametrize("good", [0, 1, 5])
def test_metrics_that_only_look_usual_cost_no_more_than_others(good: int) -> None:
    """Each hides the next in a field nobody knows, so that dozens look usual and only `good` of them are.

    How many metrics were taken apart is counted, not how long it took.
    """
    usual = b"\x10\x01\x18" + stamp(1_767_225_600_000) + b"\x70\x01"
    pair = blob(b"\x12", usual + blob(b"\x12", usual))
    body = (blob(b"\x12", usual) * good + pair) * 300
    taken_apart = 0

    class Counted:
        def split(self, window: bytes, most: int) -> list[bytes | None]:
            nonlocal taken_apart
            found = pattern.split(window, most)
            taken_apart += len(found) // (1 + pattern.groups)
            return found

    with pytest.MonkeyPatch.context() as patched:
        pattern = usual_metrics._PATTERN
        patched.setattr(usual_metrics, "_PATTERN", Counted())
        parts = read_data(body).parts
    assert sum(1 if isinstance(part, Reading) else len(part.stamps) for part in parts) == 300 * (good + 1)
    assert taken_apart < 8 * len(read_payload(body).metrics)


@pytest.mark.parametrize("mutation", ["none", "lengths are not compared"])
def test_a_metric_is_as_long_as_it_says(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks usual and hides more is read field by field."""
    if mutation != "none":
        monkeypatch.setattr(usual_metrics, "_alike", lambda some, others: len(some))
    usual = b"\x10\x01\x18" + stamp(1_767_225_600_000) + b"\x70\x01"
    hides = blob(b"\x12", usual + blob(b"\x12", usual))
    body = (blob(b"\x12", usual) + hides) * 10
    try:
        same_as_data(body, read_payload(body).metrics, Layouts())
    except (AssertionError, Malformed, ValueError):
        caught = True
    else:
        caught = False
    assert caught == (mutation != "none")
