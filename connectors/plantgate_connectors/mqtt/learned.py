"""What a broker will not take and does not say beforehand, learned from what happens.

A broker may refuse a message that is too large with a reason, or just end the session; Mosquitto 2.0 does the first and
then the second. Sending the same again and again would stop the flow for good, so a large batch is split, and a large
value that cannot be split is given up (it is set aside, not lost) when sessions keep ending on it.
"""

from typing import Final

from plantgate.sdk import Batch
from plantgate_connectors.mqtt import reasons
from plantgate_connectors.mqtt.publisher import Message

SUSPICIOUS_BYTES: Final = 64 * 1024
"""No broker known to us refuses less because of its size."""
_SPLIT_AFTER: Final = 2
_GIVE_UP_AFTER: Final = 5


class Learned:
    """Outlives the sessions."""

    def __init__(self) -> None:
        self._split_above = 268_435_455
        self._batch: tuple[str, int] | None = None
        self._ended = 0
        """Sessions in a row that ended while this batch was under way."""
        self._largest = 0
        """Of the messages under way with several samples, bytes."""

    def trying(self, batch: Batch) -> None:
        """This batch is about to be sent."""
        if self._batch != (batch.origin, batch.position):
            self._batch, self._ended = (batch.origin, batch.position), 0
        self._largest = 0

    def fits(self, message: Message) -> bool:
        """False if a message with several samples must be split, or one with a single sample is hopeless."""
        size = message.size()
        if message.samples > 1:
            if size > self._split_above:
                return False
            self._largest = max(self._largest, size)
            return True
        return size <= SUSPICIOUS_BYTES or self._ended < _GIVE_UP_AFTER

    def refused(self, refused: list[tuple[int, Message]]) -> bool:
        """True if the batch must be sent again in smaller parts; what was taken before is then sent twice."""
        sizes = [m.size() for code, m in refused if code == reasons.PACKET_TOO_LARGE and m.samples > 1]
        if sizes:
            self._split_above = min(sizes) // 2
        return bool(sizes)

    def ended(self) -> None:
        """The session ended while the batch was under way."""
        self._ended += 1
        if self._largest > SUSPICIOUS_BYTES and self._ended >= _SPLIT_AFTER:
            self._split_above = max(self._largest // 2, SUSPICIOUS_BYTES)
            self._ended = 0
