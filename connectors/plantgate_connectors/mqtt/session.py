"""One connection to a broker, from CONNECT to DISCONNECT. The next one is a new object with a new client inside."""

import asyncio
import ssl
from typing import Final, NoReturn, Protocol

from paho.mqtt.client import Client, ConnectFlags
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from plantgate.sdk import Context, Unavailable
from plantgate_connectors.mqtt import reasons
from plantgate_connectors.mqtt.client import Granted, Role, Speaker, connect_properties, granted
from plantgate_connectors.mqtt.settings import MqttSettings, Version
from plantgate_connectors.mqtt.transport import CONNACK, PINGREQ, PahoSocket, Wire
from plantgate_connectors.tls import client_context

DISCONNECT: Final = 0xE0
FLAPPING_SECONDS: Final = 60.0
"""A session that a broker closes sooner than this, without a word, is suspicious: two gateways with one client id push
each other out as often as the longer of their pauses."""
FLAPPING_SESSIONS: Final = 3
_GOODBYE_SECONDS: Final = 1.0
"""How long a broker may take to hear that we are leaving."""
_WITH_WILL: Final = 0x04
"""Reason code of a DISCONNECT that asks for the will to be published (MQTT 5, 3.14.2.1)."""


class Receiver(Protocol):
    """Who takes what comes in."""

    def publish(self, first: int, body: bytes) -> None:
        """A PUBLISH: flags, and everything after the length."""

    def oversized(self, topic: bytes, mid: int, size: int) -> None:
        """A PUBLISH over the limit went by; `mid` is 0 at QoS 0."""

    def puback(self, mid: int, reason: int) -> None:
        """A PUBACK."""

    def lost(self, error: Unavailable) -> None:
        """The session is over."""


class Flaps:
    """How often in a row a broker ended a session soon and without a word; outlives the sessions."""

    count = 0


