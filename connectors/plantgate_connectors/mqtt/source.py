"""Messages in from a broker, acknowledged to it when the batch they became is safe."""

import asyncio
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from plantgate.sdk import Batch, Context, Cursor, Gap, Unavailable
from plantgate.sdk.plausible import doubt_clock
from plantgate.sdk.quality import GOOD, UNCERTAIN_LAST_USABLE
from plantgate_connectors.mqtt.memory import Memory
from plantgate_connectors.mqtt.routes import Routes
from plantgate_connectors.mqtt.session import Session
from plantgate_connectors.mqtt.settings import MqttSettings, Retained, Version
from plantgate_connectors.mqtt.topics import TOPIC_BYTES_MAX
from plantgate_connectors.mqtt.transport import PUBACK

BATCH_SAMPLES: Final = 2_000
"""A batch is closed at this many, so that one can be stored while the next is coming."""
_COMPLAINTS_MOST: Final = 100
"""Topics complained about by name; beyond, only the counters go on."""
_RETAINED: Final = 0x01
_MESSAGE_OVERHEAD_BYTES: Final = 200
"""What a small message takes in memory beside its bytes."""
_U16: Final = struct.Struct("!H")
_PUBACK: Final = struct.Struct("!BBH")


class Malformed(Exception):
    """A PUBLISH that breaks the protocol."""


def read_publish(first: int, body: bytes, *, version_5: bool) -> tuple[bytes, int, bytes]:
    """Topic, packet identifier (0 with QoS 0) and payload of a PUBLISH (MQTT 5, 3.3). Properties are passed over.

    Raises `Malformed` for lengths that do not fit, for QoS 2, which was never granted, and for an empty topic: we allow
    no topic aliases.
    """
    try:
        at = 2 + _U16.unpack_from(body)[0]
        topic, mid = body[2:at], 0
        qos = first >> 1 & 3
        if qos > 1:
            raise Malformed(f"a message with QoS {qos}, which was never granted")
        if qos:
            mid = _U16.unpack_from(body, at)[0]
            at += 2
        if version_5:
            length, shift = 0, 0
            while True:
                byte = body[at]
                at += 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
                if shift > 21:
                    raise Malformed("a message whose properties have a length that is no number")
            at += length
    except (struct.error, IndexError):
        raise Malformed("a message shorter than it says") from None
    if at > len(body):
        raise Malformed("a message shorter than it says")
    if not topic or (qos and not mid):
        raise Malformed("a message without topic or packet identifier")
    return topic, mid, body[at:]


@dataclass(slots=True)
class _Filling:
    """Messages on their way to becoming a batch."""

    batch: Batch = field(default_factory=Batch.empty)
    mids: list[int] = field(default_factory=list)
    """What to acknowledge at QoS 1, in the order it came (MQTT 5, 4.6)."""
    size: int = 0
    tells_gap: bool = False


