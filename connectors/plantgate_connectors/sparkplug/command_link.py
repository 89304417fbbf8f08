"""The session in which commands go out: hears the edge nodes that are commanded, asks them for births, sends.

It says no STATE, neither by itself nor by a will: whether this host application is there is its source's to say.
"""

import asyncio
import math
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, NoReturn

from plantgate.sdk import Command, Context, OutcomeUnknown, Unavailable
from plantgate_connectors.leaving import under_way
from plantgate_connectors.mqtt import reasons
from plantgate_connectors.mqtt.client import Role
from plantgate_connectors.mqtt.post import expiry_seconds, properties
from plantgate_connectors.mqtt.publisher import REFUSED, on_the_wire, varint
from plantgate_connectors.mqtt.session import Flaps, Session
from plantgate_connectors.mqtt.settings import Version
from plantgate_connectors.mqtt.source import Malformed, read_publish
from plantgate_connectors.mqtt.transport import PUBACK, PUBLISH
from plantgate_connectors.sparkplug.far_node import FarNode
from plantgate_connectors.sparkplug.payloads import rebirth_request
from plantgate_connectors.sparkplug.rebirths import Key
from plantgate_connectors.sparkplug.samples import Samples
from plantgate_connectors.sparkplug.settings import SparkplugSettings
from plantgate_connectors.sparkplug.stamps import NS
from plantgate_connectors.sparkplug.topics import Address, Kind, read_address

_HEARD: Final = (Kind.NBIRTH, Kind.NDEATH, Kind.NDATA, Kind.DBIRTH, Kind.DDEATH, Kind.DDATA)
_RETAINED: Final = 0x01
_U16: Final = struct.Struct("!H")


@dataclass(slots=True)
class Kept:
    """What outlives a session: otherwise each new one would ask for births again."""

    asked_at: dict[Key, float] = field(default_factory=dict)
    """When each edge node was last asked, on the loop's clock."""
    complained: set[str] = field(default_factory=set)
    flaps: Flaps = field(default_factory=Flaps)


