"""An edge node as whoever commands it hears it: alive or not, what it has announced, and its last word on each metric.

Stricter than a host application that reads: whatever is missing or cannot be understood ends all belief until the next
birth certificate. Historical values are no word on what is now.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from plantgate.sdk import Batch, Sample
from plantgate_connectors.sparkplug.announced import Announced
from plantgate_connectors.sparkplug.bdseq import bdseq_of
from plantgate_connectors.sparkplug.commanded import Commanded
from plantgate_connectors.sparkplug.reading import Payload, Reading, read_payload
from plantgate_connectors.sparkplug.samples import Samples
from plantgate_connectors.sparkplug.topics import Kind
from plantgate_connectors.sparkplug.wire import Malformed

_READ_ONLY: Final = "readonly"
"""Property by which Ignition, for one, says that a tag cannot be written; the specification has none for it."""


class Life(Enum):
    """Whether there is anybody to command."""

    UNHEARD = "no birth certificate has been heard"
    DOUBTFUL = "something of what it said was missed or could not be read, and no new birth certificate has come"
    ALIVE = "alive"
    DEAD = "it is dead"


@dataclass(slots=True)
class Offer:
    """A metric as the birth certificate announces it."""

    datatype: int
    json: bool
    alias: int | None
    read_only: bool
    kind: int = 0
    """In which field the edge node writes its value; 0 while it has not."""


@dataclass(frozen=True, slots=True)
class Word:
    """What the edge node said of a metric."""

    sample: Sample
    number: int
    """Of the message it came in, counted by us."""
    at: float
    """When that came, on the loop's clock."""


@dataclass(slots=True)
class FarNode:
    """One edge node, for as long as a session lasts."""

    name: str
    samples: Samples
    wanted: dict[tuple[str | None, str], Commanded]
    """By device and metric."""
    number: int = 0
    """Messages heard so far."""
    _life: Life = Life.UNHEARD
    _bdseq: int | None = None
    _seq: int = 0
    """Of the last message."""
    _devices: dict[str | None, Life] = field(default_factory=dict)
    """Those that were born or died in this life of the edge node."""
    _offers: dict[tuple[str | None, str], Offer] = field(default_factory=dict)
    _aliases: dict[int, tuple[str | None, str] | None] = field(default_factory=dict)
    """Of all metrics, for it must be seen that one is not announced; None for one that two metrics have."""
    _words: dict[tuple[str | None, str], Word] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    # What whoever commands it asks.

    def life(self, device: str | None) -> Life:
        """Of the edge node, or, if that is alive, of its device."""
        if self._life is not Life.ALIVE or device is None:
            return self._life
        return self._devices.get(device, Life.UNHEARD)

    def offer(self, metric: Commanded) -> Offer | None:
        """As which it is announced; None if it is not."""
        return self._offers.get(metric.where)

    def word(self, metric: Commanded) -> Word | None:
        """The last of this life, and of nothing that is in doubt."""
        return self._words.get(metric.where) if self.life(metric.device) is Life.ALIVE else None

    async def news(self) -> None:
        """Until the next message, or until woken."""
        await self._news.wait()

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._news.set()
        self._news = asyncio.Event()

    # What comes.

    def hear(self, kind: Kind, device: str | None, body: bytes) -> None:
        """A message of it; whatever is in it."""
        self.number += 1
        try:
            content = read_payload(body)
        except Malformed:
            content = None
        if content is None:
            self.doubt()
        elif kind is Kind.NBIRTH:
            self._born(content)
        elif kind is Kind.NDEATH:
            self._died(content)
        elif self._life is Life.ALIVE:
            if content.seq != (self._seq + 1) % 256:
                self.doubt()
            else:
                self._seq = content.seq
                self._in_order(kind, device, content)
        self.wake()

    def doubt(self) -> None:
        """Something was missed: nothing that it said holds until it is born again."""
        if self._life is Life.ALIVE:
            self._life = Life.DOUBTFUL

    def _born(self, content: Payload) -> None:
        self._devices.clear()
        self._offers.clear()
        self._aliases.clear()
        self._words.clear()
        if content.seq is None or content.seq > 255:
            self._life = Life.DOUBTFUL
            return
        self._life, self._seq = Life.ALIVE, content.seq
        self._bdseq = bdseq_of(content)
        self._announce(None, content.metrics)

    def _died(self, content: Payload) -> None:
        bdseq = bdseq_of(content)
        of_another_life = bdseq is not None and self._bdseq is not None and bdseq != self._bdseq
        if self._life is not Life.UNHEARD and not of_another_life:
            self._life = Life.DEAD

    def _in_order(self, kind: Kind, device: str | None, content: Payload) -> None:
        if kind is Kind.DBIRTH:
            if device in self._devices:
                self._forget(device)
            self._devices[device] = Life.ALIVE
            self._announce(device, content.metrics)
        elif kind is Kind.DDEATH:
            self._devices[device] = Life.DEAD
        elif kind in (Kind.NDATA, Kind.DDATA):
            self._data(device, content.metrics)

    def _forget(self, device: str | None) -> None:
        for where in [where for where in self._offers if where[0] == device]:
            del self._offers[where]
            self._words.pop(where, None)
        for alias in [alias for alias, where in self._aliases.items() if where is not None and where[0] == device]:
            del self._aliases[alias]

    def _announce(self, device: str | None, metrics: Iterable[Reading]) -> None:
        for reading in metrics:
            if not isinstance(reading.name, str):
                continue
            where = (device, reading.name)
            if reading.alias is not None:
                self._aliases[reading.alias] = None if reading.alias in self._aliases else where
            if where in self.wanted:
                self._offers[where] = Offer(
                    reading.datatype or 0, reading.json, reading.alias, _says_read_only(reading.properties)
                )
                self._offers[where].kind = reading.kind
                if not reading.historical:
                    self._heard(where, reading)
        for offer in self._offers.values():
            if offer.alias is not None and self._aliases.get(offer.alias) is None:
                offer.alias = None  # two metrics have it: only the name says which is meant

    def _data(self, device: str | None, metrics: Iterable[Reading]) -> None:
        for reading in metrics:
            if isinstance(reading.name, str):
                where: tuple[str | None, str] | None = (device, reading.name)
            elif reading.alias in self._aliases:
                where = self._aliases[reading.alias]
            else:
                self.doubt()
                return
            if where is not None and where in self._offers and where[0] == device and not reading.historical:
                self._heard(where, reading)

    def _heard(self, where: tuple[str | None, str], reading: Reading) -> None:
        offer, tag, batch = self._offers[where], self.wanted[where].tag, Batch.empty()
        offer.kind = reading.kind or offer.kind
        self.samples.metric(batch, reading, Announced(tag, offer.datatype, offer.json), doubtful=False)
        for sample in batch:
            if sample.tag == tag:
                self._words[where] = Word(sample, self.number, asyncio.get_running_loop().time())


def _says_read_only(properties: dict[str, object]) -> bool:
    return any(name.casefold() == _READ_ONLY and value is True for name, value in properties.items())
