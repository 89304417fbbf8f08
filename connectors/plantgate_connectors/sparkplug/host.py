"""A host application: follows every edge node it hears, and says that it is there (specification 3.0, 5.12)."""

import asyncio
from typing import Final

from plantgate.sdk import Batch, Context, Cursor, Gap, Unavailable
from plantgate_connectors.mqtt import reasons
from plantgate_connectors.mqtt.client import Will
from plantgate_connectors.mqtt.memory import Memory
from plantgate_connectors.mqtt.publisher import REFUSED, Publisher, on_the_wire, varint
from plantgate_connectors.mqtt.session import Session
from plantgate_connectors.mqtt.settings import Version
from plantgate_connectors.mqtt.source import Malformed, read_publish
from plantgate_connectors.sparkplug.announced import Names
from plantgate_connectors.sparkplug.inbox import Inbox
from plantgate_connectors.sparkplug.payloads import rebirth_request
from plantgate_connectors.sparkplug.presence import Presence
from plantgate_connectors.sparkplug.rebirths import Key, Rebirths
from plantgate_connectors.sparkplug.remote import Letter, Remote
from plantgate_connectors.sparkplug.samples import Samples
from plantgate_connectors.sparkplug.settings import SparkplugSettings
from plantgate_connectors.sparkplug.stamps import NS
from plantgate_connectors.sparkplug.topics import NAMESPACE, Address, Kind, read_address

EDGE_NODES_MOST: Final = 5_000
"""Followed at a time; messages of others are counted and passed over."""
_OVERHEAD_BYTES: Final = 200
"""What a small message takes in memory beside its bytes."""
_RETAINED: Final = 0x01
_LAST_ID: Final = b"\xff\xff"
"""A packet identifier that no message of a `Publisher` has."""
_COMPLAINTS_MOST: Final = 100
"""Of the log; beyond, only the counters go on."""
_AWAY: Final = "the host application was away"


