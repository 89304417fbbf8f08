"""One monitored item: which changes of a node it tells, and the queue it keeps until they can be sent.

Values are told as they come (revised sampling interval 0), since a gateway hears of changes and does not sample.
Rules: OPC 10000-4, 5.13.1 (queue), 7.22.2 (filter).
"""

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from plantgate_connectors.opcua_server import values
from plantgate_connectors.opcua_server.nodes import Key
from plantgate_connectors.opcua_server.space import Slot

DISABLED: Final = 0
REPORTING: Final = 2
"""MonitoringMode."""
STATUS: Final = 0
STATUS_VALUE: Final = 1
STATUS_VALUE_TIMESTAMP: Final = 2
"""DataChangeTrigger."""


@dataclass(slots=True)
class Meter:
    """Bytes that wait for all clients together."""

    most: int
    held: int = 0


class Teller(Protocol):
    """The subscription an item belongs to."""

    meter: Meter

    def ready(self, item: "Item") -> None:
        """The item has something to tell."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asked of an item, as revised."""

    handle: int
    trigger: int
    deadband: float
    """Absolute; 0: none."""
    queue: int
    discard_oldest: bool
    times: int
    """TimestampsToReturn."""


class Item:
    """A monitored item on a tag, or on another node, which is then looked at when the subscription publishes."""

    __slots__ = ("_last", "_number", "handle", "mode", "number", "overflow", "probe", "queue", "slot", "target",
                 "teller", "wanted")  # fmt: skip

    def __init__(
        self, number: int, teller: Teller, target: tuple[Key, int], slot: Slot | None, probe: Callable[[], bytes] | None
    ) -> None:
        self.number = number
        self.teller = teller
        self.target = target
        """Node and attribute."""
        self.slot = slot
        self.probe = probe
        """Reads what is no tag's value; None for a tag, and for what never changes once it was told."""
        self.queue: deque[bytes] = deque()
        self.overflow = False
        self.mode = DISABLED
        self.handle = b""
        self._last = b""
        self._number: float | None = None
        self.wanted = Wanted(0, STATUS_VALUE, 0.0, 1, True, 2)

    def revise(self, wanted: Wanted) -> None:
        """Another filter or queue; what no longer fits the queue is dropped, the oldest first."""
        self.wanted = wanted
        self.handle = struct.pack("<I", wanted.handle)
        while len(self.queue) > wanted.queue:
            self._drop(self.queue.popleft())

    def turn(self, mode: int) -> None:
        """Start or stop watching; a watch that starts tells the present value first."""
        if mode == self.mode:
            return
        before, self.mode = self.mode, mode
        slot = self.slot
        if mode == DISABLED:
            self.clear()
            if slot is not None:
                slot.watchers.remove(self)
        elif before == DISABLED:
            self._last, self._number = b"", None
            if slot is not None:
                self._passes(slot)
                slot.watchers.append(self)
                self._put(slot.encoded)
            else:
                self.look()
        elif mode == REPORTING and self.queue:
            self.teller.ready(self)

    def offer(self, slot: Slot, renewed: bool, retimed: bool) -> None:
        """The tag has a new reading."""
        wanted = self.wanted
        if not renewed and not (retimed and wanted.trigger == STATUS_VALUE_TIMESTAMP):
            return
        if (wanted.trigger == STATUS or wanted.deadband) and not self._passes(slot):
            return
        self._put(slot.encoded)

    def look(self) -> None:
        """Read a node that is no tag; a new value is told."""
        if self.probe is None or self.mode == DISABLED:
            return
        found = self.probe()
        body, status, _, _ = values.parts(found)
        seen = body + struct.pack("<I", status)
        if seen != self._last:
            self._last = seen
            self._put(found)

    def tell_again(self) -> None:
        """Tell the present value though it has not changed: somebody new listens."""
        if self.mode == DISABLED or self.queue:
            return
        if self.slot is not None:
            self._put(self.slot.encoded)
        else:
            self._last = b""
            self.look()

    def take(self) -> bytes:
        """The next value to send, as this client wants it, behind its handle."""
        encoded = self.queue.popleft() if self.queue else b""
        self.teller.meter.held -= len(encoded)
        if self.overflow and (self.wanted.discard_oldest or not self.queue):
            self.overflow = False  # the flag stands where values are missing: before the oldest, or at the newest
            encoded = values.overflowed(encoded)
        return self.handle + values.with_times(encoded, self.wanted.times)

    def clear(self) -> None:
        """Forget what waits."""
        self.teller.meter.held -= sum(map(len, self.queue))
        self.queue.clear()
        self.overflow = False

    def _put(self, encoded: bytes) -> None:
        queue, wanted, meter = self.queue, self.wanted, self.teller.meter
        if len(queue) >= wanted.queue:
            self.overflow = wanted.queue > 1
            self._drop(queue.popleft() if wanted.discard_oldest else queue.pop())
        while queue and meter.held > meter.most:
            self.overflow = True
            self._drop(queue.popleft())
        queue.append(encoded)
        meter.held += len(encoded)
        if self.mode == REPORTING:
            self.teller.ready(self)

    def _drop(self, encoded: bytes) -> None:
        self.teller.meter.held -= len(encoded)

    def _passes(self, slot: Slot) -> bool:
        """Trigger `STATUS`, and the deadband: a number is told when it is further from the last told than that."""
        status = struct.pack("<I", slot.quality)
        if status != self._last:
            self._last = status
            self._number = None
        elif self.wanted.trigger == STATUS:
            return False
        value = slot.value
        if not self.wanted.deadband or isinstance(value, bool) or not isinstance(value, int | float):
            return True
        if self._number is not None and abs(value - self._number) <= self.wanted.deadband:
            return False
        self._number = value
        return True