class CommandLink:
    """One session, and its receiver. Once it is over, or an outcome unknown, `over` says why, and nothing is sent."""

    def __init__(self, settings: SparkplugSettings, context: Context, kept: Kept) -> None:
        assert settings.commands is not None, "`unwritable` has asked for it"
        self._settings, self._commands, self._context, self._kept = settings, settings.commands, context, kept
        self._five = settings.version is Version.V5
        self._session: Session | None = None
        samples = Samples(self._undecodable)
        self.nodes: dict[Key, FarNode] = {}
        for metric in settings.commands.metrics:
            node = self.nodes.setdefault(metric.edge, FarNode("/".join(metric.edge), samples, {}))
            node.wanted[metric.where] = metric
        self.over = ""

    # The session's ends.

    async def begin(self, session: Session) -> None:
        """Listen to every edge node, and ask it for its birth. Raises `Unavailable` where the broker refuses."""
        self._session = session
        for key, node in self.nodes.items():
            await self.caught_up(key)
            if self.may_ask_at(key) <= self._now():
                self.ask(key)
            node.wake()

    async def keep(self) -> None:
        """Watch the broker until cancelled, or until the session is over."""
        try:
            await self._open().watch()
        except Unavailable as error:
            self._is_over(str(error))

    async def ended(self) -> NoReturn:
        """Until the session is over. Raises what ended it."""
        await self._open().ended()

    def drop(self, why: str) -> None:
        """It is of no more use, and what of it has not left this machine stays here."""
        session = self._open()
        session.wire.drop()
        session.end(why, abort=True)
        self._is_over(why)

    def keep_here(self) -> None:
        """The deadline of a command has passed that the broker is not known to have: nothing of it leaves any more."""
        transport = self._open().wire.transport
        if transport is not None and under_way(transport):
            self.drop("a command had not reached the broker by its deadline")

    def _is_over(self, why: str) -> None:
        self.over = self.over or why
        for node in self.nodes.values():
            node.wake()

    # Asking.

    async def caught_up(self, key: Key) -> None:
        """When all has been heard that the broker had from this edge node at the time of the call.

        It is asked for the same subscriptions again, and answers in turn, after what it had for us.
        """
        session = self._open()
        filters = [(_topic(key, kind, "+" if kind.value[0] == "D" else None), 1) for kind in _HEARD]
        codes = await session.subscribe(filters, retained=False)
        for (name, _), code in zip(filters, codes, strict=False):
            if code >= REFUSED:
                words = reasons.sentence(code, client_id="", username=self._settings.username) if self._five else "?"
                raise Unavailable(f"{session.who} refused our subscription {name!r}: {words}", retry_after_seconds=30.0)

    def may_ask_at(self, key: Key) -> float:
        """From when on it may be asked for its birth again, on the loop's clock."""
        return self._kept.asked_at.get(key, -math.inf) + self._commands.fresh_seconds

    def ask(self, key: Key) -> None:
        """For a whole new birth."""
        self._kept.asked_at[key] = self._now()
        self._context.standing.count("rebirths_requested")
        request = rebirth_request(self._context.clock.now() // NS)
        self._open().wire.write(_publish(_topic(key, Kind.NCMD, None), b"\0" if self._five else b"", request))

    # Sending.

    def send(self, key: Key, device: str | None, payload: bytes, command: Command) -> None:
        """The command, once. Raises `Unavailable` when not a byte of it was sent, and `OutcomeUnknown`.

        Where the broker speaks MQTT 5, it is told to forget the command when its deadline has passed.
        """
        expires = properties(expires_seconds=expiry_seconds(command.deadline.left())) if self._five else b""
        packet = _publish(_topic(key, Kind.NCMD if device is None else Kind.DCMD, device), expires, payload)
        session = self._open()
        if objection := self.over or command.objection():
            raise Unavailable(f"{command.tag}: {objection}; nothing was sent")
        if not self._takes():
            raise Unavailable(f"{command.tag}: {session.who} does not take what is sent; nothing more was sent")
        if len(packet) > session.granted.packet_bytes_max:
            raise Unavailable(f"{command.tag}: {session.who} takes no message of {len(packet)} bytes; nothing was sent")
        session.wire.write(packet)  # no await between the look at the deadline and this
        if not self._takes():
            self.drop("the broker did not take a command as a whole")
            raise OutcomeUnknown(f"{command.tag}: sent in part, perhaps; look at the machine")

    # What the session tells.

    def publish(self, first: int, body: bytes) -> None:
        """A message of an edge node."""
        try:
            topic, mid, content = read_publish(first, body, version_5=self._five)
        except Malformed as error:
            self._open().end(f"it sent {error}", abort=True)
            return
        self._acknowledge(mid)
        address = read_address(topic)
        node = None if address is None else self.nodes.get((address.group, address.edge_node))
        if address is None or node is None:
            self._context.standing.count("unexpected_messages")
        elif first & _RETAINED:
            self._context.standing.count("retained_ignored")
        elif address.kind in _HEARD:
            node.hear(address.kind, address.device, content)

    def oversized(self, topic: bytes, mid: int, size: int) -> None:
        """A message went by unread: nothing of that edge node is believed until its next birth."""
        self._acknowledge(mid)
        self._context.standing.count("oversized")
        address = read_address(topic)
        node = None if address is None else self.nodes.get((address.group, address.edge_node))
        if node is not None:
            node.doubt()
            self._complain(f"oversized {node.name}", "a message over message_bytes_max, passed over unread", bytes=size)

    def puback(self, mid: int, reason: int) -> None:
        """None is due: commands are of QoS 0."""

    def lost(self, error: Unavailable) -> None:
        """Whoever waits for an edge node waits no longer."""
        self._is_over(str(error))

    def _acknowledge(self, mid: int) -> None:
        if mid:
            self._open().wire.write(bytes((PUBACK, 2)) + _U16.pack(mid))

    def _undecodable(self, tag: str, reason: str) -> None:
        self._context.standing.count("undecodable")
        self._complain(tag, "a value that cannot be read", tag=tag, reason=reason)

    def _complain(self, about: str, event: str, **facts: object) -> None:
        if about not in self._kept.complained:
            self._kept.complained.add(about)
            self._context.log.warning(event, **facts)

    def _takes(self) -> bool:
        """Whether what is written leaves at once."""
        return self._open().wire.clear

    def _open(self) -> Session:
        assert self._session is not None, "begin() comes first"
        return self._session

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _topic(key: Key, kind: Kind, device: str | None) -> str:
    group, edge_node = key
    return Address(group, kind, edge_node, device).topic()


def _publish(topic: str, written: bytes, payload: bytes) -> bytes:
    """A PUBLISH of QoS 0, not retained, with these properties."""
    body = on_the_wire(topic) + written + payload
    return bytes((PUBLISH,)) + varint(len(body)) + body


@asynccontextmanager
async def command_link(
    settings: SparkplugSettings, context: Context, client_id: str, kept: Kept
) -> AsyncIterator[CommandLink]:
    """Connect; entering raises `Unavailable`. When the session dies, the body goes on, and `over` says why.

    The broker ends an earlier session of this client id before it hears this one: what had not reached it by then
    never will.
    """
    link = CommandLink(settings, context, kept)
    role = Role(client_id, clean=True, packet_bytes_max=settings.message_bytes_max)
    session = Session(settings.as_mqtt(), context, role, link, kept.flaps)
    keeping: asyncio.Task[None] | None = None
    try:
        await session.connect()
        await link.begin(session)
        keeping = asyncio.create_task(link.keep(), name=f"{context.connection}: session for commands")
        yield link
    finally:
        if keeping is not None:
            keeping.cancel()
            await asyncio.wait([keeping])
        await session.close()
