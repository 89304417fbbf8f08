"""One client's connection to the broker twin: reads its packets, answers them, and ends for whatever reason."""

import asyncio
from typing import TYPE_CHECKING, Final

from plantgate.testing import mqtt_packets as packets
from plantgate.testing.mqtt_fields import NO_ANSWER, V5, V311, Kind, Malformed, Properties, Property, Reason
from plantgate.testing.mqtt_packets import Message
from plantgate.testing.mqtt_sessions import Session

if TYPE_CHECKING:
    from plantgate.testing.mqtt_broker import Broker

CONNECT_SECONDS: Final = 10.0
"""How long a client may take to say CONNECT."""
_ROOM: Final = 100
"""QoS 1 messages a client is sent before it acknowledges one; its Receive Maximum may be smaller."""
_FLAGS: Final = {Kind.PUBREL: 2, Kind.SUBSCRIBE: 2, Kind.UNSUBSCRIBE: 2}
"""The fixed header flags each packet but PUBLISH must carry (2.1.3); 0 where not listed."""
_V311_REFUSALS: Final = {
    Reason.UNSUPPORTED_VERSION: 1,
    Reason.CLIENT_ID_NOT_VALID: 2,
    Reason.SERVER_UNAVAILABLE: 3,
    Reason.BAD_USER_NAME_OR_PASSWORD: 4,
    Reason.NOT_AUTHORIZED: 5,
}