class MqttSource:
    """Reads one session's messages; also the receiver of that session."""

    def __init__(
        self, settings: MqttSettings, context: Context, routes: Routes, memory: Memory, complained: set[bytes]
    ) -> None:
        """`complained` outlives the session: topics whose trouble is in the log already."""
        self._five = settings.version is Version.V5
        self._buffer_bytes_max = settings.buffer_bytes_max
        self._message_bytes_max = settings.message_bytes_max
        self._context = context
        self._standing = context.standing
        self._routes = routes
        self._memory = memory
        self._complained = complained
        self._session: Session | None = None
        self._lost: Unavailable | None = None
        self._full: deque[_Filling] = deque()
        self._filling = _Filling()
        self._owed: deque[tuple[int, _Filling]] = deque()
        """Read and not acknowledged, by number."""
        self._number = 0
        self._held_bytes = 0
        """Received and not acknowledged."""
        self._arrived = asyncio.Event()
        self._gap: Gap | None = None
        self._live: set[int] = set()

    def attach(self, session: Session) -> None:
        """The broker has let us in; what its session of ours has kept may come from now on."""
        self._session = session

    def begin(self) -> None:
        """The subscriptions stand."""
        assert self._session is not None, "attach() comes first"
        self._gap = self._memory.gap(tuple(route.subscribe.topic for route in self._routes.all))
        if self._gap is not None:
            self._arrived.set()
        self._standing.live = len(self._live)
        self._standing.up(session_present=self._session.granted.session_present)

    # The doors.

    async def read(self) -> Batch:
        """Everything that has come, up to a batch; waits for the first of it."""
        while True:
            await self._arrived.wait()
            if self._lost is not None:
                raise self._lost
            filling = self._next()
            batch = filling.batch
            if self._gap is not None:
                batch.gaps = (self._gap, *batch.gaps)
                filling.tells_gap = True
                self._gap = None
            if batch.tags or batch.gaps:
                return self._hand_out(filling)
            if self._owed:  # nothing usable came; confirmed in its turn, together with what came before
                self._owed[-1][1].mids += filling.mids
                self._owed[-1][1].size += filling.size
            else:
                self._confirm([filling])

    async def ack(self, cursor: Cursor) -> None:
        """The broker may forget these messages."""
        upto = int(cursor)
        safe: list[_Filling] = []
        while self._owed and self._owed[0][0] <= upto:
            safe.append(self._owed.popleft()[1])
        self._confirm(safe)

    def _next(self) -> _Filling:
        if self._full:
            return self._full.popleft()
        filling, self._filling = self._filling, _Filling()
        self._arrived.clear()
        return filling

    def _hand_out(self, filling: _Filling) -> Batch:
        batch = filling.batch
        now = self._context.clock.now()
        batch.received = batch.received or now
        if wrong := doubt_clock(batch.times, batch.qualities, now):
            self._standing.count("clocks_ahead", wrong)
        self._number += 1
        batch.cursor = str(self._number)
        self._owed.append((self._number, filling))
        return batch

    def _confirm(self, safe: list[_Filling]) -> None:
        assert self._session is not None, "begin() comes first"
        self._session.wire.write(b"".join([_PUBACK.pack(PUBACK, 2, mid) for filling in safe for mid in filling.mids]))
        self._held_bytes -= sum(filling.size for filling in safe)
        if safe:  # a gap begins with what was read and is not safe: nobody gives that again at QoS 0
            self._memory.heard = safe[-1].batch.received
        if any(filling.tells_gap for filling in safe):
            self._memory.told()
        if self._held_bytes * 2 <= self._buffer_bytes_max:
            self._session.resume()

    # What the session tells.

    def publish(self, first: int, body: bytes) -> None:
        """A message. Whatever is in it, it becomes samples or is counted, and will be acknowledged."""
        try:
            topic, mid, payload = read_publish(first, body, version_5=self._five)
        except Malformed as error:
            self._broken(f"it sent {error}")
            return
        filling = self._room(mid, len(body) + _MESSAGE_OVERHEAD_BYTES)
        destination = self._routes.of(topic)
        if destination is None:
            self._trouble("unroutable", topic, "a message nobody asked for, or on a topic that breaks the rules")
            return
        route, tag = destination.route, destination.tag
        quality = GOOD
        if first & _RETAINED:
            quality = UNCERTAIN_LAST_USABLE
            self._standing.count("retained")
            if route.subscribe.retained is Retained.IGNORE:
                return
        before = len(filling.batch.tags)
        if not route.read(filling.batch, tag, payload, quality, None):
            self._trouble("undecodable", topic, f"a message that is not {route.subscribe.payload.value}")
        self._live.add(route.number)
        self._standing.live = len(self._live)
        self._memory.saw(filling.batch.tags[before:])

    def oversized(self, topic: bytes, mid: int, size: int) -> None:
        """A message went by unread: it is named in a gap and acknowledged, or it would come again for ever."""
        filling = self._room(mid, _MESSAGE_OVERHEAD_BYTES)
        self._trouble("oversized", topic, f"a message of {size} bytes, the most is {self._message_bytes_max}")
        destination = self._routes.of(topic)
        if destination is not None:
            gap = Gap((destination.tag,), None, None, "message too large", lost=1)
            filling.batch.gaps = (*filling.batch.gaps, gap)

    def puback(self, mid: int, reason: int) -> None:
        """We publish nothing, so nothing is acknowledged."""
        self._broken("it acknowledged a message we never sent")

    def lost(self, error: Unavailable) -> None:
        """The session is over; what was not acknowledged will come again in the next."""
        self._lost = error
        self._arrived.set()

    def _room(self, mid: int, size: int) -> _Filling:
        """The batch that takes the next message, the message noted in it."""
        filling = self._filling
        if len(filling.batch.tags) >= BATCH_SAMPLES or len(filling.mids) >= BATCH_SAMPLES:
            self._full.append(filling)
            filling = self._filling = _Filling()
        if not filling.size:
            filling.batch.received = self._context.clock.now()
        if mid:
            filling.mids.append(mid)
        filling.size += size
        self._held_bytes += size
        if self._held_bytes > self._buffer_bytes_max and self._session is not None:
            self._session.pause()
        self._arrived.set()
        return filling

    def _broken(self, words: str) -> None:
        if self._session is not None:
            self._session.end(words, abort=True)

    def _trouble(self, counter: str, topic: bytes, words: str) -> None:
        self._standing.count(counter)
        if topic not in self._complained and len(self._complained) < _COMPLAINTS_MOST:
            self._complained.add(topic)
            shown = topic[:TOPIC_BYTES_MAX].decode(errors="backslashreplace")
            self._context.log.warning("message not usable, counted and passed over", topic=shown, reason=words)
