"""An edge node: says what it has, sends what comes, and says goodbye. The specification's section 5.4 is the plot."""

import asyncio
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from plantgate.sdk import Batch, Context, Rejected, Unavailable
from plantgate_connectors.mqtt import reasons
from plantgate_connectors.mqtt.client import Will
from plantgate_connectors.mqtt.publisher import REFUSED, Message, Publisher, on_the_wire, varint
from plantgate_connectors.mqtt.session import Session
from plantgate_connectors.mqtt.settings import Version
from plantgate_connectors.mqtt.source import Malformed, read_publish
from plantgate_connectors.mqtt.topics import Template
from plantgate_connectors.mqtt.transport import PUBACK
from plantgate_connectors.sparkplug.messages import Known, Messages
from plantgate_connectors.sparkplug.placing import REBIRTH
from plantgate_connectors.sparkplug.primary import Heard, PrimaryHost
from plantgate_connectors.sparkplug.reading import read_payload
from plantgate_connectors.sparkplug.settings import SparkplugSettings
from plantgate_connectors.sparkplug.topics import Kind
from plantgate_connectors.sparkplug.wire import Malformed as NotSparkplug

REBIRTH_SECONDS: Final = 1.0
"""Births that are asked for more often than this are sent together: a host must not be able to drown the broker."""
QUIET_SECONDS: Final = 1.0
"""After a replay, how long to wait for live values before the last ones are announced as such."""
_LAST_ID: Final = 65_535
_U16: Final = struct.Struct("!H")


