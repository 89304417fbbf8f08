"""The MQTT actuator: one message a command, and the device's own reports for what it has."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import NoReturn

from plantgate.sdk import Command, Context, Deadline, OutcomeUnknown, Rejected, Sample, Unavailable
from plantgate_connectors.mqtt import reasons
from plantgate_connectors.mqtt.answers import Said, Waiting
from plantgate_connectors.mqtt.client import Role
from plantgate_connectors.mqtt.commanded import payload_of
from plantgate_connectors.mqtt.commands import Command as Writes
from plantgate_connectors.mqtt.commands import State
from plantgate_connectors.mqtt.hearing import Hearing
from plantgate_connectors.mqtt.looking import Looking
from plantgate_connectors.mqtt.post import Post, Word, expiry_seconds, judged, properties
from plantgate_connectors.mqtt.publisher import REFUSED, Message, on_the_wire
from plantgate_connectors.mqtt.session import Flaps, Session
from plantgate_connectors.mqtt.settings import MqttSettings, Version
from plantgate_connectors.mqtt.topics import Template


class MqttActuator:
    """Writes and reads single tags. After an unknown outcome it is of no more use."""

    def __init__(
        self, settings: MqttSettings, context: Context, client_id: str, session: Session, hearing: Hearing
    ) -> None:
        self._settings, self._context, self._session, self._hearing = settings, context, session, hearing
        self._five = settings.version is Version.V5
        self._commands = {command.tag: command for command in settings.commands}
        names = {"connection": context.connection, "client_id": client_id}
        self._answer_topics = {
            command.tag: Template(command.answer.topic).fill(names)
            for command in settings.commands
            if command.answer is not None
        }
        self._post = Post(session, hearing.words)
        self._words = partial(reasons.sentence, client_id=client_id, username=settings.username)
        self._looking = Looking(settings, context, hearing.states, self._post, self._words)
        self._deaf: dict[str, str] = {}
        """Topics that the broker does not let us hear, and why."""
        self._left: dict[str, float] = {}
        """When the last command of a tag left, on the loop's clock."""
        self._under_way = 0
        """Commands that were sent and have no outcome yet."""
        self._spoilt = ""
        """Why the session is of no more use, where the connection is not to blame."""

    async def begin(self) -> None:
        """Listen to what the devices say. Raises `Unavailable`."""
        if self._post.qos_max < max((command.qos for command in self._settings.commands), default=0):
            who = self._session.who
            raise Unavailable(f"{who} takes QoS 0 only; write qos: 0 in each command", retry_after_seconds=30.0)
        states = [command.state.topic for command in self._settings.commands if command.state is not None]
        topics = sorted({*states, *self._answer_topics.values()})
        # What the broker has kept is asked for only to say, should a device be silent, that it is no answer.
        codes = await self._session.subscribe([(topic, 1) for topic in topics], retained=True) if topics else []
        if len(codes) != len(topics):
            raise Unavailable(f"{self._session.who} answered SUBSCRIBE with another number of reason codes")
        for topic, code in zip(topics, codes, strict=True):
            if code >= REFUSED:
                why = self._words(code) if self._five else "it gives no reason"
                self._deaf[topic] = f"the broker does not let us listen at {topic!r}: {why}"
                self._context.log.warning("commands are not possible", topic=topic, reason=self._deaf[topic])

    async def lost(self) -> NoReturn:
        """Until the broker is gone, or the session of no more use. Raises `Unavailable`."""
        await self._session.ended()

    async def write(self, command: Command) -> None:
        """Send it once. Returns when the device has answered that it took it, or without `answer` the broker has it.

        Raises as `plantgate.sdk.Actuator.write`; waits for `confirm_seconds`, also beyond the deadline. What has not
        reached the broker's machine by the deadline is not sent any more.
        """
        ours, state = self._known(command.tag)
        number = f"{command.id}/{secrets.token_hex(4)}"
        message = self._message(ours, command, number)
        if not self._post.fits(message):
            raise Rejected(f"{ours.tag}: a message of {message.size()} bytes, which is more than the broker takes")
        deaf = self._deaf.get(self._answer_topics.get(ours.tag, ""), "")
        if objection := self._spoilt or self._hearing.over or deaf or self._post.objection() or command.objection():
            raise Unavailable(f"{ours.tag}: {objection}; nothing was sent")
        expected = None
        if ours.answer is not None:
            expected = self._hearing.answers.expect(ours.answer, self._answer_topics[ours.tag], number)
        word = self._post.send(message, ours.qos)  # nothing was awaited since the objections
        self._left[ours.tag] = asyncio.get_running_loop().time()
        late = asyncio.get_running_loop().call_at(command.deadline.at, self._keep_here, ours, word)
        self._under_way += 1
        try:
            await self._outcome(ours, state, word, expected)
        except (OutcomeUnknown, asyncio.CancelledError) as error:
            self._drop(str(error) or f"a command of {ours.tag} was given up after it was sent")
            raise
        finally:
            late.cancel()
            self._under_way -= 1
            if expected is not None:
                self._hearing.answers.forget(expected)

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        """What the device says it has: its next report, after it was asked for one where it can be.

        Raises `Unavailable` (no report in time; what the broker keeps is none), `Rejected`.
        """
        _, state = self._known(tag)
        if why := self._spoilt or self._hearing.over or self._deaf.get(state.topic, ""):
            raise Unavailable(f"{tag}: {why}; the device was not asked")
        return await self._looking.look(tag, state, self._left.get(tag, 0.0), deadline)

    def _known(self, tag: str) -> tuple[Writes, State]:
        command = self._commands.get(tag)
        if command is None or command.state is None:
            lacking = "is not among" if command is None else "has no `state` among"
            raise Rejected(f"{tag} {lacking} the `commands` of connection {self._context.connection}")
        return command, command.state

    def _message(self, ours: Writes, command: Command, number: str) -> Message:
        left = command.deadline.left()
        until_ms = self._context.clock.now() // 1_000_000 + int(left * 1000)
        payload, written = payload_of(ours, command.value, number, until_ms), b""
        if self._five:
            by_property = ours.answer is not None and ours.answer.id is None
            written = properties(
                expires_seconds=expiry_seconds(left),
                number=number,
                answer_topic=self._answer_topics[ours.tag] if by_property else "",
            )
        return Message(on_the_wire(ours.topic), payload, written)

    # What becomes of it.

    async def _outcome(
        self, ours: Writes, state: State, word: "asyncio.Future[Word]", expected: Waiting | None
    ) -> None:
        """Raises what became of it, if it was not confirmed."""
        try:
            async with asyncio.timeout(ours.confirm_seconds):
                if expected is not None:
                    await self._answered(ours, word, expected)
                elif ours.qos:
                    self._heed(ours, await word)
                else:
                    await self._read_by_the_broker(ours, state)
        except TimeoutError:
            self._doubt(ours, _unconfirmed(ours, expected))

    async def _answered(self, ours: Writes, word: "asyncio.Future[Word]", expected: Waiting) -> None:
        """The device's word counts more than the broker's; a broker that did not take it is believed at once."""
        await asyncio.wait((word, expected.said), return_when=asyncio.FIRST_COMPLETED)
        if not expected.said.done():
            self._heed(ours, word.result())
        said: Said | Unavailable = await expected.said
        if isinstance(said, Unavailable):
            self._doubt(ours, str(said))
        if not said.accepted:
            raise Rejected(f"{ours.tag}: the device refused it: {said.words}")

    async def _read_by_the_broker(self, ours: Writes, state: State) -> None:
        """At QoS 0 nothing confirms a message. A question behind it that is answered shows that it has arrived."""
        try:
            await self._session.subscribe([(state.topic, 1)], retained=False)
        except Unavailable as error:
            self._doubt(ours, str(error))

    def _heed(self, ours: Writes, word: Word) -> None:
        if isinstance(word, Unavailable):
            self._doubt(ours, str(word))
        verdict = judged(word, ours.topic, who=self._session.who, five=self._five, words=self._words(word))
        if verdict is not None:
            raise type(verdict)(f"{ours.tag}: {verdict}")

    def _doubt(self, ours: Writes, why: str) -> NoReturn:
        raise OutcomeUnknown(f"{ours.tag}: sent, and then {why}; look at the machine")

    def _keep_here(self, ours: Writes, word: "asyncio.Future[Word]") -> None:
        """The deadline has passed, and what became of it is not known: nothing of it leaves any more."""
        confirmed = ours.qos and word.done()
        if not confirmed and self._post.keep_here():
            self._drop(f"a command of {ours.tag} had not reached the broker by its deadline")

    def close(self) -> None:
        """Before the goodbye: what of a command has not reached the broker's machine stays here."""
        if self._under_way and self._post.keep_here():
            self._drop("the session was closed before a command had reached the broker")

    def _drop(self, why: str) -> None:
        """The session is of no more use, and what of it has not left this machine stays here."""
        self._spoilt = self._spoilt or why
        self._session.wire.drop()
        self._session.end(why)