class Session:
    """A conversation with a broker; the listener of its wire."""

    granted: Granted

    def __init__(self, settings: MqttSettings, context: Context, role: Role, receiver: Receiver, flaps: Flaps) -> None:
        self._settings = settings
        self._context = context
        self._role = role
        self._receiver = receiver
        self._flaps = flaps
        self._loop = asyncio.get_running_loop()
        self.wire = Wire(self, publish_bytes_max=role.packet_bytes_max)
        self._socket = PahoSocket(self.wire)
        self._paho = Speaker(role, settings.version, self._socket)
        self._paho.on_connect = self._on_connect
        self._paho.on_subscribe = self._on_answer
        self._paho.on_unsubscribe = self._on_answer
        self._welcome: asyncio.Future[None] = self._loop.create_future()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._session_present = False
        self._welcomed_at: float | None = None
        self._ended: Unavailable | None = None
        self._closing = False
        self._answers: dict[int, asyncio.Future[list[int]]] = {}
        self.paused = False
        """Whether what the broker sends is left unread."""

    @property
    def who(self) -> str:
        """The broker, for messages."""
        host, port = self._settings.address
        return f"{self._context.connection}: the broker at {host}:{port}"

    # Life.

    async def connect(self) -> None:
        """Name, TCP, TLS, CONNECT, CONNACK, all within one deadline."""
        host, port = self._settings.address
        try:
            async with asyncio.timeout(self._settings.connect_seconds):
                await self._dial(host, port)
                self._say_connect(host, port)
                await self._welcome
        except TimeoutError:
            raise Unavailable(f"{self.who} gave no answer within {self._settings.connect_seconds:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise Unavailable(f"{self.who} shows a certificate we do not trust: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise Unavailable(f"{self.who}: TLS failed: {error.reason or error}") from error
        except OSError as error:
            raise Unavailable(f"{self.who} cannot be reached: {error.strerror or error}") from error

    async def _dial(self, host: str, port: int) -> None:
        tls = self._settings.tls
        if tls is None:
            await self._loop.create_connection(lambda: self.wire, host, port)
        else:
            await self._loop.create_connection(
                lambda: self.wire,
                host,
                port,
                ssl=client_context(tls, self._context.connection, check_server_name=tls.check_server_name),
                server_hostname=host,
            )

    def _say_connect(self, host: str, port: int) -> None:
        settings, role, paho = self._settings, self._role, self._paho
        if settings.username is not None:
            paho.username_pw_set(settings.username, settings.password.reveal() if settings.password else None)
        if role.will is not None:
            paho.will_set(role.will.topic, role.will.payload, qos=1, retain=role.will.retain)
        keep_alive = settings.keep_alive_seconds
        if settings.version is Version.V5:
            properties = connect_properties(settings, role)
            paho.connect(host, port, keepalive=keep_alive, clean_start=role.clean, properties=properties)
        else:
            paho.connect(host, port, keepalive=keep_alive)

    async def watch(self) -> None:
        """Ask the broker again and again whether it is there; returns only by raising what ended the session."""
        every = self.granted.keep_alive_seconds
        asked = False
        while not self._over.done():
            if self.paused:
                self.wire.heard_at = self._loop.time()  # its answers wait unread: nothing can be said of it
            silent = self._loop.time() - self.wire.heard_at
            if asked and silent >= 2 * every:
                self.end(f"it has said nothing for {silent:.0f} s", abort=True)
                break
            self.wire.write(PINGREQ)
            asked = True
            await asyncio.wait((self._over,), timeout=every / 2)
        await self.ended()

    async def ended(self) -> NoReturn:
        """Until the session is over. Raises what ended it."""
        await asyncio.wait((self._over,))
        assert self._ended is not None, "a session that is over says why"
        raise self._ended

    async def close(self) -> None:
        """Say goodbye, and let the broker hear it. A will is published all the same: we are leaving.

        Unless it says otherwise.
        """
        self._closing = True
        if self._ended is None:
            self.resume()
            if self._role.will is None or not self._role.will.at_goodbye:
                self._paho.disconnect()
            elif self._settings.version is Version.V5:
                self._paho.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=_WITH_WILL))
            else:
                self.wire.close()  # no such word in MQTT 3.1.1: there the will is published when we leave without one
            # The broker closes. Were we to, with something of its unread, TCP would tell it "reset" and our last
            # acknowledgements could be lost.
            await asyncio.wait((self._over,), timeout=_GOODBYE_SECONDS)
        self.wire.close()
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self.wire.wait_closed()
        except TimeoutError:
            self.wire.abort()

    def end(self, reason: str, *, abort: bool = False) -> None:
        """The session is over because of us: the broker broke a rule, or a deadline has passed.

        `abort`: nothing more leaves, a command least of all.
        """
        self._finish(Unavailable(f"{self.who}: {reason}"))
        if abort:
            self.wire.drop()

    def _finish(self, error: Unavailable) -> None:
        if self._ended is not None:
            return
        self._ended = error
        if not self._welcome.done():
            self._welcome.set_exception(error)
            self._welcome.exception()  # heard of here, should nobody wait for it any more
        if not self._over.done():
            self._over.set_result(None)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()
        self._receiver.lost(error)

    # Reading, as far as backpressure is concerned.

    def pause(self) -> None:
        """Read no further."""
        if not self.paused:
            self.paused = True
            self.wire.pause()

    def resume(self) -> None:
        """Read on."""
        if self.paused:
            self.paused = False
            self.wire.heard_at = self._loop.time()
            self.wire.resume()

    # Subscribing.

    async def subscribe(self, filters: list[tuple[str, int]], *, retained: bool) -> list[int]:
        """Subscribe to (filter, QoS) pairs; returns a reason code for each: 0 or 1 is the QoS granted, >= 0x80 a no.

        `retained`: whether the broker shall send what it has kept (MQTT 3.1.1 brokers always do).
        """
        if self._settings.version is Version.V5:
            handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if retained else SubscribeOptions.RETAIN_DO_NOT_SEND
            _, mid = self._paho.subscribe(
                [(name, SubscribeOptions(qos=qos, retainHandling=handling)) for name, qos in filters]
            )
        else:
            _, mid = self._paho.subscribe([(name, qos) for name, qos in filters])
        return await self._answer(mid, "SUBSCRIBE")

    async def unsubscribe(self, filters: list[str]) -> None:
        """Forget these; a filter the broker did not know is no error."""
        _, mid = self._paho.unsubscribe(filters)
        await self._answer(mid, "UNSUBSCRIBE")

    async def _answer(self, mid: int | None, to: str) -> list[int]:
        if self._ended is not None:
            raise self._ended
        assert mid is not None, f"{to} was sent on an open connection"
        answer: asyncio.Future[list[int]] = self._loop.create_future()
        self._answers[mid] = answer
        try:
            while not answer.done():
                await asyncio.wait((answer,), timeout=self._settings.connect_seconds)
                if not answer.done() and not self.paused:
                    raise TimeoutError
            return answer.result()
        except TimeoutError:
            self.end(f"it did not answer {to} within {self._settings.connect_seconds:g} s", abort=True)
            assert self._ended is not None, "just ended"
            raise self._ended from None
        finally:
            self._answers.pop(mid, None)

    # What the wire tells (see `transport.Listener`).

    def publish(self, first: int, body: bytes) -> None:
        """A message; only after the welcome, and no more when we are leaving."""
        if self._welcomed_at is not None and not self._closing:
            self._receiver.publish(first, body)

    def oversized(self, first: int, topic: bytes, mid: int, size: int) -> None:
        """A message that was too large went by."""
        if self._welcomed_at is not None and not self._closing:
            self._receiver.oversized(topic, mid, size)

    def puback(self, mid: int, reason: int) -> None:
        """One of ours is safe, or refused."""
        if self._welcomed_at is not None:
            self._receiver.puback(mid, reason)

    def pong(self) -> None:
        """It is there: `Wire.heard_at` has noted it, as it notes everything."""

    def packet(self, whole: bytes) -> None:
        """Everything rare is read by paho, but for the two packets that end a session."""
        kind = whole[0] & 0xF0
        if kind == CONNACK and len(whole) >= 4 and whole[3]:
            self._finish(
                reasons.refused(
                    whole[3],
                    version_5=self._settings.version is Version.V5,
                    who=self.who,
                    client_id=self._role.client_id,
                    username=self._settings.username,
                )
            )
            self.wire.close()
        elif kind == DISCONNECT:
            code = whole[2] if len(whole) > 2 else 0
            if code == reasons.TAKEN_OVER:
                self._context.standing.count("client_id_taken_over")
            self._finish(
                reasons.dismissed(code, who=self.who, client_id=self._role.client_id, username=self._settings.username)
            )
            self.wire.drop()
        else:
            self._let_paho_read(whole)

    def lost(self, reason: str, *, closed: bool) -> None:
        """The connection is gone."""
        if self._closing:
            self._finish(Unavailable(f"{self.who}: closed"))
            return
        if self._welcomed_at is not None and self._ended is None:
            brief = self._loop.time() - self._welcomed_at < FLAPPING_SECONDS
            self._flaps.count = self._flaps.count + 1 if closed and brief else 0
        if self._flaps.count >= FLAPPING_SESSIONS:
            reason = (
                f"it let us in and soon closed the connection without a word, {self._flaps.count} times in a row: "
                f"perhaps another client has our client id {self._role.client_id!r}"
            )
            self._finish(Unavailable(f"{self.who}: {reason}", retry_after_seconds=10.0))
        else:
            self._finish(Unavailable(f"{self.who}: {reason}"))

    def _let_paho_read(self, whole: bytes) -> None:
        self._socket.feed(whole)
        kind = f"{whole[0]:#04x}"
        try:
            outcome = self._paho.loop_read()
            if self._paho.want_write():
                self._paho.loop_write()
        except Exception as error:  # noqa: BLE001  paho's readers raise whatever a malformed packet made them stumble on
            self.end(f"it sent a packet ({kind}) that is not MQTT ({type(error).__name__}: {error})", abort=True)
        else:
            if outcome is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                self.end(f"it sent a packet ({kind}) that is not MQTT ({outcome.name})", abort=True)

    # What paho tells.

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        flags: ConnectFlags,
        _reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self.granted = granted(self._settings, properties, session_present=flags.session_present)
        self._welcomed_at = self._loop.time()
        if not self._welcome.done():
            self._welcome.set_result(None)

    def _on_answer(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        codes: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result([code.value for code in codes])
