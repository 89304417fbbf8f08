"""The Sparkplug actuator: one NCMD or DCMD a command; its outcome is what the edge node then says of that metric."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NoReturn, TypeVar

from plantgate.sdk import Command, Context, Deadline, OutcomeUnknown, Rejected, Sample, Severity, Unavailable, severity
from plantgate.sdk.plausible import doubt_clock
from plantgate_connectors.sparkplug.command_link import CommandLink, Kept, command_link
from plantgate_connectors.sparkplug.commanded import By, Commanded
from plantgate_connectors.sparkplug.far_node import FarNode, Life, Offer, Word
from plantgate_connectors.sparkplug.payloads import payload
from plantgate_connectors.sparkplug.setpoint import Sent, encoded
from plantgate_connectors.sparkplug.settings import SparkplugSettings
from plantgate_connectors.sparkplug.stamps import NS, stamp
from plantgate_connectors.sparkplug.wire import blob, varint

T = TypeVar("T")
_READ_SECONDS: Final = 1.0
"""How long the broker may take to read a command, deadline or not: it has left by then, and is on the way."""
_SILENT_SECONDS: Final = 1.0
"""After so long without a word on a command its edge node is asked: one whose value did not change may say nothing."""


class SparkplugActuator:
    """Writes one command after the other. A session whose outcome is unknown is of no use any more."""

    def __init__(self, settings: SparkplugSettings, context: Context, link: CommandLink) -> None:
        assert settings.commands is not None, "`unwritable` has asked for it"
        self._commands, self._context, self._link = settings.commands, context, link
        self._metrics = {metric.tag: metric for metric in settings.commands.metrics}
        self._commanded: dict[str, int] = {}
        """By tag, how many messages of its edge node had been heard when the last command left."""
        self._turn = asyncio.Lock()
        self._under_way = False

    async def lost(self) -> NoReturn:
        """Until the broker is gone, or the session of no more use. Raises `Unavailable`.

        An edge node that dies ends no session: when it is born again, the next command works.
        """
        await self._link.ended()

    async def write(self, command: Command) -> None:
        """Send it once. Returns when the edge node has reported the value after that, in its data or in a birth.

        Raises as `plantgate.sdk.Actuator.write`. `Rejected` is what the birth certificate rules out: Sparkplug has no
        way for an edge node to refuse a command. Waits for the report for `answer_seconds`, also beyond the deadline.
        """
        metric = self._known(command.tag)
        node = self._link.nodes[metric.edge]
        async with self._in_turn(command.deadline):
            offer = await self._offered(metric, node, command.deadline)
            sent = encoded(metric.tag, command.value, offer.datatype, offer.kind)
            alias = offer.alias if metric.by is By.ALIAS else None
            content = self._content(metric, alias, offer, sent)
            try:
                self._link.send(metric.edge, metric.device, content, command)
                self._under_way = True
                self._commanded[metric.tag] = node.number
                await self._confirmed(metric, node, alias, sent, command.deadline)
            except Unavailable:
                raise
            except BaseException:
                self._link.drop("a command was sent whose outcome is not known")
                raise
            finally:
                self._under_way = False

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        """What the edge node says of the metric, in a message that comes after this call.

        Or in one not older than `fresh_seconds`, if it came after our last command to it, the edge node is alive, and
        no message of it is missing since: by the specification it would have said what has changed. Otherwise it is
        asked for its birth. Raises `Unavailable`, `Rejected`.
        """
        metric = self._known(tag)
        node = self._link.nodes[metric.edge]
        began = node.number
        try:
            async with deadline.timeout():
                self._still_on(tag)
                await self._link.caught_up(metric.edge)
                word = self._fresh(metric, node, began)
                if word is None:
                    word = await self._asked(metric, node, lambda: _since(metric, node, began))
        except TimeoutError:
            raise Unavailable(f"{tag}: edge node {node.name} has said nothing of it in time") from None
        times, qualities = [word.sample.time], [word.sample.quality]
        doubt_clock(times, qualities, self._context.clock.now())
        return Sample(tag, word.sample.value, qualities[0], times[0])

    def close(self) -> None:
        """Before the goodbye: what of a command has not left this machine stays here."""
        if self._under_way:
            self._link.drop("the session was closed while a command was under way")

    # Before anything is sent.

    def _known(self, tag: str) -> Commanded:
        if (metric := self._metrics.get(tag)) is None:
            raise Rejected(f"{tag} is not among the `commands` of connection {self._context.connection}")
        return metric

    @asynccontextmanager
    async def _in_turn(self, deadline: Deadline) -> AsyncIterator[None]:
        try:
            async with deadline.timeout():
                await self._turn.acquire()
        except TimeoutError:
            raise Unavailable("an earlier command is still under way; nothing was sent") from None
        try:
            yield
        finally:
            self._turn.release()

    async def _offered(self, metric: Commanded, node: FarNode, deadline: Deadline) -> Offer:
        """As which it is announced, once its birth is known. Raises `Unavailable`, `Rejected`."""

        def alive() -> bool | None:
            return node.life(metric.device) is Life.ALIVE or None

        try:
            async with deadline.timeout():
                await self._asked(metric, node, alive)
        except TimeoutError:
            why = node.life(metric.device).value
            raise Unavailable(f"{metric.tag}: edge node {node.name}: {why}; nothing was sent") from None
        offer = node.offer(metric)
        if offer is None:
            raise Rejected(f"{metric.tag}: {_home(metric)} announces no metric {metric.metric!r}; nothing was sent")
        if offer.read_only:
            raise Rejected(f"{metric.tag}: {_home(metric)} announces it as read-only; nothing was sent")
        return offer

    def _content(self, metric: Commanded, alias: int | None, offer: Offer, sent: Sent) -> bytes:
        """By alias alone where there is one, as the specification wants it (payloads-alias-data-cmd-requirement)."""
        milliseconds = self._context.clock.now() // NS
        called = blob(b"\x0a", metric.metric.encode()) if alias is None else b"\x10" + varint(alias)
        datatype = b"\x20" + varint(offer.datatype) if self._commands.datatypes else b""
        written = blob(b"\x12", called + b"\x18" + stamp(milliseconds) + datatype + sent.field)
        return payload(milliseconds, (written,), None)

    # What comes of it.

    async def _confirmed(
        self, metric: Commanded, node: FarNode, alias: int | None, sent: Sent, deadline: Deadline
    ) -> None:
        """Until the edge node reports the value. Raises `OutcomeUnknown`."""
        loop, since, tag = asyncio.get_running_loop(), node.number, metric.tag
        until = loop.time() + self._commands.answer_seconds

        def reported() -> Word | None:
            word = _since(metric, node, since)
            offer = node.offer(metric)
            if offer is not None and alias is not None and offer.alias != alias:
                raise OutcomeUnknown(
                    f"{tag}: sent, and edge node {node.name} has given its alias {alias} to another metric meanwhile:"
                    " look at both"
                )
            good = word is not None and severity(word.sample.quality) is Severity.GOOD
            return word if good and word is not None and sent.shown_by(word.sample.value, metric.tolerance) else None

        late = loop.call_at(deadline.at, self._link.keep_here)
        try:
            async with asyncio.timeout(max(deadline.left(), _READ_SECONDS)):
                await self._link.caught_up(metric.edge)
        except TimeoutError:
            raise OutcomeUnknown(f"{tag}: sent, and the broker has not read it in time; look at the machine") from None
        except Unavailable as error:
            raise OutcomeUnknown(f"{tag}: sent, and then {error}; look at the machine") from error
        finally:
            late.cancel()
        try:
            async with asyncio.timeout_at(until):
                await self._asked(metric, node, reported, first=loop.time() + _SILENT_SECONDS)
        except TimeoutError:
            raise OutcomeUnknown(
                f"{tag}: sent, and edge node {node.name} did not report {sent.value!r}; look at the machine"
            ) from None
        except (Unavailable, Rejected) as error:
            raise OutcomeUnknown(f"{tag}: sent, and then {error}; look at the machine") from error

    def _fresh(self, metric: Commanded, node: FarNode, began: int) -> Word | None:
        word = node.word(metric)
        if word is None:
            return None
        young = word.at >= asyncio.get_running_loop().time() - self._commands.fresh_seconds
        after_command = word.number > self._commanded.get(metric.tag, -1)
        return word if word.number > began or (young and after_command) else None

    async def _asked(self, metric: Commanded, node: FarNode, found: Callable[[], T | None], *, first: float = 0.0) -> T:
        """Until it is found, asking for a birth whenever that may be asked, not before `first` on the loop's clock.

        Raises `Unavailable` where nobody is there to be asked.
        """
        loop = asyncio.get_running_loop()
        while True:
            self._still_on(metric.tag)
            if (it := found()) is not None:
                return it
            if node.life(metric.device) is Life.DEAD:
                raise Unavailable(f"{metric.tag}: {_home(metric)} is dead, by its own word or the broker's")
            due = max(self._link.may_ask_at(metric.edge), first)
            if due <= loop.time():
                self._link.ask(metric.edge)
                due = self._link.may_ask_at(metric.edge)
            try:
                async with asyncio.timeout_at(due):
                    await node.news()
            except TimeoutError:
                continue

    def _still_on(self, tag: str) -> None:
        if self._link.over:
            raise Unavailable(f"{tag}: {self._link.over}; open another session")


def _since(metric: Commanded, node: FarNode, number: int) -> Word | None:
    """Its last word, if that came after so many messages. Raises `Rejected` for one that is announced no longer."""
    if node.life(metric.device) is Life.ALIVE and node.offer(metric) is None:
        raise Rejected(f"{metric.tag}: {_home(metric)} announces no metric {metric.metric!r}")
    word = node.word(metric)
    return word if word is not None and word.number > number else None


def _home(metric: Commanded) -> str:
    device = "" if metric.device is None else f"device {metric.device!r} of "
    return f"{device}edge node {metric.group}/{metric.edge_node}"


@asynccontextmanager
async def sparkplug_actuator(
    settings: SparkplugSettings, context: Context, client_id: str, kept: Kept
) -> AsyncIterator[SparkplugActuator]:
    """A session. Entering connects and asks the edge nodes for their births; it does not wait for them."""
    async with command_link(settings, context, client_id, kept) as link:
        actuator = SparkplugActuator(settings, context, link)
        try:
            yield actuator
        finally:
            actuator.close()