class Followed:
    """What a host application knows beyond one session."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.remotes: dict[Key, Remote] = {}
        self.complained: set[str] = set()


class HostApplication:
    """One session: a source, and the receiver of that session."""

    def __init__(self, settings: SparkplugSettings, context: Context, followed: Followed) -> None:
        assert settings.subscribe is not None, "`objection` has asked for it"
        self._settings = settings
        self._subscribe = settings.subscribe
        self._context = context
        self._standing = context.standing
        self._followed = followed
        self._five = settings.version is Version.V5
        self._properties = b"\0" if self._five else b""
        groups = settings.subscribe.groups or ("+",)
        self._filters = tuple(f"{NAMESPACE}/{group}/#" for group in groups)
        self._inbox = Inbox(context, settings.buffer_bytes_max)
        self._session: Session | None = None
        self._publisher: Publisher | None = None
        self._lost: Unavailable | None = None
        self._timers = asyncio.Event()
        self.rebirths = Rebirths(self._ask, seconds=settings.subscribe.rebirth_seconds)
        self.names = Names(settings.subscribe.tag, settings.subscribe.node_tag)
        self.samples = Samples(self._undecodable)
        now = context.clock.now() // NS
        self._presence = Presence(settings.subscribe.host_id, now, lambda topic, content: self._say(topic, content))

    @property
    def will(self) -> Will:
        """That we are gone."""
        return self._presence.will

    # The session's ends.

    async def begin(self, session: Session) -> None:
        """Subscribe, then say that we are there. What was said while we were away nobody kept: a gap."""
        self._session = session
        self._inbox.attach(session)
        self._publisher = Publisher(session.wire, window=16)
        if session.granted.qos_max < 1 or not session.granted.retains:
            raise Unavailable(
                f"{session.who} has no QoS 1 or no retained messages, and Sparkplug's STATE needs both",
                retry_after_seconds=30.0,
            )
        self._remember()
        wanted = [(self._presence.topic, 1), *((name, 1) for name in self._filters)]
        codes = await session.subscribe(wanted, retained=False)
        for (name, _), code in zip(wanted, codes, strict=False):
            if code >= REFUSED:
                words = reasons.sentence(code, client_id="", username=self._settings.username) if self._five else "?"
                raise Unavailable(f"{session.who} refused our subscription {name!r}: {words}", retry_after_seconds=30.0)
        await self._say_that_we_are_there(session)
        self._followed.memory.subscribed({name: 1 for name, _ in wanted[1:]})
        self._standing.desired = self._standing.monitored = len(self._filters)
        self._standing.up(host_id=self._subscribe.host_id)
        for remote in self._followed.remotes.values():
            remote.want_birth()

    def _remember(self) -> None:
        """Of edge nodes known before, nothing holds any more; and a gap, written down before anything else happens."""
        memory, now = self._followed.memory, self._context.clock.now()
        tags: list[str] = []
        for remote in self._followed.remotes.values():
            tags += remote.gone()
            self._follow(remote.group, remote.edge_node, remote)
        if memory.filters is not None:
            memory.missed(_AWAY, now)
        gap = memory.gap(self._filters)
        if gap is not None:
            self._inbox.gap(Gap(tuple(tags) or gap.tags, gap.since, gap.until, gap.cause, gap.lost), tells=True)

    async def _say_that_we_are_there(self, session: Session) -> None:
        assert self._publisher is not None, "begin() has made it"
        seconds = self._settings.connect_seconds
        for code in await self._presence.say(session, self._publisher, self._properties, seconds):
            words = reasons.sentence(code, client_id="", username=self._settings.username)
            self._complain(f"STATE {code}", "STATE refused: edge nodes that wait for us will not publish", reason=words)

    def farewell(self) -> None:
        """That we leave, before we do."""
        if self._session is not None:
            self._presence.take_back(self._context.clock.now() // NS)

    def _say(self, topic: str, content: bytes) -> None:
        """Retained, QoS 1, its confirmation not waited for."""
        self._publish_now(0x33, on_the_wire(topic) + _LAST_ID + self._properties + content)

    def _publish_now(self, first: int, body: bytes) -> None:
        assert self._session is not None, "begin() comes first"
        self._session.wire.write(bytes((first,)) + varint(len(body)) + body)

    async def attend(self, _session: Session) -> None:
        """For as long as the session lasts: requests for births, and the end of waiting for what is missing."""
        async with asyncio.TaskGroup() as group:
            if self._subscribe.request_rebirth:
                group.create_task(self.rebirths.run())
            group.create_task(self._wait_for_missing())

    async def _wait_for_missing(self) -> None:
        remotes = self._followed.remotes
        while True:
            self._timers.clear()
            waits = [remote.waits_until for remote in remotes.values() if remote.waits_until is not None]
            try:
                async with asyncio.timeout_at(min(waits, default=None)):
                    await self._timers.wait()
            except TimeoutError:
                for remote in remotes.values():
                    if remote.waits_until is not None and remote.waits_until <= self.now():
                        remote.give_up_waiting()

    # The doors.

    async def read(self) -> Batch:
        """Everything that has come, up to a batch; waits for the first of it."""
        while True:
            batch = await self._inbox.read()
            if self._lost is not None:
                raise self._lost
            if batch is not None:
                return batch

    async def ack(self, cursor: Cursor) -> None:
        """Safe; of our own absence we need not tell again."""
        if self._inbox.ack(cursor):
            self._followed.memory.told()
        # What came later and does not become safe in this session is lost with it: a gap must begin before it.
        self._followed.memory.heard = self._inbox.safe or self._followed.memory.heard

    # What the session tells.

    def publish(self, first: int, body: bytes) -> None:
        """A message. Whatever is in it, it becomes samples or is counted."""
        try:
            topic, mid, content = read_publish(first, body, version_5=self._five)
        except Malformed as error:
            if self._session is not None:
                self._session.end(f"it sent {error}", abort=True)
            return
        if topic == self._presence.topic.encode():
            self._inbox.take(mid, 0)
            self._presence.heard(content, lambda: self.count("states_said_again"))
            return
        address = read_address(topic)
        if address is None:
            self._inbox.take(mid, _OVERHEAD_BYTES)
            if not topic.startswith(b"spBv1.0/STATE/"):
                self.count("unroutable")
            return
        if address.kind in (Kind.NCMD, Kind.DCMD):
            self._inbox.take(mid, 0)
            return
        if first & _RETAINED:
            self._inbox.take(mid, _OVERHEAD_BYTES)
            self.count("retained_ignored")
            self._complain(
                f"retained {address.edge_node}",
                "a retained message of an edge node, against the specification: passed over",
                topic=address.topic(),
            )
            return
        remote = self._remote(address)
        if remote is None:
            self._inbox.take(mid, _OVERHEAD_BYTES)
            return
        remote.hear(Letter(address.kind, address.device, content, mid))
        self._standing.live = len(self.samples.last)
        if remote.waits_until is not None:
            self._timers.set()

    def _remote(self, address: Address) -> Remote | None:
        key = (address.group, address.edge_node)
        remote = self._followed.remotes.get(key)
        if remote is None:
            if len(self._followed.remotes) >= EDGE_NODES_MOST:
                self.count("edge_nodes_too_many")
                self._complain("too many", "more edge nodes than can be followed", most=EDGE_NODES_MOST)
                return None
            remote = self._followed.remotes[key] = self._follow(address.group, address.edge_node, None)
        return remote

    def _follow(self, group: str, edge_node: str, remote: Remote | None) -> Remote:
        """An edge node tells its story to this session from now on."""
        key = (group, edge_node)

        def want() -> None:
            self.rebirths.want(key)

        def answered() -> None:
            self.rebirths.answered(key)

        if remote is None:
            return Remote(group, edge_node, self, want, answered, self._subscribe.reorder_seconds)
        remote.outlet, remote.want_birth, remote.born_again = self, want, answered
        return remote

    def oversized(self, topic: bytes, mid: int, size: int) -> None:
        """A message went by unread."""
        self._inbox.take(mid, _OVERHEAD_BYTES)
        self.count("oversized")
        address = read_address(topic)
        if address is not None:
            tags = (f"{address.group}/{address.edge_node}/#",)
            self._inbox.gap(Gap(tags, None, None, "message too large", lost=None))
            self._complain(
                f"oversized {address.edge_node}",
                "a message over message_bytes_max, passed over unread",
                topic=address.topic(),
                bytes=size,
            )

    def puback(self, mid: int, reason: int) -> None:
        """Our STATE is known."""
        if self._publisher is not None:
            self._publisher.confirmed(mid, reason)

    def lost(self, error: Unavailable) -> None:
        """The session is over."""
        self._lost = error
        if self._publisher is not None:
            self._publisher.fail(error)
        self._inbox.wake()

    # What an edge node's story needs (`remote.Outlet`).

    def take(self, mid: int, size: int) -> Batch:
        """The batch for the samples of a message."""
        return self._inbox.take(mid, size + _OVERHEAD_BYTES if size else 0)

    def gap(self, gap: Gap) -> None:
        """Something is missing."""
        self._inbox.gap(gap)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self._standing.count(name, by)

    def now(self) -> float:
        """The loop's clock."""
        return asyncio.get_running_loop().time()

    def _ask(self, key: Key) -> None:
        group, edge_node = key
        self.count("rebirths_requested")
        topic = Address(group, Kind.NCMD, edge_node, None).topic()
        request = rebirth_request(self._context.clock.now() // NS)
        self._publish_now(0x30, on_the_wire(topic) + self._properties + request)

    def _undecodable(self, tag: str, reason: str) -> None:
        self.count("undecodable")
        self._complain(tag, "a value that cannot be read, passed on without value", tag=tag, reason=reason)

    def _complain(self, about: str, event: str, **facts: object) -> None:
        complained = self._followed.complained
        if about not in complained and len(complained) < _COMPLAINTS_MOST:
            complained.add(about)
            self._context.log.warning(event, **facts)
