"""Subscriptions of all sessions, the requests they may answer on, and the clock they publish by."""

import asyncio
import struct
from collections.abc import Callable
from typing import Final

from asyncua import ua

from plantgate_connectors.opcua_server import values
from plantgate_connectors.opcua_server.fault import Fault, answer, fault
from plantgate_connectors.opcua_server.frames import BAD_TIMEOUT
from plantgate_connectors.opcua_server.monitored import Meter
from plantgate_connectors.opcua_server.sessions import Asked, Session, may_take_over
from plantgate_connectors.opcua_server.settings import Limits
from plantgate_connectors.opcua_server.subscription import KEPT_MAX, Pace, Subscription

NO_SUBSCRIPTION: Final = 0x8079_0000
SUBSCRIPTION_UNKNOWN: Final = 0x8028_0000
TOO_MANY_SUBSCRIPTIONS: Final = 0x8077_0000
TOO_MANY_REQUESTS: Final = 0x8078_0000
MESSAGE_NOT_AVAILABLE: Final = 0x807B_0000
SEQUENCE_UNKNOWN: Final = 0x807A_0000
DENIED: Final = 0x801F_0000
SESSION_CLOSED: Final = 0x8026_0000

INTERVAL_LEAST: Final = 0.05
INTERVAL_MOST: Final = 3600.0
KEEP_ALIVE_MOST_SECONDS: Final = 3600.0
LIFETIME_MOST_SECONDS: Final = 86_400.0
ASKED_MOST: Final = 50
"""Publish requests kept for one session."""
_PUBLISH_RESPONSE: Final = 829
_STEP: Final = 0.02
"""Subscriptions due within so many seconds are served together."""


