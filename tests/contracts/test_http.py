"""The HTTP connector under the contracts that every connector is held to."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiohttp import web

from plantgate.sdk import Connector, Sample
from plantgate.testing.contract import SinkContract, SourceContract, lent
from plantgate_connectors.http import Http
from plantgate_connectors.http.batches import read_batch
from tests.connectors.http.given import (
    BEARER,
    HOST,
    PORT,
    dialling,  # noqa: F401  a fixture
    read_answer,
    receiver,
    request,
    server,
    settings,
)


@dataclass
class Machine:
    """A machine that posts its readings in order, each again until it is answered with success."""

    readings: deque[Sample] = field(default_factory=deque)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    number: int = 0

    async def post_all(self) -> None:
        while True:
            while not self.readings:
                self.changed.clear()
                await self.changed.wait()
            some = [self.readings[place] for place in range(min(50, len(self.readings)))]
            self.number += 1
            await self._until_taken(some)
            for _ in some:
                self.readings.popleft()
            self.changed.set()

    async def _until_taken(self, some: list[Sample]) -> None:
        while True:
            try:
                async with asyncio.timeout(15.0):
                    if await self._post(some) == 204:
                        return
            except (OSError, TimeoutError, EOFError, ValueError, LookupError, asyncio.LimitOverrunError):
                pass
            await asyncio.sleep(0.5)

    async def _post(self, some: list[Sample]) -> int:
        body = {
            "tags": [sample.tag for sample in some],
            "values": [sample.value for sample in some],
            "qualities": [sample.quality for sample in some],
            "times": [sample.time for sample in some],
        }
        reader, writer = await asyncio.open_connection(HOST, PORT)
        try:
            writer.write(request("/readings", json.dumps(body).encode(), BEARER, f'Idempotency-Key: "m-{self.number}"'))
            return (await read_answer(reader)).status
        finally:
            writer.close()


@asynccontextmanager
async def machine() -> AsyncIterator[Machine]:
    """A machine at work."""
    device = Machine()
    posting = asyncio.create_task(device.post_all())
    try:
        yield device
    finally:
        posting.cancel()
        await asyncio.wait([posting])


class TestHttpReceiver(SourceContract[Machine]):
    """A machine that posts batches."""

    host = HOST
    dials = False
    stalled_bytes_max = (
        1_000_000  # it comes again forty times; what is left of a connection is garbage, seldom collected
    )
    written: ClassVar[dict[str, Any]] = {}

    def device(self) -> Any:
        return machine()

    def connector(self, device: Machine, tmp_path: Path) -> Connector[Any]:
        return receiver(tmp_path, **self.written)

    async def produce(self, device: Machine, samples: Sequence[Sample]) -> None:
        for sample in samples:
            while len(device.readings) > 200:  # noqa: ASYNC110  its event says that something came
                await asyncio.sleep(0.1)
            device.readings.append(sample)
            device.changed.set()


@dataclass
class Page:
    """A server that shows the newest reading of each tag at a URL."""

    tags: tuple[str, ...]
    newest: dict[str, Sample] = field(default_factory=dict)
    shown: int = 0
    looked: asyncio.Event = field(default_factory=asyncio.Event)

    async def show(self, _: web.BaseRequest) -> web.Response:
        there = [
            {"tag": sample.tag, "value": sample.value, "code": sample.quality, "time": sample.time}
            for sample in self.newest.values()
        ]
        self.shown += 1
        self.looked.set()
        return web.json_response({"samples": there})


@pytest.mark.simulated(seeds=2)
class TestHttpPoller(SourceContract[Page]):
    """A page of newest readings, looked at twice a second."""

    host = HOST
    repeats_current_value = True
    stalled_samples = 300
    patience_seconds = 400.0
    stalled_bytes_max = 1_000_000

    @asynccontextmanager
    async def device(self) -> AsyncIterator[Page]:
        page = Page(self.tags)
        async with server(page.show, PORT):
            yield page

    def connector(self, device: Page, tmp_path: Path) -> Connector[Any]:
        poll = {"url": f"http://{HOST}:{PORT}/", "payload": "plantgate", "interval_seconds": 0.5, "answer_seconds": 5}
        return Http(settings(poll=[poll]), lent(tmp_path))

    async def produce(self, device: Page, samples: Sequence[Sample]) -> None:
        """Each reading stands for at least two looks, if anybody looks."""
        for sample in samples:
            if sample.tag in device.newest and device.newest[sample.tag].value != sample.value:
                await self._until_seen(device)
            device.newest[sample.tag] = sample
        await self._until_seen(device)

    async def _until_seen(self, device: Page) -> None:
        seen = device.shown
        try:
            async with asyncio.timeout(4.0):
                while device.shown < seen + 2:
                    device.looked.clear()
                    await device.looked.wait()
        except TimeoutError:
            pass


@dataclass
class Office:
    """A server that takes batches."""

    came: list[Sample] = field(default_factory=list)

    async def take(self, request: web.BaseRequest) -> web.Response:
        self.came += read_batch(await request.read())
        return web.Response(status=204)


class TestHttpSink(SinkContract[Office]):
    """Batches as JSON rows."""

    host = HOST
    written: ClassVar[dict[str, Any]] = {}

    @asynccontextmanager
    async def device(self) -> AsyncIterator[Office]:
        office = Office()
        async with server(office.take, PORT):
            yield office

    def connector(self, device: Office, tmp_path: Path) -> Connector[Any]:
        return Http(settings(send={"url": f"http://{HOST}:{PORT}/in", **self.written}), lent(tmp_path))

    async def arrived(self, device: Office) -> Sequence[Sample]:
        return device.came


class TestHttpSinkColumns(TestHttpSink):
    """Batches as columns, times as numbers, in small requests."""

    written: ClassVar[dict[str, Any]] = {"format": "columns", "time": "nanoseconds", "body_bytes_max": 1024}


class TestHttpSinkCloudEvents(TestHttpSink):
    """Batches as CloudEvents."""

    written: ClassVar[dict[str, Any]] = {"format": "cloudevents"}
