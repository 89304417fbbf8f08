"""HTTP: take readings that are posted, ask URLs for them, post batches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from plantgate.sdk import Connector, Context, Sink, Source, Stability, Survey
from plantgate.sdk.plugin import Settings
from plantgate_connectors.http.client import calling
from plantgate_connectors.http.doubts import doubts
from plantgate_connectors.http.intake import Guard
from plantgate_connectors.http.poller import HttpPoller
from plantgate_connectors.http.receiver import HttpReceiver
from plantgate_connectors.http.server import listening
from plantgate_connectors.http.settings import HttpSettings, Receive
from plantgate_connectors.http.sink import HttpSink
from plantgate_connectors.http.survey import survey

__all__ = ["Http", "HttpSettings"]


class Http(Connector[HttpSettings]):
    """Takes posted readings or polls URLs, and posts batches."""

    Settings: ClassVar[type[Settings]] = HttpSettings
    stability: ClassVar[Stability] = Stability.BETA

    def __init__(self, settings: HttpSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._guard = None if settings.receive is None else Guard(settings.receive, context)
        self._poller = HttpPoller(settings.poll, context) if settings.poll else None

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Source]:
        """A session that reads: it listens, or polls."""
        if self._poller is not None:
            async with self._poller.polling() as poller:
                yield poller
        else:
            assert self.settings.receive is not None, "`objection` asks for one of them"
            async with self._receiving(self.settings.receive) as receiver:
                yield receiver

    @asynccontextmanager
    async def sink(self) -> AsyncIterator[Sink]:
        """A session that posts."""
        send = self.settings.send
        assert send is not None, "`objection` asks for it"
        async with calling(send, self.context.connection) as session:
            sink = HttpSink(send, self.context, session)
            await sink.begin()
            yield sink

    async def survey(self) -> Survey:
        """Whether secrets and certificates can be read, and what the URLs answer."""
        return await survey(self.settings, self.context)

    @classmethod
    def objection(cls, settings: HttpSettings, *, source: bool) -> str:
        """Each role needs its part."""
        if source and settings.receive is None and not settings.poll:
            return "has neither `receive` nor `poll`, so no flow can read from it"
        if not source and settings.send is None:
            return "has no `send`, so no flow can write to it"
        return ""

    @classmethod
    def remarks(cls, settings: HttpSettings) -> tuple[str, ...]:
        """Doors that stand open, secrets in the clear."""
        return doubts(settings)

    @asynccontextmanager
    async def _receiving(self, receive: Receive) -> AsyncIterator[HttpReceiver]:
        guard, standing = self._guard, self.context.standing
        assert guard is not None
        guard.access.begin(asyncio.get_running_loop().time())
        receiver = HttpReceiver(self.context, guard.room)
        async with listening(receive, self.context, guard, receiver) as (host, port):
            standing.desired = standing.monitored = len(receive.paths)
            standing.up(listening=f"{host}:{port}")
            yield receiver