class EdgeNode:
    """One session of it: a sink, and the receiver of that session."""

    def __init__(self, settings: SparkplugSettings, context: Context, client_id: str, known: Known, bdseq: int) -> None:
        assert settings.publish is not None, "`objection` has asked for it"
        self._settings = settings
        self._publish = settings.publish
        self._context = context
        self._client_id = client_id
        self._known = known
        self._catalog = known.catalog
        self._bdseq = bdseq
        self._five = settings.version is Version.V5
        self._messages = Messages(settings.publish, context.connection, known, bdseq, version_5=self._five)
        names = {"connection": context.connection, "client_id": client_id}
        confirm = on_the_wire(Template(settings.publish.confirm_topic).fill(names))
        self._confirm = Message(confirm, client_id.encode(), b"\0" if self._five else b"")
        self._commands = self._messages.address(Kind.NCMD).topic()
        primary = settings.publish.primary_host
        self._primary = None if primary is None else PrimaryHost(primary)
        self._session: Session | None = None
        self._publisher: Publisher | None = None
        self._born_at = 0
        """When this session's first birth was sent, ns UTC; 0 before."""
        self._birth_sent = -REBIRTH_SECONDS
        """When the last one was, on the loop's clock."""
        self._sending = asyncio.Lock()
        """Held by whoever sends: a batch is not cut in two by a birth."""
        self._asked = False
        """Whether a host wants a birth."""
        self._replayed_at: float | None = None
        """When old values were last sent, on the loop's clock, with no birth after them."""
        self._unannounced = False
        """Whether there are metrics, or types of them, that no birth of this session has."""
        self._wake = asyncio.Event()

    @property
    def will(self) -> Will:
        """NDEATH, which the broker sends when we vanish."""
        death = self._messages.death(self._context.clock.now())
        topic = self._messages.address(Kind.NDEATH).topic()
        return Will(topic, death, retain=False, at_goodbye=self._five)

    # The session's ends.

    async def begin(self, session: Session) -> None:
        """Listen for commands, wait for the primary host, be born."""
        if session.granted.qos_max < 1:
            raise Unavailable(f"{session.who} takes QoS 0 only: nothing could be confirmed", retry_after_seconds=30.0)
        self._session = session
        self._publisher = Publisher(session.wire, window=min(session.granted.receive_max, 256))
        self._messages.bytes_max = min(self._publish.message_bytes_max, session.granted.packet_bytes_max)
        self._messages.birth_bytes_max = session.granted.packet_bytes_max
        codes = await session.subscribe([(self._commands, 1)], retained=False)
        self._heed(self._commands, codes, "without it hosts cannot ask for births")
        if self._primary is not None:
            codes = await session.subscribe([(self._primary.topic, 1)], retained=True)
            self._heed(self._primary.topic, codes, "without it we cannot see whether the primary host is there")
            await self._primary.wait(self._settings.connect_seconds)
        async with self._sending:
            if self._primary is not None and not self._primary.online:
                raise Unavailable(
                    f"{session.who} is there, but the primary host {self._primary.host!r} is not online; "
                    "nothing is published until it is",
                    retry_after_seconds=1.0,
                )
            await self._birth()
            await self._confirmed()
        standing = self._context.standing
        standing.up(edge_node=f"{self._publish.group}/{self._publish.edge_node}", bdseq=self._bdseq)

    def _heed(self, topic: str, codes: list[int], consequence: str) -> None:
        if codes and codes[0] >= REFUSED:
            self._complain(topic, "subscription refused", reason=consequence)

    def farewell(self) -> None:
        """NDEATH, before we go in good order: the broker hears it before it hears DISCONNECT."""
        if self._session is None or not self._born_at:
            return
        topic = on_the_wire(self._messages.address(Kind.NDEATH).topic())
        death = self._messages.death(self._context.clock.now())
        body = topic + _U16.pack(_LAST_ID) + (b"\0" if self._five else b"") + death
        self._session.wire.write(b"\x32" + varint(len(body)) + body)

    async def attend(self, _session: Session) -> None:
        """For as long as the session lasts: births that are asked for, and the one after a replay."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            due = self._birth_due()
            if due is not None and due <= loop.time():
                async with self._sending:
                    if (due := self._birth_due()) is not None and due <= loop.time():
                        await self._birth()
                        await self._confirmed()
                continue
            try:
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _birth_due(self) -> float | None:
        if not self._born_at:
            return None
        if self._asked:
            return self._birth_sent + REBIRTH_SECONDS
        if self._replayed_at is not None:
            return self._replayed_at + QUIET_SECONDS
        return None

    # The door.

    async def accept(self, batch: Batch) -> None:
        """Send the samples, and return when the broker has taken them. What can be sent is, even if a part is then
        named in `Rejected`."""
        known = self._known
        async with self._sending:
            known.learned.trying(batch)
            try:
                impossible = await self._deliver(batch)
            except Unavailable:
                known.learned.ended()
                raise
        if impossible:
            more = f" (and {len(impossible) - 1} more like it)" if len(impossible) > 1 else ""
            raise Rejected(f"{impossible[0]}{more}")

    async def _deliver(self, batch: Batch) -> list[str]:
        historical = batch.received < self._born_at if batch.received else False
        live_again = not historical and self._replayed_at is not None
        self._unannounced |= self._catalog.learn(batch)
        if self._unannounced:
            self._catalog.keep()
        if self._unannounced or live_again:
            await self._birth()
        impossible: list[str] = []
        messages = self._messages.data(batch, impossible, self._context.clock.now(), historical=historical)
        await self._send(messages, qos=0)
        await self._confirmed()
        self._known.origin = batch.origin or self._known.origin
        if not impossible:
            self._catalog.taken(batch)
        if historical and batch.tags:
            self._replayed_at = asyncio.get_running_loop().time()
            self._wake.set()
        self._context.standing.live = len(self._catalog)
        return impossible

    async def _confirmed(self) -> None:
        """Until the broker has confirmed a message of ours that came after all the others, and so has taken those.

        A broker handles what one client sends in the order in which it came; Sparkplug wants its own messages at QoS 0,
        which nobody confirms.
        """
        assert self._session is not None, "begin() comes first"
        refused = await self._send([self._confirm], qos=1)
        for code, message in refused:
            error = reasons.unwanted(
                code,
                message.topic[2:].decode(),
                who=self._session.who,
                client_id=self._client_id,
                username=self._settings.username,
            )
            if isinstance(error, Unavailable):
                raise error
            raise Unavailable(
                f"{error}; after each batch goes a message there whose confirmation stands for the batch's: "
                "allow it in the broker's access list, or choose another publish.confirm_topic",
                retry_after_seconds=30.0,
            )

    async def _send(self, messages: Sequence[Message] | Iterator[Message], *, qos: int) -> list[tuple[int, Message]]:
        assert self._publisher is not None, "begin() comes first"
        assert self._session is not None, "begin() comes first"
        patience = self._publish.acknowledge_seconds
        try:
            return await self._publisher.send(messages, qos=qos, patience_seconds=patience)
        except TimeoutError:
            words = f"it has confirmed nothing for {patience:g} s (is its disk full?)"
            self._session.end(words, abort=True)
            raise Unavailable(f"{self._session.who}: {words}") from None

    # Births.

    async def _birth(self) -> None:
        """NBIRTH and every DBIRTH, with the last value of each metric that the broker has taken."""
        moment = self._context.clock.now()
        self._born_at = self._born_at or moment
        self._birth_sent = asyncio.get_running_loop().time()
        self._asked, self._replayed_at = False, None
        self._context.standing.count("births")
        await self._send(self._messages.births(moment), qos=0)
        self._unannounced = False

    # What the session tells.

    def publish(self, first: int, body: bytes) -> None:
        """A command, or the primary host's state."""
        assert self._session is not None, "begin() comes before subscribing"
        try:
            topic, mid, content = read_publish(first, body, version_5=self._five)
        except Malformed as error:
            self._session.end(f"it sent {error}", abort=True)
            return
        if mid:
            self._session.wire.write(bytes((PUBACK, 2)) + _U16.pack(mid))
        name = topic.decode(errors="replace")
        if self._primary is not None and name == self._primary.topic:
            self._heard_host(self._primary, content)
        elif name != self._commands:
            self._context.standing.count("unexpected_messages")
        elif first & 1:
            self._context.standing.count("retained_commands_ignored")
        else:
            self._command(content)

    def _command(self, content: bytes) -> None:
        """Of all commands only a rebirth is obeyed: nothing is written to a machine from here."""
        try:
            metrics = read_payload(content).metrics
        except NotSparkplug as error:
            self._context.standing.count("undecodable")
            self._complain("NCMD", "a command that cannot be read, passed over", reason=str(error))
            return
        for metric in metrics:
            if metric.name == REBIRTH and metric.value is True:
                self._context.standing.count("rebirths_asked")
                self._asked = True
                self._wake.set()
            else:
                self._context.standing.count("commands_refused")
                self._complain("command", "a command that is not obeyed: only rebirth is", metric=str(metric.name))

    def _heard_host(self, primary: PrimaryHost, content: bytes) -> None:
        match primary.heard(content):
            case Heard.UNREADABLE:
                self._complain("STATE", "the primary host's STATE is not as Sparkplug 3.0 has it, passed over")
            case Heard.OLD:
                self._context.standing.count("old_states_ignored")
            case Heard.OFFLINE if self._born_at and self._session is not None:
                self.farewell()
                self._born_at = 0
                self._session.end(f"the primary host {primary.host!r} has gone offline")

    def oversized(self, topic: bytes, mid: int, size: int) -> None:
        """No command is that large."""
        self._context.standing.count("unexpected_messages")
        if mid and self._session is not None:
            self._session.wire.write(bytes((PUBACK, 2)) + _U16.pack(mid))

    def puback(self, mid: int, reason: int) -> None:
        """The broker has taken all up to here."""
        if self._publisher is not None:
            self._publisher.confirmed(mid, reason)

    def lost(self, error: Unavailable) -> None:
        """Whoever waits for a confirmation waits no longer."""
        if self._publisher is not None:
            self._publisher.fail(error)

    def _complain(self, about: str, event: str, **facts: object) -> None:
        if about not in self._known.complained:
            self._known.complained.add(about)
            self._context.log.warning(event, **facts)
