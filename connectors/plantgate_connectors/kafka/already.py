"""What a topic holds already: read back after a crash, or an answer that never came, so that nothing is sent twice.

Only what has been seen in the topic is ever left out, told by the outbox's name and number in each record. So a mistake
here can make a repeat, and never a loss.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from plantgate.sdk import Batch, Unavailable
from plantgate_connectors.kafka import refusals
from plantgate_connectors.kafka.fetch import EARLIEST, EVERYTHING, LATEST, Place, bounds, fetch
from plantgate_connectors.kafka.link import Link, Topic
from plantgate_connectors.kafka.records import chunks

_STEP_RECORDS: Final = 2_000
_BYTES_MOST: Final = 128 * 2**20
"""How far back we read, in all: beyond, what is there is not known."""
_FETCH_BYTES: Final = 4 * 2**20
_POSITIONS_MOST: Final = 4_000_000
_ORIGIN_LENGTH_MOST: Final = 512


class _Told(msgspec.Struct):
    """What a record of ours says of itself; the rest of it is passed over."""

    origin: str
    position: int | None = None
    positions: list[int] | None = None
    gap: msgspec.Raw | None = None


_DECODER: Final = msgspec.json.Decoder(_Told)


@dataclass(slots=True)
class Already:
    """Numbers of samples that were seen in the topic, by outbox."""

    seen: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    complete: bool = True
    """False if the end of the topic was too long to be read back to where the batch begins."""

    def places(self, batch: Batch) -> list[int] | None:
        """Places in the batch that are not there yet; None for all of them."""
        seen = self.seen.get(batch.origin)
        if not seen:
            return None
        return [place for place in range(len(batch)) if batch.position + place not in seen]

    def past(self, batch: Batch) -> bool:
        """Whether nothing from this batch on can have been seen."""
        return all(max(numbers, default=-1) < batch.position for numbers in self.seen.values())


async def already(link: Link, topic: Topic, batch: Batch, since: dict[int, int], *, bytes_max: int) -> Already:
    """Read every partition backwards, from its end to the first record of ours that is older than the batch.

    No further than `since`: by partition, the offset where it ended when all that was there was known to us.
    """
    found = Already()
    topics, places = {topic.name: topic}, [(topic.name, partition) for partition in topic.leaders]
    ends = await bounds(link, topics, places, LATEST)
    starts = await bounds(link, topics, places, EARLIEST)
    budget = _BYTES_MOST
    for place in places:
        floor = since.get(place[1], 0)
        if floor > ends[place]:
            floor = 0  # the topic was made anew
        budget = await _partition(
            link, topic, place, (max(floor, starts[place]), ends[place]), batch, found, budget, bytes_max
        )
    return found


async def _partition(
    link: Link,
    topic: Topic,
    place: Place,
    span: tuple[int, int],
    batch: Batch,
    found: Already,
    budget: int,
    bytes_max: int,
) -> int:
    """Window by window towards the front, each twice as long as the one before."""
    floor, stop = span
    step = _STEP_RECORDS
    while stop > floor:
        start = max(floor, stop - step)
        older = False
        at = start
        while at < stop:
            got = await fetch(
                link,
                topic.leaders[place[1]],
                {place: at},
                wait_seconds=0.5,
                bytes_max=_FETCH_BYTES,
                isolation=EVERYTHING,
                line="already",
            )
            if not got:
                raise Unavailable(f"{link.who}: the end of topic {topic.name} cannot be read back")
            if got[0].code:
                raise refusals.unwanted(got[0].code, link.who, f"reading back the end of topic {topic.name}")
            budget -= len(got[0].raw)
            before = at
            for chunk in chunks(got[0].raw, (), bytes_max=bytes_max):
                older |= _take(chunk.records, batch, found)
                at = max(at, chunk.after)
            if at == before:
                raise Unavailable(f"{link.who}: topic {topic.name} gives nothing at offset {at}, before its end")
        if older:
            break
        if budget <= 0 or sum(map(len, found.seen.values())) > _POSITIONS_MOST:
            found.complete = start <= floor
            break
        stop, step = start, 2 * step
    return budget


def _take(records: Iterable[object], batch: Batch, found: Already) -> bool:
    """Note the numbers of our own records; True if one of them is older than the batch."""
    older = False
    for record in records:
        value = getattr(record, "value", None)
        if value is None:
            continue
        try:
            told = _DECODER.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue  # not ours
        if told.gap is not None or len(told.origin) > _ORIGIN_LENGTH_MOST:
            continue
        numbers = told.positions if told.positions is not None else [] if told.position is None else [told.position]
        if told.origin == batch.origin:
            older |= any(number < batch.position for number in numbers)
            numbers = [number for number in numbers if number >= batch.position]
        found.seen[told.origin].update(numbers)
    return older