def _unconfirmed(ours: Writes, expected: Waiting | None) -> str:
    words = f"nothing confirmed it within {ours.confirm_seconds:g} s"
    if expected is not None and expected.neither:
        words += f" (the device said {expected.neither!r}, which is neither yes nor no)"
    return words


@asynccontextmanager
async def mqtt_actuator(
    settings: MqttSettings, context: Context, client_id: str, flaps: Flaps
) -> AsyncIterator[MqttActuator]:
    """A session of which the broker remembers nothing. Entering connects, or raises `Unavailable`.

    When the connection is lost the block goes on: its calls say what became of them.
    """
    hearing = Hearing(settings, context.standing)
    role = Role(client_id, clean=True, packet_bytes_max=settings.message_bytes_max)
    session = Session(settings, context, role, hearing, flaps)
    hearing.attach(session)
    try:
        await session.connect()
        actuator = MqttActuator(settings, context, client_id, session, hearing)
        await actuator.begin()
        watching = asyncio.create_task(_watch(session), name=f"{context.connection}: session for writing")
        try:
            yield actuator
        finally:
            actuator.close()
            watching.cancel()
            await asyncio.wait([watching])
    finally:
        await session.close()


async def _watch(session: Session) -> None:
    with suppress(Unavailable):  # whoever listens is told of it
        await session.watch()
