"""A device at an MQTT broker, made with paho-mqtt's own client and loop: hears commands, does them, and says so.

It hears ``NAME/set`` and ``NAME/get`` and reports on ``NAME``, in JSON. With MQTT 5 it answers where it is asked to.
"""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.peers.mosquitto import Mosquitto


@dataclass(frozen=True, slots=True)
class Heard:
    """A command as it came."""

    topic: str
    payload: Any
    retained: bool
    repeated: bool
    """Whether the broker says that it may have given it before (DUP)."""
    at: float
    """When it came, on the loop's clock."""
    properties: Mapping[str, Any]


class MqttDevice:
    """Runs in a thread of paho's. Its session at the broker outlives its connection."""

    def __init__(self, broker: Mosquitto, name: str, *, version_5: bool, qos: int) -> None:
        self.name = name
        self._qos = qos
        self.has: Any = {}
        """What it reports."""
        self.heard: list[Heard] = []
        """Commands, in order."""
        self.verdict: dict[str, Any] | None = {"status": "ok"}
        """What it answers; None: nothing."""
        self.late: list[Any] = []
        """Commands that came after the deadline which stands in them, at `until`; not done, and not among `heard`."""
        self.does = True
        """Whether it does what it is told."""
        self._broker, self._five, self._lock = broker, version_5, Lock()
        self._loop = asyncio.get_running_loop()
        self._listening = asyncio.Event()
        self._something = asyncio.Event()

    async def come(self) -> None:
        """Connect, with the session of before if the broker has it, and return when the subscriptions stand."""
        self._listening.clear()
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"device-{self.name}",
            protocol=MQTTv5 if self._five else MQTTv311,
            clean_session=None if self._five else False,
        )
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        if self._broker.login.user is not None:
            client.username_pw_set(self._broker.login.user, self._broker.login.password)
        if self._broker.tls is not None:
            client.tls_set(str(self._broker.tls.authority))
            client.tls_insecure_set(True)  # it dials an address, the certificate has a name
        if self._five:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho left it untyped
            properties.SessionExpiryInterval = 3600
            client.connect(self._broker.host, self._broker.port, clean_start=False, properties=properties)
        else:
            client.connect(self._broker.host, self._broker.port)
        client.loop_start()
        async with asyncio.timeout(10):
            await self._listening.wait()

    async def leave(self) -> None:
        """Say goodbye, and return when the broker has heard it; it keeps the session, and what comes for it."""
        before = self._goodbyes()
        await self.stop()
        async with asyncio.timeout(10):
            while self._goodbyes() == before:  # noqa: ASYNC110  a log file has no event
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """The same, connected or not, without waiting for the broker."""
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def _goodbyes(self) -> int:
        return self._broker.log.read_text(errors="replace").count(f"Client device-{self.name} disconnected")

    async def commanded(self, seconds: float = 10.0) -> None:
        """Until a command has come, if none has."""
        async with asyncio.timeout(seconds):
            await self._something.wait()

    def commands(self) -> list[Any]:
        """The payloads of all commands that came."""
        with self._lock:
            return [heard.payload for heard in self.heard]

    def _on_connect(self, client: Client, *_: Any) -> None:
        client.subscribe([(f"{self.name}/set", self._qos), (f"{self.name}/get", self._qos)])

    def _on_subscribe(self, *_: Any) -> None:
        self._loop.call_soon_threadsafe(self._listening.set)

    def _on_message(self, client: Client, _userdata: object, message: MQTTMessage) -> None:
        if message.topic.endswith("/get"):
            self._report(client)
            return
        told = json.loads(message.payload)
        if isinstance(told, dict) and told.pop("until", math.inf) < time.time() * 1000:
            self.late.append(told)
            return
        properties = {} if message.properties is None else dict(vars(message.properties))
        with self._lock:
            self.heard.append(
                Heard(message.topic, told, bool(message.retain), bool(message.dup), self._loop.time(), properties)
            )
        if self.does:
            self.has = {**self.has, **told} if isinstance(told, dict) else told
            self._report(client)
        if self.verdict is not None and (to := properties.get("ResponseTopic")) is not None:
            answer = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            answer.CorrelationData = properties["CorrelationData"]
            client.publish(to, json.dumps(self.verdict), qos=1, properties=answer)
        self._loop.call_soon_threadsafe(self._something.set)

    def _report(self, client: Client) -> None:
        client.publish(self.name, json.dumps(self.has), qos=1)


@asynccontextmanager
async def mqtt_device(
    broker: Mosquitto, name: str, has: Any, *, version_5: bool = True, qos: int = 1
) -> AsyncIterator[MqttDevice]:
    """A device that is there when the block begins; `qos` is what it subscribes with."""
    device = MqttDevice(broker, name, version_5=version_5, qos=qos)
    device.has = has
    await device.come()
    try:
        yield device
    finally:
        await device.stop()
