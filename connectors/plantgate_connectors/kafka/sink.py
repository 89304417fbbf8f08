"""Batches out to a topic; safe when every replica in step has every record."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeAlias

from plantgate.sdk import Batch, Context, Deadline, Rejected
from plantgate_connectors.kafka import refusals
from plantgate_connectors.kafka.already import Already, already
from plantgate_connectors.kafka.connection import FRAME_BYTES_MAX
from plantgate_connectors.kafka.fetch import LATEST, bounds
from plantgate_connectors.kafka.ledger import Ledger
from plantgate_connectors.kafka.link import Link, Topic
from plantgate_connectors.kafka.partitioner import Keys, Partitioner, key_of
from plantgate_connectors.kafka.payloads import Writer
from plantgate_connectors.kafka.producer import RECORD_OVERHEAD_BYTES, Lot, Producer, Record, lots_of
from plantgate_connectors.kafka.settings import Each, Headers, KafkaSettings, Repeats
from plantgate_connectors.kafka.spread import Spread

SCHEMAS: Final = {Each.VALUE: "plantgate.value/1", Each.TAG: "plantgate.tag/1", Each.BATCH: "plantgate.batch/1"}
_MILLISECOND: Final = 1_000_000

Write: TypeAlias = Callable[[list[int]], bytes]
"""Writes the samples at these places."""


class KafkaSink:
    """Writes one session's batches."""

    def __init__(
        self, settings: KafkaSettings, context: Context, link: Link, ledger: Ledger, before: Producer | None
    ) -> None:
        """`before` is the producer of the session before, if it has left something unsettled."""
        written = settings.publish
        self._publish = written
        self._context = context
        self._link = link
        self._ledger = ledger
        self._writer = Writer(written.time)
        self._headers: list[tuple[str, bytes]] = []
        if written.headers is Headers.TYPE:
            self._headers = [("content-type", b"application/json"), ("schema", SCHEMAS[written.each].encode())]
        self._extra = sum(len(name) + len(value) + 6 for name, value in self._headers)
        self.producer = before or Producer(link, compression=written.compression, headers=self._headers)
        self.producer.take_over(link)
        self._topic = Topic(written.topic, {}, {})
        self._gaps_topic: Topic | None = None
        self._partition = Partitioner(1)
        self._keys = Keys()
        self._spread = Spread(self._partition, self._keys)
        self._since: dict[int, int] | None = None
        """Where to look back to; None when all is known."""
        self._already: Already | None = None
        self._certain = False
        """Whether the session has begun, and all that it has sent is known to be there."""

    async def begin(self) -> None:
        """Find the topic, and what the session before left in doubt."""
        self._topic = await self.producer.begin(self._publish.topic)
        self._partition = Partitioner(len(self._topic.leaders))
        self._spread = Spread(self._partition, self._keys)
        if self._publish.gaps_topic is not None:
            self._gaps_topic = await self.producer.begin(self._publish.gaps_topic)
        if self._publish.repeats is Repeats.AVOID:
            self._since = self._ledger.doubt(self._context.log)
            if self._since is None:
                places = [(self._topic.name, partition) for partition in self._topic.leaders]
                ends = await bounds(self._link, {self._topic.name: self._topic}, places, LATEST)
                self._ledger.open({partition: end for (_, partition), end in ends.items()})
        if self.producer.unsettled:  # what becomes of it, the look back will see; what is refused, will be again
            await self.producer.send(self.producer.unsettled, Deadline.after(self._publish.acknowledge_seconds))
        self._certain = True
        self._context.standing.up(topic=self._topic.name, partitions=len(self._topic.leaders))

    def end(self) -> None:
        """The session is over. Where all is known to be there, the next one need not look."""
        if self._publish.repeats is Repeats.AVOID and self._certain and self._since is None:
            self._ledger.close()

    # The door.

    async def accept(self, batch: Batch) -> None:
        """Write the gaps, then the samples. What can be written is, even if a part is then named in `Rejected`."""
        deadline = Deadline.after(self._publish.acknowledge_seconds)
        places = await self._missing(batch)
        refused: list[str] = []
        self._certain = False
        if batch.gaps:
            gaps = self._gap_records(batch)
            await self._send([lot for some in gaps for lot in self._lots(*some, None)], refused, deadline)
        if batch.tags and places != []:
            records = self._records(batch, places).items()
            topic = self._topic.name
            lots = [lot for partition, some in records for lot in self._lots(topic, partition, some, refused)]
            await self._send(lots, refused, deadline)
        self._certain = True
        if refused:
            more = f" (and {len(refused) - 1} more like it)" if len(refused) > 1 else ""
            raise Rejected(f"{refused[0]}{more}")

    async def _missing(self, batch: Batch) -> list[int] | None:
        """Places of the samples that are not in the topic; None for all."""
        if self._since is not None and batch.tags:
            self._already = await self._look_back(batch, self._since)
            self._since = None
        if self._already is None:
            return None
        places = self._already.places(batch)
        if places is not None:
            self._context.standing.count("repeats_avoided", len(batch) - len(places))
        elif self._already.past(batch):
            self._already = None
        return places

    async def _look_back(self, batch: Batch, since: dict[int, int]) -> Already:
        found = await already(self._link, self._topic, batch, since, bytes_max=FRAME_BYTES_MAX)
        if not found.complete:
            self._context.log.warning(
                "the end of the topic is too long to be read back: some samples may be there twice",
                topic=self._topic.name,
                origin=batch.origin,
                position=batch.position,
            )
        return found

    def _lots(self, topic: str, partition: int, records: list[Record], refused: list[str] | None) -> list[Lot]:
        """Records that fit into no record batch are named in `refused`; without it, the brokers may judge of them."""

        def too_large(record: Record) -> None:
            assert refused is not None
            refused.append(
                f"{self._context.connection}: a value of {record[3]} makes a record of {len(record[1])} bytes, "
                f"publish.batch_bytes_max is {self._publish.batch_bytes_max}"
            )

        most = self._publish.batch_bytes_max
        return lots_of(topic, partition, records, most, self._extra, None if refused is None else too_large)

    async def _send(self, lots: list[Lot], refused: list[str], deadline: Deadline) -> None:
        while lots:
            again: list[Lot] = []
            for no in await self.producer.send(lots, deadline):
                again += (*self._smaller(no.lot, no.code, refused), *no.behind)
            lots = again

    def _smaller(self, lot: Lot, code: int, refused: list[str]) -> Iterable[Lot]:
        """What is left to try of a lot that was refused."""
        count = len(lot.records)
        if code == refusals.INVALID_TIMESTAMP and not lot.stamped:
            now = self._context.clock.now() // _MILLISECOND
            self._context.standing.count("timestamps_replaced", count)
            stamped = [(key, value, now, tag) for key, value, _, tag in lot.records]
            return [Lot(lot.topic, lot.partition, stamped, stamped=True)]
        if count > 1:
            middle = count // 2
            halves = lot.records[:middle], lot.records[middle:]
            return [Lot(lot.topic, lot.partition, half, stamped=lot.stamped) for half in halves]
        _, value, _, tag = lot.records[0]
        refused.append(
            f"{self._context.connection}: topic {lot.topic}: a value of {tag} of {len(value)} bytes: "
            f"{refusals.sentence(code)}"
        )
        return []

    # Batches to records.

    def _records(self, batch: Batch, places: list[int] | None) -> dict[int, list[Record]]:
        match self._publish.each:
            case Each.VALUE:
                return self._value_records(batch, places)
            case Each.TAG:
                return self._tag_records(batch, places)
            case Each.BATCH:
                return self._batch_records(batch, list(range(len(batch))) if places is None else places)

    def _value_records(self, batch: Batch, places: list[int] | None) -> dict[int, list[Record]]:
        values = self._writer.each(batch)
        now = (batch.received or self._context.clock.now()) // _MILLISECOND
        stamps = _stamps(batch.times, now)
        ways = self._spread.of(batch.tags)
        rows = list(zip(ways.keys, values, stamps, ways.tags, strict=True))
        found = {partition: [rows[place] for place in theirs] for partition, theirs in ways.places.items()}
        if places is None:
            return found
        wanted = {(batch.tags[place], values[place]) for place in places}
        left = {
            partition: [record for record in records if (record[3], record[1]) in wanted]
            for partition, records in found.items()
        }
        return {partition: records for partition, records in left.items() if records}

    def _tag_records(self, batch: Batch, places: list[int] | None) -> dict[int, list[Record]]:
        of_tag: defaultdict[str, list[int]] = defaultdict(list)
        for place in range(len(batch)) if places is None else places:
            of_tag[batch.tags[place]].append(place)
        now = (batch.received or self._context.clock.now()) // _MILLISECOND
        found: defaultdict[int, list[Record]] = defaultdict(list)
        most = self._publish.batch_bytes_max - RECORD_OVERHEAD_BYTES - self._extra - 1024
        for tag, theirs in of_tag.items():
            for some, value in self._split(theirs, partial(self._writer.tag, batch, tag), most):
                stamp = _stamp(batch.times[some[-1]], now)
                found[self._partition[tag]].append((self._keys[tag], value, stamp, tag))
        return found

    def _batch_records(self, batch: Batch, places: list[int]) -> dict[int, list[Record]]:
        key = key_of(batch.origin)
        now = (batch.received or self._context.clock.now()) // _MILLISECOND
        most = self._publish.batch_bytes_max - RECORD_OVERHEAD_BYTES - self._extra - 1024
        records = [
            (key, value, _stamp(batch.times[some[-1]], now), batch.tags[some[0]])
            for some, value in self._split(places, partial(self._writer.batch, batch), most)
        ]
        return {self._partition[batch.origin]: records}

    def _split(self, places: list[int], write: Write, most: int) -> Iterable[tuple[list[int], bytes]]:
        """Halve until each record fits, or holds a single sample."""
        value = write(places)
        if len(value) <= most or len(places) == 1:
            return [(places, value)]
        middle = len(places) // 2
        return [*self._split(places[:middle], write, most), *self._split(places[middle:], write, most)]

    def _gap_records(self, batch: Batch) -> list[tuple[str, int, list[Record]]]:
        """Each gap once in every partition that one of its tags belongs to, under the key of that tag."""
        topic = self._gaps_topic or self._topic
        partitions = self._partition if self._gaps_topic is None else Partitioner(len(topic.leaders))
        now = (batch.received or self._context.clock.now()) // _MILLISECOND
        found: defaultdict[int, list[Record]] = defaultdict(list)
        for number, gap in enumerate(batch.gaps):
            value = self._writer.gap(batch, number)
            first_of: dict[int, str] = {}
            for tag in gap.tags or ("",):
                first_of.setdefault(partitions[tag], tag)
            for partition, tag in first_of.items():
                found[partition].append((self._keys[tag], value, now, tag))
        return [(topic.name, partition, records) for partition, records in found.items()]


def _stamp(time: int | None, now: int) -> int:
    """A record's timestamp: the source time; ours where there is none, or one that Kafka cannot hold."""
    return now if time is None or time < 0 else time // _MILLISECOND


def _stamps(times: Sequence[int | None], now: int) -> list[int]:
    """The same for many."""
    known: Sequence[int] = times  # type: ignore[assignment]  # looked at before it is used
    if None not in times and min(known) >= 0:
        return [time // _MILLISECOND for time in known]
    return [_stamp(time, now) for time in times]