class Publishing:
    """Subscriptions by number, with whose they are."""

    def __init__(self, limits: Limits, clock: Callable[[], int]) -> None:
        self._limits = limits
        self._clock = clock
        self.meter = Meter(limits.queued_bytes_max)
        self.subscriptions: dict[int, Subscription] = {}
        self._owners: dict[int, Session | None] = {}
        self._proven: dict[int, tuple[str, bytes]] = {}
        """User and client certificate, for a take-over."""
        self.created = 0
        """Subscriptions so far."""
        self._news = asyncio.Event()

    @property
    def items(self) -> int:
        """Monitored items of all subscriptions."""
        return sum(len(subscription.items) for subscription in self.subscriptions.values())

    def create(self, session: Session, wanted: ua.CreateSubscriptionParameters) -> Subscription:
        """A new subscription; raises `Fault`."""
        if len(self.subscriptions) >= self._limits.subscriptions_max and not self._make_room():
            raise Fault(TOO_MANY_SUBSCRIPTIONS)
        self.created += 1
        pace = revised(
            wanted.RequestedPublishingInterval, wanted.RequestedMaxKeepAliveCount, wanted.RequestedLifetimeCount,
            wanted.MaxNotificationsPerPublish,
        )  # fmt: skip
        made = Subscription(self.created, pace, self.meter, now=_now(), enabled=bool(wanted.PublishingEnabled))
        made.priority = int(wanted.Priority)
        self.subscriptions[made.number] = made
        self._give(made, session)
        self._news.set()
        return made

    def _make_room(self) -> bool:
        """End the oldest subscription that waits for a client who is gone."""
        for number, owner in self._owners.items():
            if owner is None or owner.line is None:
                self._end(number)
                return True
        return False

    def _give(self, subscription: Subscription, session: Session) -> None:
        self._owners[subscription.number] = session
        self._proven[subscription.number] = (session.user, session.certificate)
        session.subscriptions.add(subscription.number)

    def of(self, session: Session, number: int) -> Subscription:
        """One of the session's own; raises `Fault`."""
        found = self.subscriptions.get(number)
        if found is None or number not in session.subscriptions:
            raise Fault(SUBSCRIPTION_UNKNOWN)
        found.heard()
        return found

    def delete(self, session: Session, number: int) -> int:
        """End one; returns a StatusCode."""
        if number not in session.subscriptions:
            return SUBSCRIPTION_UNKNOWN
        self._end(number)
        return 0

    def _end(self, number: int) -> None:
        ended = self.subscriptions.pop(number, None)
        owner = self._owners.pop(number, None)
        self._proven.pop(number, None)
        if ended is not None:
            ended.close()
        if owner is not None:
            owner.subscriptions.discard(number)
            if not owner.subscriptions:
                self._refuse_all(owner, NO_SUBSCRIPTION)

    def closed(self, session: Session, *, delete: bool) -> None:
        """The session is over; its subscriptions go with it, or wait for another session until their lifetime."""
        self._refuse_all(session, SESSION_CLOSED)
        for number in list(session.subscriptions):
            if delete:
                self._end(number)
            else:
                self._owners[number] = None
        session.subscriptions.clear()

    def close(self) -> None:
        """End all, without a word: the server stops."""
        for subscription in self.subscriptions.values():
            subscription.close()
        self.subscriptions.clear()

    def transfer(self, session: Session, number: int, *, initial: bool) -> tuple[int, list[int]]:
        """Take over a subscription; returns a StatusCode and the numbers of messages that can be had again."""
        found = self.subscriptions.get(number)
        if found is None:
            return SUBSCRIPTION_UNKNOWN, []
        if not may_take_over(session.user, session.certificate, self._proven[number]):
            return DENIED, []
        before = self._owners.get(number)
        if before is not None and before is not session:
            before.subscriptions.discard(number)
            self._say_transferred(before, found)
        self._give(found, session)
        found.heard()
        if initial:
            for item in found.items.values():
                item.tell_again()
        return 0, found.available_numbers()

    def _say_transferred(self, before: Session, found: Subscription) -> None:
        if before.asked:
            at = values.ticks(self._clock())
            asked = before.asked.popleft()
            self._say(before, asked, found.number, b"\0\0\0\0", False, found.transferred(at))
        if not before.subscriptions:
            self._refuse_all(before, NO_SUBSCRIPTION)

    # Publishing.

    def publish(self, session: Session, request_id: int, request: ua.PublishRequest) -> None:
        """Take a publish request: answered now if something is late, else kept. Raises `Fault`."""
        results = [self._acknowledge(session, each) for each in request.Parameters.SubscriptionAcknowledgements or ()]
        if not session.subscriptions:
            raise Fault(NO_SUBSCRIPTION)
        header = request.RequestHeader
        hint = int(header.TimeoutHint or 0)
        asked = Asked(
            request_id, int(header.RequestHandle), struct.pack(f"<i{len(results)}I", len(results), *results),
            _now() + hint / 1000 if hint else float("inf"),
        )  # fmt: skip
        if len(session.asked) >= ASKED_MOST:
            self._refuse(session, session.asked.popleft(), TOO_MANY_REQUESTS)
        session.asked.append(asked)
        for number in session.subscriptions:
            self.subscriptions[number].heard()
        self._serve(session)

    def _acknowledge(self, session: Session, each: ua.SubscriptionAcknowledgement) -> int:
        number = int(each.SubscriptionId)
        if number not in session.subscriptions:
            return SUBSCRIPTION_UNKNOWN
        return 0 if self.subscriptions[number].acknowledge(int(each.SequenceNumber)) else SEQUENCE_UNKNOWN

    def republish(self, session: Session, number: int, sequence: int) -> bytes:
        """A kept message; raises `Fault`."""
        kept = self.of(session, number).kept(sequence)
        if kept is None:
            raise Fault(MESSAGE_NOT_AVAILABLE)
        return kept

    def _serve(self, session: Session) -> None:
        """Answer publish requests while subscriptions have something to say; the most urgent first."""
        if session.line is None:
            return
        while session.asked:
            late = [self.subscriptions[number] for number in session.subscriptions if self.subscriptions[number].late]
            if not late:
                return
            subscription = max(late, key=lambda each: (each.priority, -each.due))
            asked = session.asked.popleft()
            if asked.until < _now():
                self._refuse(session, asked, BAD_TIMEOUT)
                continue
            most = session.line.channel.answer_bytes_max or self._limits.message_bytes_max
            at = values.ticks(self._clock())
            around = len(asked.results) + 4 * KEPT_MAX + 64
            message, more = subscription.message(at, min(most, self._limits.message_bytes_max) - around)
            self._say(session, asked, subscription.number, subscription.available(), more, message)

    def _say(self, session: Session, asked: Asked, number: int, available: bytes, more: bool, message: bytes) -> None:
        body = struct.pack("<I", number) + available + bytes((more,)) + message + asked.results + b"\xff\xff\xff\xff"
        if session.line is not None:
            at = values.ticks(self._clock())
            session.line.say(asked.request_id, answer(_PUBLISH_RESPONSE, asked.handle, at, body))

    def _refuse(self, session: Session, asked: Asked, status: int) -> None:
        if session.line is not None:
            session.line.say(asked.request_id, fault(asked.handle, values.ticks(self._clock()), status))

    def _refuse_all(self, session: Session, status: int) -> None:
        while session.asked:
            self._refuse(session, session.asked.popleft(), status)

    async def run(self) -> None:
        """The clock of all subscriptions; runs until cancelled."""
        while True:
            self._news.clear()
            due = min((each.due for each in self.subscriptions.values()), default=None)
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - _now())):
                    await self._news.wait()
                    continue
            except TimeoutError:
                pass
            for subscription in list(self.subscriptions.values()):
                if subscription.due <= _now() + _STEP:
                    self._tick(subscription)
                    await asyncio.sleep(0)  # between two clients, let the others have a turn

    def _tick(self, subscription: Subscription) -> None:
        session = self._owners.get(subscription.number)
        if session is not None:
            while session.asked and session.asked[0].until < _now():
                self._refuse(session, session.asked.popleft(), BAD_TIMEOUT)
        subscription.tick(_now(), has_request=session is not None and bool(session.asked))
        if subscription.over:
            self._end(subscription.number)
        elif subscription.late and session is not None:
            self._serve(session)


def revised(interval_ms: float, keep_alive: int, lifetime: int, notifications_max: int) -> Pace:
    """What is granted of what is asked: a lifetime is three keep-alives at least (5.14.2)."""
    asked = float(interval_ms) / 1000 if interval_ms == interval_ms else 0.0
    interval = min(max(asked, INTERVAL_LEAST), INTERVAL_MOST)
    beats = min(max(int(keep_alive) or 10, 1), max(1, int(KEEP_ALIVE_MOST_SECONDS / interval)))
    life = min(max(int(lifetime), 3 * beats), max(3 * beats, int(LIFETIME_MOST_SECONDS / interval)))
    return Pace(interval, beats, life, int(notifications_max))


def _now() -> float:
    return asyncio.get_running_loop().time()
