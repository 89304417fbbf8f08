"""A small MQTT 3.1.1 and 5 broker: a TWIN, written by us from the OASIS standards, so agreeing with it proves little.

    async with Broker() as broker:
        port = await broker.listen("127.0.0.1")

It runs on the real loop (the demo) and on the simulated one (tests), and can be made to misbehave: see `Broker.answer`
and `Broker.crash`. QoS 0 and 1 both ways, QoS 2 towards it; persistent sessions, retained messages, wills, keep-alive,
flow control, session and message expiry. Not there: TLS, ``$SYS``, shared subscriptions, enhanced authentication,
topic aliases, QoS 2 to subscribers (granted as 1).
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Final, Self, TypeAlias

from plantgate.testing.mqtt_connection import Connection
from plantgate.testing.mqtt_fields import NO_ANSWER, Malformed, Property, PropertyValue, Reason
from plantgate.testing.mqtt_packets import Connect, Message, Subscription
from plantgate.testing.mqtt_sessions import NEVER, Memory, Session, for_subscriber, valid_filter

Answer: TypeAlias = int | None
"""A reason code for the acknowledgement; None: take the message, then break the connection without a reply;
`NO_ANSWER`: take nothing and say nothing, as a broker that cannot store."""


GOODBYE_SECONDS: Final = 2.0
"""How long `Broker.stop` waits for clients to take what was sent to them."""


class Broker:
    """Listens, remembers, and delivers."""

    def __init__(
        self,
        *,
        packet_bytes_max: int = 1024 * 1024,
        waiting_max: int = 100_000,
        buffer_bytes_max: int = 8 * 1024 * 1024,
        authenticate: Callable[[str | None, bytes | None], bool] | None = None,
    ) -> None:
        self.packet_bytes_max = packet_bytes_max
        """A larger packet closes the connection it came on."""
        self.waiting_max = waiting_max
        """QoS 1 messages kept for one session; more are dropped and counted."""
        self.buffer_bytes_max = buffer_bytes_max
        """Unsent bytes at which messages of QoS 0 to that client are dropped and counted."""
        self.authenticate = authenticate
        self.counters: Counter[str] = Counter()
        """``connected``, ``received``, ``received_bytes``, ``sent``, ``queued``, ``dropped``, ``expired``,
        ``malformed``, ``wills``, ``refused``."""
        self.received: Callable[[Message], None] | None = None
        """Called with every message that was accepted, before it is acknowledged; for tests."""
        self.answer: Callable[[Message], Answer] | None = None
        """How to answer a publisher: a reason code at or above 0x80 refuses the message (to a 3.1.1 client, which
        cannot be told, by breaking the connection); None takes it and breaks the connection, the lost reply."""
        self.connections: set[Connection] = set()
        self._memory = Memory()
        self._saved = Memory()
        self._server: asyncio.AbstractServer | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wills: dict[str, tuple[asyncio.TimerHandle, Message]] = {}
        self._assigned = 0

    # Life.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Accept clients; returns the port. May be called again after `stop` or `crash`."""
        assert self._server is None, "already listening"
        self._server = await asyncio.start_server(self._serve, host, port, limit=64 * 1024)
        address: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return address[1]

    async def stop(self) -> None:
        """Say goodbye to every client and stop listening; memory is kept."""
        for connection in list(self.connections):
            connection.say_goodbye(Reason.SERVER_SHUTTING_DOWN)
        await self._close()

    async def crash(self, *, keep: bool = True) -> None:
        """Vanish: every connection is reset, no will is sent. `keep=False` goes back to what `save` last wrote."""
        for connection in list(self.connections):
            connection.vanish()
        await self._close()
        self._memory = self._memory.copy() if keep else self._saved.copy()

    def save(self) -> None:
        """Write memory down, as Mosquitto's ``autosave_interval`` does; a crash with ``keep=False`` returns to it."""
        self._saved = self._memory.copy()

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        if self.connections:
            await asyncio.wait([connection.task for connection in self.connections], timeout=GOODBYE_SECONDS)
        for connection in list(self.connections):
            connection.abort()
        while self.connections:
            await asyncio.wait([connection.task for connection in self.connections])
        for timer in [*self._timers.values(), *(timer for timer, _ in self._wills.values())]:
            timer.cancel()
        self._timers.clear()
        self._wills.clear()
        if server is not None:
            await server.wait_closed()

    # For tests and the demo.

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> int:
        """Publish as if a client had; returns how many sessions wanted it."""
        return self.route(Message(topic, payload, qos, retain))

    def retained(self) -> dict[str, bytes]:
        """Topic to payload."""
        return {topic: message.payload for topic, message in self._memory.retained.items()}

    def waiting(self, client_id: str) -> int:
        """Messages a client has not yet acknowledged or not yet been sent."""
        session = self._memory.sessions.get(client_id)
        return 0 if session is None else len(session.waiting) + len(session.unacknowledged)

    def client_ids(self) -> list[str]:
        """Of the sessions that exist, connected or not."""
        return sorted(self._memory.sessions)

    def drop_connections(self) -> None:
        """Reset every client's connection and go on serving; their wills are sent."""
        for connection in list(self.connections):
            connection.abort()

    # What a connection calls.

    def admit(self, connect: Connect, connection: Connection) -> tuple[Session, bool, str | None]:
        """Open or resume the client's session: session, whether it was there, client identifier if we chose it.

        Raises `Malformed` with the reason of a refusal.
        """
        if self.authenticate is not None and not self.authenticate(connect.username, connect.password):
            self.counters["refused"] += 1
            raise Malformed("bad user name or password", Reason.BAD_USER_NAME_OR_PASSWORD)
        client_id, assigned = connect.client_id, None
        if not client_id:
            self._assigned += 1
            client_id = assigned = f"assigned-{self._assigned}"
        self._take_over(client_id)
        self._resume(client_id, afresh=connect.clean)
        known = self._memory.sessions.get(client_id)
        session = Session(client_id) if known is None or connect.clean else known
        session.expiry_seconds = connect.session_expiry()
        session.receiver = connection
        self._memory.sessions[client_id] = session
        self.counters["connected"] += 1
        return session, session is known, assigned

    def _take_over(self, client_id: str) -> None:
        """A second connection with the same identifier ends the first (3.1.4)."""
        for connection in list(self.connections):
            if connection.session is not None and connection.session.client_id == client_id:
                connection.say_goodbye(Reason.SESSION_TAKEN_OVER)
                connection.end_session()

    def _resume(self, client_id: str, *, afresh: bool) -> None:
        """The client is back: its session does not expire, and a delayed will is due only if the session ended."""
        if timer := self._timers.pop(client_id, None):
            timer.cancel()
        if delayed := self._wills.pop(client_id, None):
            delayed[0].cancel()
            if afresh:
                self._send_will(delayed[1])

    def take(self, message: Message) -> Answer:
        """A client published: route it, and say how to answer."""
        answer = Reason.SUCCESS if self.answer is None else self.answer(message)
        if answer is not None and answer >= Reason.UNSPECIFIED_ERROR:
            self.counters["refused"] += 1
            return answer
        if answer == NO_ANSWER:
            return answer
        self.counters["received"] += 1
        self.counters["received_bytes"] += len(message.payload)
        if self.received is not None:
            self.received(message)
        wanted = self.route(message)
        return Reason.NO_MATCHING_SUBSCRIBERS if answer == Reason.SUCCESS and not wanted else answer

    def route(self, message: Message) -> int:
        """Retain it if asked, and offer it to every session that wants it; returns to how many."""
        now = asyncio.get_running_loop().time()
        expiry = message.properties.get(Property.MESSAGE_EXPIRY)
        if isinstance(expiry, int):
            message = replace(message, expires_at=now + expiry)
        if message.retain:
            self._memory.retain(message)
        return self._memory.route(message, bound=self.waiting_max, now=now, counters=self.counters)

    def subscribe(self, session: Session, wanted: list[Subscription]) -> tuple[list[int], list[Message]]:
        """Grant each filter; returns the reason codes, and the retained messages that are due."""
        now = asyncio.get_running_loop().time()
        granted: list[int] = []
        retained: list[Message] = []
        for asked in wanted:
            if asked.filter.startswith("$share/"):
                granted.append(Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED)
                continue
            if not valid_filter(asked.filter):
                granted.append(Reason.TOPIC_FILTER_INVALID)
                continue
            subscription = replace(asked, qos=min(asked.qos, 1))
            new = subscription.filter not in session.subscriptions
            session.subscriptions[subscription.filter] = subscription
            granted.append(subscription.qos)
            if subscription.retain_handling == 0 or (subscription.retain_handling == 1 and new):
                due = self._memory.retained_for(subscription.filter, now)
                retained += [for_subscriber(message, [subscription], retained=True) for message in due]
        return granted, retained

    def deliver(self, session: Session, messages: list[Message]) -> None:
        """Queue these for one session, and send what may be sent."""
        for message in messages:
            self.counters[session.offer(message, bound=self.waiting_max)] += 1
        self.counters["expired"] += session.drain(asyncio.get_running_loop().time())

    def depart(self, session: Session, will: Message | None) -> None:
        """A connection ended: send its will (None if it said goodbye), and start the session's expiry."""
        session.receiver = None
        if will is not None:
            self._will_of(session, will)
        if session.expiry_seconds == 0:
            self._expire(session)
        elif session.expiry_seconds != NEVER:
            later = asyncio.get_running_loop().call_later(session.expiry_seconds, self._expire, session)
            self._timers[session.client_id] = later

    def _will_of(self, session: Session, will: Message) -> None:
        delay = will.properties.get(Property.WILL_DELAY)
        seconds = min(delay if isinstance(delay, int) else 0, session.expiry_seconds)
        if seconds:
            later = asyncio.get_running_loop().call_later(seconds, self._send_delayed_will, session.client_id)
            self._wills[session.client_id] = (later, will)
        else:
            self._send_will(will)

    def _expire(self, session: Session) -> None:
        self._timers.pop(session.client_id, None)
        if self._memory.sessions.get(session.client_id) is session:
            del self._memory.sessions[session.client_id]

    def _send_delayed_will(self, client_id: str) -> None:
        self._send_will(self._wills.pop(client_id)[1])

    def _send_will(self, will: Message) -> None:
        self.counters["wills"] += 1
        kept: dict[Property, PropertyValue] = dict(will.properties)
        kept.pop(Property.WILL_DELAY, None)
        self.route(replace(will, properties=kept))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # accepted just before the broker went away
            writer.transport.abort()
            return
        connection = Connection(self, reader, writer)
        self.connections.add(connection)
        try:
            await connection.serve()
        finally:
            self.connections.discard(connection)
            writer.close()
            with contextlib.suppress(OSError):
                async with asyncio.timeout(5):
                    await writer.wait_closed()
