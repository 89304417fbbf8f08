"""A device that obeys commands, at the broker twin: a TWIN, written by us, on a line that never fails.

It hears ``TAG/set``, reports on ``TAG``, and when asked at ``TAG/get``.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from plantgate.sdk import Setpoint
from plantgate.testing.mqtt_broker import Broker
from plantgate.testing.mqtt_fields import NO_ANSWER, Property, Reason
from plantgate.testing.mqtt_packets import Message, Subscription
from plantgate.testing.mqtt_sessions import NEVER, Session
from tests.connectors.mqtt.given import HOST


class Device:
    """Does what it is told, counts it, and says so; its session outlives its connection."""

    room = 100

    def __init__(self, broker: Broker, tags: Sequence[str]) -> None:
        self.broker, self.tags = broker, tags
        self.written: dict[str, list[Setpoint]] = {tag: [] for tag in tags}
        self.done_at: list[tuple[Setpoint, float]] = []
        """Every write, and when it was done, on the loop's clock."""
        self.has: dict[str, Setpoint] = dict.fromkeys(tags, 0.0)
        self.heard: list[Message] = []
        """Commands as they came, done or not."""
        self.takes = True
        """Whether it does what it is told; else it refuses."""
        self.reports = True
        """Whether it says what it has, when something changed and when it is asked."""
        self.answer: Callable[[Message, bool], None] = self.answers
        wanted = [f"{tag}/{verb}" for tag in tags for verb in ("set", "get")]
        self.session = Session("device", NEVER, {topic: Subscription(topic, 1) for topic in wanted}, receiver=self)
        broker._memory.sessions["device"] = self.session

    def leave(self) -> None:
        """It is away; the broker keeps what comes for it with QoS 1."""
        self.session.receiver = None

    def come_back(self) -> None:
        """It takes what the broker has kept, and is there again."""
        self.session.receiver = self
        self.broker.deliver(self.session, [])

    def send(self, message: Message, identifier: int, *, duplicate: bool) -> bool:
        """The broker gives it a message."""
        self.session.acknowledged(identifier)
        tag, _, verb = message.topic.rpartition("/")
        if verb == "get":
            self.report(tag)
        else:
            self.do(message)
        return True

    def do(self, message: Message) -> None:
        """A command."""
        tag = message.topic.rpartition("/")[0]
        self.heard.append(message)
        if self.takes:
            told = json.loads(message.payload)
            self.has[tag] = told["value"] if isinstance(told, dict) else told
            self.written[tag].append(self.has[tag])
            self.done_at.append((self.has[tag], asyncio.get_running_loop().time()))
            self.report(tag)
        self.answer(message, self.takes)

    def report(self, tag: str) -> None:
        """What it has."""
        if self.reports:
            self.broker.publish(tag, json.dumps(self.has[tag]).encode())

    def answers(self, message: Message, done: bool) -> None:
        """As it was asked to: by MQTT 5, or by the number in the command."""
        to, mark = message.properties.get(Property.RESPONSE_TOPIC), message.properties.get(Property.CORRELATION_DATA)
        if isinstance(to, str) and isinstance(mark, bytes):
            self.say(to, {"ok": done, "reason": "" if done else "too hot"}, mark)
        elif b'"id":' in message.payload:
            self.say(
                "answers", {"id": json.loads(message.payload)["id"], "ok": done, "reason": None if done else "too hot"}
            )

    def say(self, topic: str, words: Any, mark: bytes | None = None, *, kept: bool = False) -> None:
        """An answer, with Correlation Data if there is any. `kept`: as the broker gives a message that it had kept."""
        properties = {} if mark is None else {Property.CORRELATION_DATA: mark}
        message = Message(topic, json.dumps(words).encode(), 0, kept, properties)
        if not kept:
            self.broker.route(message)
            return
        for session in self.broker._memory.sessions.values():
            if session.receiver is not None and session is not self.session:
                session.receiver.send(message, 0, duplicate=False)

    def is_never_heard_of_again(self) -> None:
        """From now on the broker gives it commands and says nothing of them to anybody."""
        self.answer = lambda message, done: None

        def quiet(message: Message) -> int:
            if not message.topic.endswith("/set"):
                return Reason.SUCCESS
            self.do(message)
            return NO_ANSWER

        self.broker.answer = quiet


@asynccontextmanager
async def device(*tags: str) -> AsyncIterator[Device]:
    """A broker twin on the simulated network, and the device at it."""
    async with Broker() as broker:
        await broker.listen(HOST, 1883)
        yield Device(broker, tags)


def commands(*tags: str, answer: dict[str, Any] | None = None, **written: Any) -> list[dict[str, Any]]:
    """As in a plant file, for this device. With `answer.id` the value stands beside a number."""
    found = []
    for tag in tags:
        state = {"topic": tag, "payload": "json", "ask": {"topic": f"{tag}/get"}}
        command: dict[str, Any] = {"tag": tag, "topic": f"{tag}/set", "state": state, **written}
        if answer is not None:
            command["answer"] = {"value": "/ok", "accepted": [True], "refused": [False], "error": "/reason", **answer}
            if "id" in answer:
                command |= {"payload": "json", "value": "/value"}
        found.append(command)
    return found
