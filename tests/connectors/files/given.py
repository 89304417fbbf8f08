"""What the tests of the files connector share: a context without a host, and sessions read to their end."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plantgate.sdk import Batch, Context, Exhausted, Sample, Standing
from plantgate_connectors.files import Files, FilesSettings

NOON = 1_795_694_400_000_000_000
"""2026-11-26T12:00:00Z"""


@dataclass
class Clock:
    """Stands still."""

    time: int = NOON

    def now(self) -> int:
        return self.time


@dataclass
class Log:
    """Keeps what is logged."""

    lines: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def info(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))

    warning = error = info


def context(folder: Path, clock: Clock | None = None) -> Context:
    """A use of a connection named `csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    log = Log()
    return Context("csv", folder, folder, clock or Clock(), log, Standing(log))


def files(folder: Path, *, clock: Clock | None = None, **settings: object) -> Files:
    """A connector whose own folder lies below `folder`."""
    return Files(FilesSettings.model_validate(settings, strict=False), context(folder / "state", clock))


def counted(connector: Files) -> dict[str, int]:
    return connector.context.standing.counters


def read_all(connector: Files, *, acknowledge: bool = True) -> list[Batch]:
    """One session, until the files end."""

    async def session() -> list[Batch]:
        batches: list[Batch] = []
        async with connector.source() as source:
            while True:
                try:
                    batch = await source.read()
                except Exhausted:
                    return batches
                batches.append(batch)
                if acknowledge:
                    await source.ack(batch.cursor)

    return asyncio.run(session())


def read_some(connector: Files, batches: int, *, acknowledge: bool = True) -> list[Batch]:
    """One session that ends after so many batches; for files that are followed."""

    async def session() -> list[Batch]:
        got = []
        async with connector.source() as source:
            for _ in range(batches):
                async with asyncio.timeout(10):
                    got.append(await source.read())
                if acknowledge:
                    await source.ack(got[-1].cursor)
        return got

    return asyncio.run(session())


def write_all(connector: Files, batches: Sequence[Batch]) -> None:
    """One session."""

    async def session() -> None:
        async with connector.sink() as sink:
            for batch in batches:
                await sink.accept(batch)

    asyncio.run(session())


def samples(batches: Sequence[Batch]) -> list[Sample]:
    return [sample for batch in batches for sample in batch]


def values(batches: Sequence[Batch]) -> list[object]:
    return [sample.value for sample in samples(batches)]
