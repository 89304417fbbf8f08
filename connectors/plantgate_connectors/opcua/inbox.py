"""Takes messages as they arrive: puts them in order, and notices what is missing between them."""

import asyncio
import struct
from typing import Final

from plantgate.sdk import Context
from plantgate_connectors.opcua.backlog import Arrival, Hole, Interruption
from plantgate_connectors.opcua.bounds import MalformedNotification
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.envelope import SEQUENCE_MAX, STATUS_CHANGE, Envelope, following
from plantgate_connectors.opcua.subscription import Mark, Subscription

_HALF: Final = 2**31
_HOLE_MAX: Final = 1_000
"""Missing messages that are worth asking for one by one; a larger jump is a server that counts anew, or lies."""
_BEHIND_MAX: Final = 3
"""Messages in a row with numbers that were seen before."""
_EARLY_MAX: Final = 16
"""Messages of a subscription kept until the answer to its creation has been seen."""
_QUARANTINE: Final = 8
"""Malformed messages kept for whoever looks into it."""


class Inbox:
    """The publisher's receiver, for one session; what it takes goes to the backlog that outlives it."""

    def __init__(self, continuity: Continuity, context: Context) -> None:
        self._continuity = continuity
        self._context = context
        self.wake = asyncio.Event()
        """Something can be read, or nothing will come any more."""
        self.mend = asyncio.Event()
        """Something must be fetched before reading goes on."""
        self.reconcile = asyncio.Event()
        """What is monitored has changed."""
        self.unknown: dict[int, list[Envelope]] = {}
        """Subscriptions in our session that nobody here knows, with their first messages."""
        self.vanished: set[int] = set()
        """Items whose node is gone: the server still has the item, which will never report again."""
        self.creating = False
        """Items are being asked for."""
        self.failure: Exception | None = None

    def room(self) -> bool:
        """As `Receiver.room`."""
        return not self._continuity.backlog.full

    def arrived(self, envelope: Envelope) -> None:
        """As `Receiver.arrived`."""
        subscription = self._continuity.subscriptions.get(envelope.subscription)
        if subscription is None:
            self._unknown(envelope)
            return
        subscription.heard = asyncio.get_running_loop().time()
        expected = following(subscription.received)
        ahead = (envelope.sequence - expected) % SEQUENCE_MAX
        if ahead >= _HALF:
            if envelope.parts and not self._numbered_anew(subscription):
                return
            ahead = 0
        else:
            subscription.behind = 0
        if ahead or subscription.outage is not None:
            self._missing(subscription, envelope, expected, ahead)
        if not envelope.parts:
            return
        subscription.received = envelope.sequence
        self._continuity.backlog.push(Arrival(envelope, subscription, self._context.clock.now()))
        self.wake.set()
        self.mend.set()
        if any(part.kind == STATUS_CHANGE for part in envelope.parts):
            self._status_changed(subscription, envelope)

    def adopt(self, subscription: Subscription) -> None:
        """A subscription was made; its first message may have overtaken the answer that says so."""
        self._continuity.subscriptions[subscription.id] = subscription
        for envelope in self.unknown.pop(subscription.id, ()):
            self.arrived(envelope)

    def _unknown(self, envelope: Envelope) -> None:
        if envelope.subscription:  # 0 where a session has none (OPC 10000-4, 5.14.5)
            early = self.unknown.setdefault(envelope.subscription, [])
            if len(early) < _EARLY_MAX:
                early.append(envelope)
            self.reconcile.set()

    def _missing(self, subscription: Subscription, envelope: Envelope, expected: int, ahead: int) -> None:
        missing = [(expected + step - 1) % SEQUENCE_MAX + 1 for step in range(min(ahead, _HOLE_MAX))]
        if ahead > _HOLE_MAX:
            missing = []
        handles = self._continuity.items.at_home(subscription.id)
        hole = Hole(subscription, handles, missing, subscription.outage, beyond=ahead > _HOLE_MAX)
        subscription.outage = None
        subscription.received = (envelope.sequence - 2) % SEQUENCE_MAX + 1 if ahead else subscription.received
        self._context.standing.count("missing_messages", ahead)
        self._continuity.backlog.push(hole)
        self.mend.set()

    def _numbered_anew(self, subscription: Subscription) -> bool:
        """One message that was taken before is dropped; several in a row are a server that counts anew."""
        subscription.behind += 1
        self._context.standing.count("repeated_messages")
        if subscription.behind < _BEHIND_MAX:
            return False
        subscription.behind = 0
        handles = self._continuity.items.at_home(subscription.id)
        self._continuity.backlog.push(Interruption(handles, "messages numbered anew", refresh=True))
        return True

    def _status_changed(self, subscription: Subscription, envelope: Envelope) -> None:
        for part in envelope.parts:
            if part.kind == STATUS_CHANGE and part.end - part.start >= 4:
                (status,) = struct.unpack_from("<I", envelope.body, part.start)
                self._context.log.warning(
                    "the server ended a subscription", subscription=envelope.subscription, status=f"0x{status:08X}"
                )
                self.lost(subscription, "subscription ended by the server")

    def lost(self, subscription: Subscription, cause: str) -> None:
        """The server no longer has it; its items are to be monitored anew."""
        handles = self._continuity.bury(subscription)
        self._context.standing.count("subscriptions_lost")
        if handles:
            self._continuity.backlog.push(Interruption(handles, cause))
            self.mend.set()
        self.reconcile.set()

    def malformed(self, body: bytes, error: MalformedNotification) -> None:
        """As `Receiver.malformed`. Which message it was shows when the next one's number is seen."""
        number = self._context.standing.counters.get("malformed_messages", 0)
        self._context.standing.count("malformed_messages")
        self._context.log.error("a message of the server makes no sense; set aside", reason=str(error), bytes=len(body))
        if number < _QUARANTINE:
            folder = self._context.folder / "quarantine"
            folder.mkdir(exist_ok=True)
            (folder / f"message-{number}.bin").write_bytes(body)

    def to_acknowledge(self, most: int) -> list[Mark]:
        """As `Receiver.to_acknowledge`."""
        return self._continuity.to_acknowledge(most)

    def not_acknowledged(self, marks: list[Mark]) -> None:
        """As `Receiver.not_acknowledged`."""
        self._continuity.acknowledgements.extendleft(reversed(marks))

    def no_subscription(self) -> None:
        """As `Receiver.no_subscription`."""
        for subscription in list(self._continuity.subscriptions.values()):
            self.lost(subscription, "subscription lost")
        self.reconcile.set()

    def ended(self, error: Exception) -> None:
        """As `Receiver.ended`; the first reason counts."""
        if self.failure is None:
            self.failure = error
        self.wake.set()
