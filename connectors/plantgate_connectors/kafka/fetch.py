"""Asking brokers for what lies in their partitions, and where it begins and ends."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

from plantgate.sdk import Deadline, Unavailable
from plantgate_connectors.kafka import refusals
from plantgate_connectors.kafka.link import Link, Topic, pause

Place = tuple[str, int]
"""Topic and partition."""

EARLIEST: Final = -2
LATEST: Final = -1
COMMITTED_ONLY: Final = 1
EVERYTHING: Final = 0


@dataclass(slots=True)
class Fetched:
    """What one partition had to give."""

    place: Place
    code: int
    """Error code of the broker; 0 for none."""
    end: int
    """Offset after the last record that may be read."""
    raw: bytes
    """Record batches, the last one perhaps cut short."""
    aborted: list[tuple[int, int]]
    """Producer number and first offset of transactions that were given up."""


async def bounds(link: Link, topics: dict[str, Topic], places: Iterable[Place], which: int) -> dict[Place, int]:
    """First offset (`EARLIEST`) or the one after the last (`LATEST`) of each partition.

    Waits out an election, or a topic that has just been made; `topics` then holds who leads.
    """
    deadline = Deadline.after(link.settings.request_seconds)
    while True:
        found, trouble = await _bounds(link, topics, places, which)
        if trouble is None:
            break
        if deadline.passed():
            raise trouble
        await pause()
        for name in list(topics):
            topics[name] = await link.topic(name)
    if missing := set(places) - set(found):
        raise Unavailable(f"{link.who}: a broker did not say where partition {min(missing)} ends")
    return found


async def _bounds(
    link: Link, topics: Mapping[str, Topic], places: Iterable[Place], which: int
) -> tuple[dict[Place, int], Unavailable | None]:
    found: dict[Place, int] = {}
    trouble = None
    for leader, theirs in _by_leader(link, topics, places).items():
        wanted: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for topic, partition in theirs:
            wanted[topic].append((partition, which))
        answer = await link.ask(leader, OffsetRequest(-1, EVERYTHING, list(wanted.items())))
        with link.understood():
            for topic, partitions in answer.topics:
                for partition, code, *_, offset in partitions:
                    if code:
                        trouble = refusals.unwanted(code, link.who, f"topic {topic}")
                        if code not in refusals.PASSING:
                            raise trouble
                    found[topic, partition] = int(offset)
    return found, trouble


async def fetch(
    link: Link,
    leader: int,
    positions: Mapping[Place, int],
    *,
    wait_seconds: float,
    bytes_max: int,
    isolation: int,
    line: str,
) -> list[Fetched]:
    """What the broker has at these offsets; waits up to `wait_seconds` for there to be something."""
    wanted: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for (topic, partition), offset in positions.items():
        wanted[topic].append((partition, offset, bytes_max))
    request = FetchRequest(round(wait_seconds * 1000), 1, bytes_max, isolation, list(wanted.items()))
    answer = await link.ask(leader, request, line=line, patience=wait_seconds + link.settings.request_seconds)
    found: list[Fetched] = []
    with link.understood():
        if answer.API_VERSION < 4:
            raise ValueError(f"version {answer.API_VERSION}: it is older than Kafka 0.11")
        if answer.API_VERSION >= 7 and answer.error_code:
            raise refusals.unwanted(answer.error_code, link.who, "reading")
        aborted_at = 3 if answer.API_VERSION == 4 else 4
        for topic, partitions in answer.topics or ():
            for partition, code, end, stable, *rest in partitions:
                if (topic, partition) not in positions:
                    raise ValueError(f"partition {partition} of {topic} was not asked for")
                aborted = [(int(number), int(first)) for number, first in rest[aborted_at - 3] or ()]
                end = stable if isolation == COMMITTED_ONLY and stable >= 0 else end
                found.append(Fetched((topic, partition), code, int(end), rest[-1] or b"", aborted))
    return found


def _by_leader(link: Link, topics: Mapping[str, Topic], places: Iterable[Place]) -> dict[int, list[Place]]:
    found: defaultdict[int, list[Place]] = defaultdict(list)
    for topic, partition in places:
        leader = topics[topic].leaders.get(partition, -1)
        if leader < 0:
            raise Unavailable(f"{link.who}: partition {partition} of {topic} has no leader at the moment")
        found[leader].append((topic, partition))
    return dict(found)
