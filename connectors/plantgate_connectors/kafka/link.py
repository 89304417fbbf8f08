"""The way to a cluster: which brokers there are, connections to them, and an answer in time or `Unavailable`.

aiokafka's own clients wait for a dead cluster for ever in several places (aiokafka#1101, #773, #1154); here every wait
for the network has a deadline, no task works behind our back, and closing waits for nobody.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.api import Request
from aiokafka.protocol.metadata import MetadataRequest

from plantgate.sdk import Unavailable
from plantgate_connectors.kafka import refusals
from plantgate_connectors.kafka.connection import Connection, dial
from plantgate_connectors.kafka.settings import KafkaSettings
from plantgate_connectors.tls import client_context

_PARTITIONS_MOST: Final = 100_000
"""More partitions than this in one topic is an answer nobody meant."""


class Unreached(Unavailable):
    """A broker did not answer: another may, or the same one later."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What the cluster says about a topic."""

    name: str
    leaders: dict[int, int]
    """Partition to broker; -1 where there is none at the moment."""
    replicas: dict[int, tuple[int, int]]
    """Partition to the number of its replicas, and how many of them are in step."""


class Link:
    """Connections to the brokers of one cluster. Make it with `link`."""

    def __init__(self, settings: KafkaSettings, connection: str, client_id: str) -> None:
        self.settings = settings
        self.who = connection
        """The connection's name, for messages."""
        self._client_id = client_id
        self._tls: ssl.SSLContext | None = None
        self.brokers: dict[int, tuple[str, int]] = {}
        self._open: dict[tuple[int, str], Connection] = {}
        self._first: Connection | None = None

    async def begin(self) -> None:
        """Reach one of the servers, and learn the brokers from it."""
        tls = self.settings.tls
        if tls is not None:
            self._tls = client_context(tls, self.who, check_server_name=tls.check_server_name)
        reasons = []
        for server in random.sample(self.settings.servers, len(self.settings.servers)):
            host, _, port = server.rpartition(":")
            try:
                self._first = await self._dial(host.strip("[]"), int(port))
                await self._learn(self._first, [])
            except Unavailable as error:
                reasons.append(error)
                continue
            return
        wait = max((error.retry_after_seconds or 0.0 for error in reasons), default=0.0)
        raise Unavailable("; ".join(map(str, reasons)), retry_after_seconds=wait or None)

    async def end(self) -> None:
        """Close everything, waiting for nobody."""
        for connection in (*self._open.values(), self._first):
            if connection is not None:
                await connection.end()
        self._open.clear()
        self._first = None

    # Questions.

    async def ask(self, broker: int, request: Request[Any], *, line: str = "", patience: float | None = None) -> Any:
        """The broker's answer. Raises `Unreached` when it does not come.

        Answers come in the order of the questions: `line` names a connection of its own, for those that take long.
        """
        connection = await self._to(broker, line)
        return await self._exchange(connection, request, patience)

    def some_broker(self) -> int:
        """Any of them."""
        return random.choice(sorted(self.brokers))  # noqa: S311  spreads load

    async def reach(self, broker: int) -> None:
        """Connect to a broker. Raises `Unavailable`."""
        await self._to(broker, "")

    async def topic(self, name: str) -> Topic:
        """Where a topic's partitions are. Asking makes no topic. Raises `Unavailable` if it is not there."""
        answer = await self._learn(self._any(), [name])
        with self.understood():
            for code, found, _, partitions in answer.topics:
                if found != name:
                    continue
                if code:
                    raise refusals.unwanted(code, self.who, f"topic {name}")
                if not 0 < len(partitions) <= _PARTITIONS_MOST:
                    raise Unavailable(f"{self.who}: topic {name} has {len(partitions)} partitions, it says")
                return Topic(
                    name,
                    {partition: leader for _, partition, leader, *_ in partitions},
                    {partition: (len(replicas), len(isr)) for _, partition, _, replicas, isr, *_ in partitions},
                )
        raise Unavailable(f"{self.who}: the cluster says nothing of topic {name}")

    @contextmanager
    def understood(self) -> Iterator[None]:
        """An answer that makes no sense is `Unavailable`."""
        try:
            yield
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, AssertionError) as error:
            raise Unavailable(f"{self.who}: a broker's answer makes no sense ({error!r})") from error

    # Connections.

    async def _learn(self, connection: Connection | None, topics: list[str]) -> Any:
        if connection is None or not connection.connected():
            if not self.brokers:
                raise Unreached(f"{self.who}: the broker ended the connection before it said who is in the cluster")
            connection = await self._to(self.some_broker(), "")
        answer = await self._exchange(connection, MetadataRequest(topics, allow_auto_topic_creation=False), None)
        with self.understood():
            brokers = {node: (host, port) for node, host, port, *_ in answer.brokers}
            if any(not host or not 1 <= port <= 65_535 for host, port in brokers.values()):
                raise ValueError(f"brokers at {brokers}")
        if brokers:
            self.brokers = brokers
        if not self.brokers:
            raise Unreached(f"{self.who}: the cluster has no broker that could be asked")
        return answer

    def _any(self) -> Connection | None:
        return next((connection for connection in self._open.values() if connection.connected()), self._first)

    async def _to(self, broker: int, line: str) -> Connection:
        known = self._open.get((broker, line))
        if known is not None:
            if known.connected():
                return known
            del self._open[broker, line]
            await known.end()
        if broker not in self.brokers:
            raise Unreached(f"{self.who}: broker {broker} is not in the cluster at the moment")
        connection = self._open[broker, line] = await self._dial(*self.brokers[broker])
        return connection

    async def _dial(self, host: str, port: int) -> Connection:
        where = f"{self.who}: {host}:{port}"
        try:
            return await dial(host, port, self.settings, self._client_id, self._tls)
        except TimeoutError:
            raise Unreached(f"{where} did not answer in {self.settings.connect_seconds:g} s") from None
        except (OSError, KafkaError) as error:
            raise refusals.unreached(error, where, self.settings) from error
        except (ValueError, TypeError, AssertionError, AttributeError, NotImplementedError) as error:
            # aiokafka asserts and looks things up on whatever answered; a port that speaks HTTP raises any of these.
            raise Unreached(f"{where} does not speak Kafka as we know it ({error})") from error

    async def _exchange(self, connection: Connection, request: Request[Any], patience: float | None) -> Any:
        where = f"{self.who}: {connection.host}:{connection.port}"
        seconds = self.settings.request_seconds if patience is None else patience
        try:
            async with asyncio.timeout(seconds):
                return await connection.send(request)
        except TimeoutError:
            await connection.end()  # the answer may still come, and would be taken for that to the next question
            raise Unreached(f"{where} did not answer in {seconds:g} s") from None
        except KafkaConnectionError as error:
            raise Unreached(f"{where} broke the connection{_because(error)}") from error
        except (OSError, KafkaError, ValueError, TypeError, NotImplementedError) as error:
            await connection.end()
            raise Unreached(f"{where} could not be asked ({error})") from error


@asynccontextmanager
async def link(settings: KafkaSettings, connection: str, client_id: str) -> AsyncIterator[Link]:
    """A link that is closed at the end of the block, whatever state the cluster is in."""
    made = Link(settings, connection, client_id)
    try:
        await made.begin()
        yield made
    finally:
        await made.end()


async def pause() -> None:
    """Between two questions about something that is changing: an election, a coordinator that is starting."""
    await asyncio.sleep(random.uniform(0.1, 0.3))  # noqa: S311  spreads load


def _because(error: BaseException) -> str:
    cause = error.__cause__
    if cause is None or isinstance(cause, asyncio.IncompleteReadError):
        return ""
    return f" ({cause})"
