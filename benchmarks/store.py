"""The durable queue: batches in, synced, read back, confirmed; beside it what the same bytes cost otherwise.

    python -m benchmarks.store [--json FILE] [--folder DIR] [--batches N] [--runs N]

Every row of a run writes the same encoded batches, one sync for each batch offered alone, to the same disk, one after
another; the figures are medians over the runs. A rate on a shared disk says little by itself: compare within the table.
"""

import argparse
import asyncio
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from benchmarks.meter import machine, median
from benchmarks.table import Row, save, show
from plantgate.sdk import Batch, SystemClock
from plantgate.store.codec import decode, encode
from plantgate.store.disk import OsDisk
from plantgate.store.outbox import Outbox
from plantgate.store.writer import JournalWriter

SAMPLES = 512
"""A batch: what 5,000 tags at 10 Hz give in 10 ms."""
PRODUCERS = 4
"""Flows rarely offer one batch at a time: publish responses overlap."""

T = TypeVar("T")
Measured: TypeAlias = tuple[float, float]
"""Wall and CPU seconds."""


def batch_of(luck: random.Random) -> Batch:
    """Readings as a plant has them: long names, floats, one quality, times a little apart."""
    begin = 1_767_225_600_000_000_000
    return Batch(
        [f"line{n % 7}/press{n % 31}/temperature{n}" for n in range(SAMPLES)],
        [luck.uniform(0, 100) for _ in range(SAMPLES)],
        [0] * SAMPLES,
        [begin + luck.randrange(10**9) for _ in range(SAMPLES)],
        received=begin,
    )


def _timed(work: Callable[[], object]) -> Measured:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


async def _timed_async(work: Coroutine[Any, Any, object]) -> Measured:
    wall, cpu = time.perf_counter(), time.process_time()
    await work
    return time.perf_counter() - wall, time.process_time() - cpu


def whole_cycle(folder: Path, batches: list[Batch], producers: int) -> Measured:
    """Accept, read and acknowledge through an outbox, at the same time."""

    async def cycle(outbox: Outbox) -> None:
        async def produce(first: int) -> None:
            for batch in batches[first::producers]:
                await outbox.accept(batch)

        async def consume() -> None:
            reader, left = outbox.reader("sink"), len(batches) * SAMPLES
            while left:
                batch = await reader.read()
                await reader.ack(batch.cursor)
                left -= len(batch)

        async with asyncio.TaskGroup() as group:
            group.create_task(consume())
            for first in range(producers):
                group.create_task(produce(first))
        assert outbox.balance()["sink"].difference == 0

    async def run() -> Measured:
        async with await Outbox.open(folder / f"outbox-{producers}", ["sink"]) as outbox:
            return await _timed_async(cycle(outbox))

    return asyncio.run(run())


def journal_alone(folder: Path, contents: list[bytes]) -> Measured:
    """Append without a loop, one batch for each sync."""
    writer = JournalWriter.open(folder / "journal", disk=OsDisk(), clock=SystemClock())

    def append() -> None:
        for content in contents:
            writer.append_many(((content, SAMPLES),))

    try:
        return _timed(append)
    finally:
        writer.close()


def plain_file(folder: Path, contents: list[bytes]) -> Measured:
    """The floor: append to a growing file and sync; no checksum, no way to read back, nothing else."""
    descriptor = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def append() -> None:
        for content in contents:
            os.write(descriptor, content)
            os.fdatasync(descriptor)

    try:
        return _timed(append)
    finally:
        os.close(descriptor)


def sqlite_cycle(folder: Path, contents: list[bytes]) -> Measured:
    """The usual queue in SQLite: WAL, synchronous=FULL, a blob for each batch; insert, select, decode, delete."""
    with sqlite3.connect(folder / "queue.sqlite", isolation_level=None) as base:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=FULL")
        base.execute("CREATE TABLE queue (id INTEGER PRIMARY KEY, batch BLOB)")

        def cycle() -> None:
            for at, content in enumerate(contents, 1):
                base.execute("INSERT INTO queue (batch) VALUES (?)", (content,))
                if at % 32 == 0:
                    rows = base.execute("SELECT id, batch FROM queue ORDER BY id").fetchall()
                    for _, blob in rows:
                        decode(blob)
                    base.execute("DELETE FROM queue WHERE id <= ?", (rows[-1][0],))

        measured = _timed(cycle)
    base.close()
    return measured


def each(function: Callable[[T], object], arguments: Iterable[T]) -> None:
    """Call it for each and keep nothing, as a queue does."""
    for argument in arguments:
        function(argument)


def small_records(folder: Path, groups: int) -> Measured:
    """512 records of 120 bytes for each sync: what a record costs by itself."""
    writer = JournalWriter.open(folder / "small", disk=OsDisk(), clock=SystemClock())
    group = [(os.urandom(120), 1) for _ in range(512)]

    def append() -> None:
        for _ in range(groups):
            writer.append_many(group)

    try:
        return _timed(append)
    finally:
        writer.close()


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    parser.add_argument("--folder", type=Path, help="where to write; the disk to measure")
    parser.add_argument("--batches", type=int, default=2000, help=f"batches of {SAMPLES} samples in each run")
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()

    luck = random.Random(1)
    batches = [batch_of(luck) for _ in range(16)] * (chosen.batches // 16)
    contents = [encode(batch) for batch in batches]
    samples = len(batches) * SAMPLES
    work: dict[str, tuple[int, Callable[[Path], Measured]]] = {
        f"outbox: accept + read + ack, {PRODUCERS} offered at a time": (
            samples,
            lambda folder: whole_cycle(folder, batches, PRODUCERS),
        ),
        "outbox: accept + read + ack, 1 offered at a time": (samples, lambda folder: whole_cycle(folder, batches, 1)),
        "SQLite WAL FULL, blob a batch: insert + select + delete": (
            samples,
            lambda folder: sqlite_cycle(folder, contents),
        ),
        "journal: append only": (samples, lambda folder: journal_alone(folder, contents)),
        "plain file: write + fdatasync only": (samples, lambda folder: plain_file(folder, contents)),
        "codec: encode only": (samples, lambda _: _timed(lambda: each(encode, batches))),
        "codec: decode only": (samples, lambda _: _timed(lambda: each(decode, contents))),
        "journal: records of 120 bytes, 512 a sync": (512 * 200, lambda folder: small_records(folder, 200)),
    }
    measured: dict[str, list[Measured]] = {name: [] for name in work}
    for _ in range(chosen.runs):
        for name, (_, run) in work.items():
            with tempfile.TemporaryDirectory(prefix="store-bench-", dir=chosen.folder) as folder:
                measured[name].append(run(Path(folder)))
    rows: list[Row] = []
    for name, (count, _) in work.items():
        wall, cpu = (median([run[part] for run in measured[name]]) for part in (0, 1))
        rows.append(
            {
                "what": name,
                "samples/s": round(count / wall),
                "CPU ns a sample": round(cpu / count * 1e9),
                "CPU µs a batch": round(cpu / count * SAMPLES * 1e6),
            }
        )
    title = f"store: {SAMPLES} samples a batch, {len(contents[0]) // SAMPLES} bytes a sample"
    print(machine())
    show(title, rows)
    save(chosen.json, title, machine(), rows)


if __name__ == "__main__":
    main()
