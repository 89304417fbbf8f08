"""An edge node's messages, in the order in which they must go out: births from a catalog, data from batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from plantgate.sdk import Batch, Gap, Unavailable, Value, iso
from plantgate_connectors.mqtt.learned import Learned
from plantgate_connectors.mqtt.publisher import Message, on_the_wire
from plantgate_connectors.sparkplug.catalog import Catalog
from plantgate_connectors.sparkplug.columns import Columns
from plantgate_connectors.sparkplug.datatypes import DataType
from plantgate_connectors.sparkplug.lineup import Lineup
from plantgate_connectors.sparkplug.metric import Metric
from plantgate_connectors.sparkplug.payloads import Births, named, node_death, payload
from plantgate_connectors.sparkplug.placing import GAPS, OFFSETS, ORIGIN, POSITION
from plantgate_connectors.sparkplug.settings import Publish
from plantgate_connectors.sparkplug.stamps import NS
from plantgate_connectors.sparkplug.topics import Address, Kind

_OVERHEAD_BYTES: Final = 160
"""Of a data message beside its samples, at most: time, number, where its samples stand."""


@dataclass(slots=True)
class Known:
    """What an edge node must not forget between two sessions."""

    catalog: Catalog
    learned: Learned = field(default_factory=Learned)
    origin: str = ""
    """The outbox whose numbers the consumers were last told."""
    complained: set[str] = field(default_factory=set)
    """Troubles that are in the log already."""


class Messages:
    """Numbers every message as it is made, so what is made must be sent, or a birth must follow."""

    def __init__(self, publish: Publish, connection: str, known: Known, bdseq: int, *, version_5: bool) -> None:
        self._publish = publish
        self._connection = connection
        self._known = known
        self._bdseq = bdseq
        self._births = Births(known.catalog, exact_time=publish.exact_time, numbers=publish.numbers, gaps=publish.gaps)
        self._columns = Columns(exact_time=publish.exact_time, datatypes=publish.datatypes)
        self._properties = b"\0" if version_5 else b""
        self._topics: dict[tuple[Kind, str | None], bytes] = {}
        self._seq = 0
        self.bytes_max = publish.message_bytes_max
        """Largest data message that may go out."""
        self.birth_bytes_max = publish.message_bytes_max
        """Largest birth, which cannot be split."""

    def address(self, kind: Kind, device: str | None = None) -> Address:
        """Where a message of ours goes."""
        return Address(self._publish.group, kind, self._publish.edge_node, device)

    def death(self, now: int) -> bytes:
        """Payload of NDEATH at this time (ns UTC)."""
        return node_death(now // NS, self._bdseq)

    # Births.

    def births(self, now: int) -> Iterator[Message]:
        """NBIRTH and every DBIRTH. Raises `Unavailable` for one that is too large even without values."""
        milliseconds = now // NS
        devices = self._known.catalog.by_device()
        own = devices.pop(None)
        write, origin = self._births, self._known.origin
        self._seq = 0
        yield self._birth(
            Kind.NBIRTH, None, own, lambda values: write.node(milliseconds, self._bdseq, origin, own, values=values)
        )
        for device, metrics in devices.items():
            seq = self._next_seq()
            yield self._birth(Kind.DBIRTH, device, metrics, self._device_birth(milliseconds, seq, metrics))

    def _device_birth(self, milliseconds: int, seq: int, metrics: list[Metric]) -> Callable[[bool], bytes]:
        return lambda values: self._births.device(milliseconds, seq, metrics, values=values)

    def _birth(self, kind: Kind, device: str | None, metrics: list[Metric], write: Callable[[bool], bytes]) -> Message:
        message = self._message(kind, device, write(True), len(metrics))
        if message.size() > self.birth_bytes_max:
            message.payload = write(False)
        if message.size() > self.birth_bytes_max:
            raise Unavailable(
                f"{self._connection}: the {kind.value} of {device or self._publish.edge_node} with its "
                f"{len(metrics)} metrics takes {message.size()} bytes, the broker takes {self.birth_bytes_max}; "
                "raise its limit, or spread the tags over more devices with publish.device_levels",
                retry_after_seconds=30.0,
            )
        return message

    # Data.

    def data(self, batch: Batch, impossible: list[str], now: int, *, historical: bool) -> Iterator[Message]:
        """Gaps, then samples, device by device. What no message can hold is named in `impossible`."""
        milliseconds = now // NS
        if first := self._of_the_node(batch, milliseconds):
            yield self._message(Kind.NDATA, None, payload(milliseconds, first, self._next_seq()), 1)
        if not batch.tags:
            return
        part = _Part(batch, milliseconds, historical)
        for device, indices, lineup in self._known.catalog.lineup(batch.tags).parts:
            yield from self._samples(part, device, indices, lineup, impossible)

    def _of_the_node(self, batch: Batch, milliseconds: int) -> list[bytes]:
        """What concerns all that follows: who numbers the samples, and what is missing before them."""
        found = []
        datatypes = self._publish.datatypes
        if self._publish.numbers and batch.origin and batch.origin != self._known.origin:
            found.append(named(ORIGIN, milliseconds, DataType.STRING, batch.origin, announced=datatypes))
        if self._publish.gaps and batch.gaps:
            found.append(named(GAPS, milliseconds, DataType.STRING, gaps_json(batch), announced=datatypes))
        return found

    def _samples(
        self, part: "_Part", device: str | None, indices: Sequence[int], lineup: Lineup, impossible: list[str]
    ) -> Iterator[Message]:
        count = len(indices)
        written = self._columns.metrics(
            lineup, *part.columns(indices), otherwise=part.received, historical=part.historical
        )
        kind = Kind.NDATA if device is None else Kind.DDATA
        message = self._message(kind, device, written, count)
        contiguous = indices[-1] - indices[0] == count - 1
        overhead = _OVERHEAD_BYTES + (0 if contiguous else 4 * count)
        if message.size() + overhead <= self.bytes_max and self._known.learned.fits(message):
            head = self._numbers(part, indices, contiguous)
            message.payload = payload(part.milliseconds, (*head, written), self._next_seq())
            yield message
        elif count == 1:
            impossible.append(self._too_large(part.batch.tags[indices[0]], message))
        else:
            middle = count // 2
            for half in (slice(middle), slice(middle, count)):
                some = Lineup.of(lineup.metrics[half], lineup.tags[half])
                yield from self._samples(part, device, indices[half], some, impossible)

    def _numbers(self, part: "_Part", indices: Sequence[int], contiguous: bool) -> list[bytes]:
        """Where the samples of a message stand in their outbox: the number of the first, and steps from it."""
        if not (self._publish.numbers and part.batch.origin):
            return []
        first, datatypes, milliseconds = indices[0], self._publish.datatypes, part.milliseconds
        position = named(POSITION, milliseconds, DataType.UINT64, part.batch.position + first, announced=datatypes)
        if contiguous:
            return [position]
        steps = [index - first for index in indices]
        return [position, named(OFFSETS, milliseconds, DataType.UINT32_ARRAY, steps, announced=datatypes)]

    def _message(self, kind: Kind, device: str | None, content: bytes, samples: int) -> Message:
        topic = self._topics.get((kind, device))
        if topic is None:
            topic = self._topics[kind, device] = on_the_wire(self.address(kind, device).topic())
        return Message(topic, content, self._properties, samples=samples)

    def _next_seq(self) -> int:
        self._seq = (self._seq + 1) % 256
        return self._seq

    def _too_large(self, tag: str, message: Message) -> str:
        words = f"{self._connection}: a value of {tag} makes a message of {message.size()} bytes"
        if message.size() + _OVERHEAD_BYTES > self.bytes_max:
            return f"{words}, the most is {self.bytes_max - _OVERHEAD_BYTES}"
        return f"{words}, and sessions keep ending when it is sent: it is taken to be too large for the broker"


@dataclass(frozen=True, slots=True)
class _Part:
    """A batch on its way into messages."""

    batch: Batch
    milliseconds: int
    historical: bool

    @property
    def received(self) -> int:
        """What is said, and marked, where the device gave no time; ns UTC."""
        return self.batch.received or self.milliseconds * NS

    def columns(self, indices: Sequence[int]) -> tuple[Sequence[Value], Sequence[int], Sequence[int | None]]:
        """The columns of these samples."""
        batch = self.batch
        if len(indices) == len(batch):
            return batch.values, batch.qualities, batch.times
        if isinstance(indices, range):
            some = slice(indices.start, indices.stop)
            return batch.values[some], batch.qualities[some], batch.times[some]
        return (
            [batch.values[index] for index in indices],
            [batch.qualities[index] for index in indices],
            [batch.times[index] for index in indices],
        )


def gaps_json(batch: Batch) -> str:
    """The gaps of a batch, as the MQTT connector writes them."""

    def plain(gap: Gap) -> dict[str, object]:
        return {
            "tags": gap.tags,
            "since": iso(gap.since),
            "until": iso(gap.until),
            "cause": gap.cause,
            "lost": gap.lost,
            "recovered": gap.recovered,
        }

    return msgspec.json.encode(
        {"origin": batch.origin, "position": batch.position, "gaps": [plain(gap) for gap in batch.gaps]}
    ).decode()
