"""One subscription: when it publishes, what it says, and what it keeps until the client has acknowledged it.

Rules: OPC 10000-4, 5.14.1 (the state machine) and 5.14.5 (Publish); bytes: OPC 10000-6, 5.2.
"""

import struct
from dataclasses import dataclass
from typing import Final

from plantgate_connectors.opcua_server import values
from plantgate_connectors.opcua_server.monitored import DISABLED, REPORTING, Item, Meter

KEPT_MAX: Final = 64
"""Messages kept for Republish."""
KEPT_BYTES_MAX: Final = 16 * 2**20
_DATA_CHANGE: Final = b"\x01\x00\x2b\x03\x01"
_STATUS_CHANGE: Final = b"\x01\x00\x34\x03\x01"
"""Encodings 811 and 820 as node ids, followed by "has a binary body"."""
_NULL: Final = b"\xff\xff\xff\xff"
GOOD_TRANSFERRED: Final = 0x002D_0000
"""GoodSubscriptionTransferred."""
_TOO_LARGE: Final = 0x8008_0000
"""BadEncodingLimitsExceeded."""


@dataclass(slots=True)
class Pace:
    """How often, as revised."""

    interval: float
    """Seconds."""
    keep_alive: int
    """Intervals without news after which it says so."""
    lifetime: int
    """Intervals without a publish request after which it is over."""
    notifications_max: int
    """Values in one message; 0: no limit."""


class Subscription:
    """Belongs to a session, and outlives it for its lifetime, so that another can take it over."""

    def __init__(self, number: int, pace: Pace, meter: Meter, *, now: float, enabled: bool) -> None:
        self.number = number
        self.pace = pace
        self.meter = meter
        self.enabled = enabled
        self.priority = 0
        self.user = ""
        """Who may take it over."""
        self.items: dict[int, Item] = {}
        self.due = now + pace.interval
        """Loop time of the next publishing."""
        self.late = False
        """It has something to say, and no request to say it on."""
        self.over = False
        self._ready: dict[Item, None] = {}
        self._probed: dict[Item, None] = {}
        self._spoke = False
        self._quiet = 0
        self._unheard = 0
        self._sequence = 1
        self._kept: dict[int, bytes] = {}
        self._kept_bytes = 0

    # Items.

    def ready(self, item: Item) -> None:
        """An item has something to tell."""
        self._ready[item] = None

    def add(self, item: Item) -> None:
        """A new item."""
        self.items[item.number] = item
        if item.probe is not None:
            self._probed[item] = None

    def remove(self, number: int) -> bool:
        """False if there is no such item."""
        item = self.items.pop(number, None)
        if item is None:
            return False
        item.turn(DISABLED)
        self._ready.pop(item, None)
        self._probed.pop(item, None)
        return True

    def close(self) -> None:
        """Let go of all items and messages."""
        for number in list(self.items):
            self.remove(number)
        self._kept.clear()
        self.meter.held -= self._kept_bytes
        self._kept_bytes = 0
        self.over = True

    # Publishing.

    def tick(self, now: float, has_request: bool) -> None:
        """The publishing interval has passed: see whether something is to be said."""
        self.due += self.pace.interval
        if self.due < now:
            self.due = now + self.pace.interval  # we were held up: do not make up for it all at once
        for item in self._probed:
            item.look()
        self._unheard = 0 if has_request else self._unheard + 1
        if self._unheard >= self.pace.lifetime:
            self.over = True
            return
        if self.late:
            return
        if (self.enabled and self._has_news()) or not self._spoke:
            self.late = True
            return
        self._quiet += 1
        if self._quiet >= self.pace.keep_alive:
            self.late = True

    def heard(self) -> None:
        """A publish request or another service call came for it: its lifetime begins anew."""
        self._unheard = 0

    def _has_news(self) -> bool:
        if any(item.queue and item.mode == REPORTING for item in self._ready):
            return True
        self._ready.clear()
        return False

    def message(self, published: int, bytes_max: int) -> tuple[bytes, bool]:
        """The NotificationMessage that is due, and whether more are; `published` in ticks."""
        self._spoke, self._quiet = True, 0
        if not self.enabled or not self._has_news():
            self.late = False
            return struct.pack("<Iqi", self._sequence, published, 0), False
        body = self._values(bytes_max)
        more = self._has_news()
        self.late = more
        return self._numbered(_DATA_CHANGE, body, published), more

    def transferred(self, published: int) -> bytes:
        """A message for the session that had it: another has it now."""
        body = struct.pack("<IB", GOOD_TRANSFERRED, 0)
        head = struct.pack("<Iqi", self._sequence, published, 1)
        return head + _STATUS_CHANGE + struct.pack("<i", len(body)) + body

    def _values(self, bytes_max: int) -> bytes:
        most = self.pace.notifications_max or 2**31
        room = (bytes_max or 2**31) - 200
        written: list[bytes] = []
        # Walked once and not eaten from the front: the first key of a dictionary is found past all that were deleted.
        ready, self._ready = self._ready, {}
        for item in ready:
            queue = item.queue
            while queue and most > 0 and item.mode == REPORTING:
                if len(queue[0]) + 4 > room:
                    if written:
                        most = 0
                        break
                    queue[0] = self._shortened(queue[0])
                value = item.take()
                written.append(value)
                room -= len(value)
                most -= 1
            if queue and item.mode == REPORTING:
                self._ready[item] = None
        return struct.pack("<i", len(written)) + b"".join(written) + _NULL

    def _shortened(self, encoded: bytes) -> bytes:
        """A value that fits no message of this client: it hears that there was one, and when."""
        _, _, source, server = values.parts(encoded)
        short = values.data_value(b"", _TOO_LARGE, source, server)
        self.meter.held += len(short) - len(encoded)
        return short

    def _numbered(self, kind: bytes, body: bytes, published: int) -> bytes:
        head = struct.pack("<Iqi", self._sequence, published, 1)
        message = head + kind + struct.pack("<i", len(body)) + body
        self._kept[self._sequence] = message
        self._kept_bytes += len(message)
        self.meter.held += len(message)
        while len(self._kept) > KEPT_MAX or self._kept_bytes > KEPT_BYTES_MAX:
            self.acknowledge(next(iter(self._kept)))
        self._sequence = 1 if self._sequence >= 0xFFFF_FFFF else self._sequence + 1
        return message

    # What was said.

    def acknowledge(self, sequence: int) -> bool:
        """Forget a message; False if it is not kept."""
        message = self._kept.pop(sequence, None)
        if message is None:
            return False
        self._kept_bytes -= len(message)
        self.meter.held -= len(message)
        return True

    def kept(self, sequence: int) -> bytes | None:
        """A message, once more."""
        return self._kept.get(sequence)

    def available(self) -> bytes:
        """Encoded numbers of the messages that can be had again."""
        return struct.pack(f"<i{len(self._kept)}I", len(self._kept), *self._kept)

    def available_numbers(self) -> list[int]:
        """The same as numbers."""
        return list(self._kept)