class Connection:
    """Serves one client until it leaves, breaks off, breaks the protocol, or falls silent."""

    def __init__(self, broker: "Broker", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task: asyncio.Task[object] = task
        self.session: Session | None = None
        self.room = _ROOM
        self._broker, self._reader, self._writer = broker, reader, writer
        self._version = V311
        self._silence_seconds: float | None = None
        self._will: Message | None = None
        self._packet_bytes_max: int | None = None

    # Reading.

    async def serve(self) -> None:
        """Returns when the connection is over. Never raises what a client did."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                kind, _, content = await self._read()
            if kind is not Kind.CONNECT:
                return
            if not self._welcome(content):
                return
            while await self._turn():
                pass
        except Malformed as error:
            self._broker.counters["malformed"] += 1
            self.say_goodbye(error.reason)
        except TimeoutError:
            self.say_goodbye(Reason.KEEP_ALIVE_TIMEOUT)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.end_session()

    async def _turn(self) -> bool:
        """Read and answer one packet; False after a DISCONNECT."""
        async with asyncio.timeout(self._silence_seconds):
            going_on = self._answer(*await self._read())
            await self._writer.drain()
        return going_on

    async def _read(self) -> tuple[Kind, int, bytes]:
        first = (await self._reader.readexactly(1))[0]
        length = 0
        for place in range(4):
            byte = (await self._reader.readexactly(1))[0]
            length |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                break
        else:
            raise Malformed("a remaining length of more than four bytes")
        if first < 0x10:
            raise Malformed("packet type 0")
        kind, flags = Kind(first >> 4), first & 0x0F
        if kind is not Kind.PUBLISH and flags != _FLAGS.get(kind, 0):
            raise Malformed(f"flags {flags} on {kind.name}")
        if length > self._broker.packet_bytes_max:
            raise Malformed(f"a packet of {length} bytes", Reason.PACKET_TOO_LARGE)
        return kind, flags, await self._reader.readexactly(length)

    def _welcome(self, content: bytes) -> bool:
        """CONNECT: answer it; False if it was refused."""
        try:
            connect = packets.read_connect(content)
            self._version = connect.version
            if not connect.client_id and not connect.clean and connect.version == V311:
                raise Malformed("a lasting session without a client identifier", Reason.CLIENT_ID_NOT_VALID)
            session, present, assigned = self._broker.admit(connect, self)
        except Malformed as error:
            code = error.reason if self._version == V5 else _V311_REFUSALS.get(error.reason)
            if code is not None:
                self._writer.write(packets.write_connack(self._version, False, code, {}))
            return False
        self.session, self._will = session, connect.will
        if connect.keep_alive_seconds:
            self._silence_seconds = 1.5 * connect.keep_alive_seconds
        self.room = min(connect.number(Property.RECEIVE_MAXIMUM, _ROOM), _ROOM)
        self._packet_bytes_max = connect.number(Property.MAXIMUM_PACKET_SIZE, 0) or None
        self._writer.write(packets.write_connack(self._version, present, 0, self._terms(assigned)))
        session.resend()
        self._broker.deliver(session, [])
        return True

    def _terms(self, assigned: str | None) -> Properties:
        terms: dict[Property, int | str] = {
            Property.MAXIMUM_PACKET_SIZE: self._broker.packet_bytes_max,
            Property.SHARED_SUBSCRIPTION_AVAILABLE: 0,
        }
        if assigned is not None:
            terms[Property.ASSIGNED_CLIENT_IDENTIFIER] = assigned
        return terms

    def _answer(self, kind: Kind, flags: int, content: bytes) -> bool:
        session, version = self.session, self._version
        if session is None:  # another connection has taken the session over
            return False
        match kind:
            case Kind.PUBLISH:
                return self._published(packets.read_publish(version, flags, content, session.client_id), session)
            case Kind.PUBACK:
                session.acknowledged(packets.read_reply(version, content)[0])
                self._broker.deliver(session, [])
            case Kind.PUBREL:
                identifier, _ = packets.read_reply(version, content)
                known = identifier in session.half_received
                session.half_received.discard(identifier)
                reason = Reason.SUCCESS if known else Reason.PACKET_IDENTIFIER_NOT_FOUND
                self._writer.write(packets.write_reply(version, Kind.PUBCOMP, identifier, reason))
            case Kind.SUBSCRIBE:
                identifier, wanted = packets.read_subscribe(version, content)
                granted, retained = self._broker.subscribe(session, wanted)
                codes = granted if version == V5 else [min(code, Reason.UNSPECIFIED_ERROR) for code in granted]
                self._writer.write(packets.write_suback(version, Kind.SUBACK, identifier, codes))
                self._broker.deliver(session, retained)
            case Kind.UNSUBSCRIBE:
                identifier, filters = packets.read_unsubscribe(version, content)
                gone = [session.subscriptions.pop(filter_, None) for filter_ in filters]
                codes = [Reason.SUCCESS if one else Reason.NO_SUBSCRIPTION_EXISTED for one in gone]
                self._writer.write(packets.write_suback(version, Kind.UNSUBACK, identifier, codes))
            case Kind.PINGREQ:
                self._writer.write(packets.write_pingresp())
            case Kind.DISCONNECT:
                self._disconnected(content, session)
                return False
            case _:
                raise Malformed(f"{kind.name} from a client", Reason.PROTOCOL_ERROR)
        return True

    def _published(self, publish: packets.Publish, session: Session) -> bool:
        message, identifier = publish.message, publish.identifier
        if message.qos == 2 and identifier in session.half_received:
            self._writer.write(packets.write_reply(self._version, Kind.PUBREC, identifier))
            return True
        code = self._broker.take(message)
        if code == NO_ANSWER:
            return True
        if code is None or (code >= Reason.UNSPECIFIED_ERROR and (self._version == V311 or message.qos == 0)):
            self.abort()
            return False
        if message.qos == 2 and code < Reason.UNSPECIFIED_ERROR:
            session.half_received.add(identifier)
        if message.qos:
            kind = Kind.PUBACK if message.qos == 1 else Kind.PUBREC
            self._writer.write(packets.write_reply(self._version, kind, identifier, code))
        return True

    def _disconnected(self, content: bytes, session: Session) -> None:
        reason, properties = packets.read_disconnect(self._version, content)
        if reason != Reason.DISCONNECT_WITH_WILL:
            self._will = None
        expiry = properties.get(Property.SESSION_EXPIRY)
        if isinstance(expiry, int):
            if expiry and not session.expiry_seconds:
                raise Malformed("a session expiry that CONNECT had not asked for", Reason.PROTOCOL_ERROR)
            session.expiry_seconds = expiry

    # Writing.

    def send(self, message: Message, identifier: int, *, duplicate: bool) -> bool:
        """One message to this client; False if one of QoS 0 was dropped because the client is slow."""
        packet = packets.write_publish(self._version, message, identifier, duplicate)
        if self._packet_bytes_max is not None and len(packet) > self._packet_bytes_max:
            if identifier and self.session is not None:  # as if it had been delivered (MQTT 5, 3.1.2.11.4)
                self.session.acknowledged(identifier)
            return False
        if not identifier and self._writer.transport.get_write_buffer_size() > self._broker.buffer_bytes_max:
            return False
        self._writer.write(packet)
        return True

    # Ending.

    def say_goodbye(self, reason: Reason) -> None:
        """Close, with a DISCONNECT if the client understands one."""
        if self._version == V5 and self.session is not None and not self._writer.is_closing():
            self._writer.write(packets.write_disconnect(reason))
        self._writer.close()

    def abort(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()

    def vanish(self) -> None:
        """Reset the connection of a broker that is no more: nobody sends the will."""
        self._will = None
        self.abort()

    def end_session(self) -> None:
        """Leave the session to itself, or to the connection that takes it over."""
        session, self.session = self.session, None
        if session is not None:
            will, self._will = self._will, None
            self._broker.depart(session, will)
