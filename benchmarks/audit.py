"""The audit log: durable appends beside SQLite doing the same, and a large log verified by us and by others.

scripts/bench audit [--seconds 3] [--rounds 3] [--entries 1000000] [--folder DIR] [--json FILE]

A writer appends an entry, waits until it is durable, and appends the next. Both logs encode the same entries, hash
them, and make durable together what waits together; the rows of a round run one after another on the same disk.
A rate that a shared disk sets says little by itself: compare within the table.
"""

import argparse
import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.meter import machine, median, percentile
from benchmarks.table import Row, save, show
from plantgate.audit.entry import FORMAT, Check, Entry, Kind, Phase, Quantity, Result, Target, Who, Why, encode
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Signer
from plantgate.audit.policy import Policy
from plantgate.audit.tiles import folder
from plantgate.audit.tree import Frontier, leaf_hash
from plantgate.audit.verify import Verdict, verify
from plantgate.sdk import iso
from tests.peers.require import find

WRITERS = (1, 32, 512)
SIGNER = Signer("gateway.example/plant1/line3", bytes(range(32)))
BEGAN = 1_760_000_000_000_000_000

Append = Callable[[Entry], Awaitable[object]]
Measured = tuple[float, list[float], float]
"""Entries a second, how long each waited (s), CPU seconds an entry."""


def entry(number: int) -> Entry:
    """A write of a setpoint, and at the next number its outcome."""
    pair, settled = divmod(number, 2)
    value = Quantity(value=f"{pair / 16}", data_type="Double", unit="mm")
    time_ = iso(BEGAN + number * 500_000_000) or ""
    if settled:
        return Entry(
            v=FORMAT,
            id=f"00000000-0000-7000-9000-{pair:012d}",
            kind=Kind.WRITE,
            phase=Phase.OUTCOME,
            time=time_,
            who=Who(kind="gateway", id="box-1"),
            result=Result.OK,
            refers_to=f"00000000-0000-7000-8000-{pair:012d}",
            after=value,
        )
    return Entry(
        v=FORMAT,
        id=f"00000000-0000-7000-8000-{pair:012d}",
        kind=Kind.WRITE,
        phase=Phase.INTENT,
        time=time_,
        who=Who(kind="model", id="solder-check"),
        target=Target(connection="robot", address="line3/robot/offset_x"),
        before=Quantity(value="0.0", data_type="Double", unit="mm"),
        after=value,
        why=Why(
            rule="shift-when-misplaced",
            digest="sha256:" + "ab" * 32,
            cites="WI-0421 §3",
            checks=(Check(guard="range", passed=True, saw="-2.0 … 2.0"),),
        ),
    )


class SqliteLog:
    """The usual other way: WAL, synchronous=FULL, one thread, and what waits together in one transaction."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.execute("PRAGMA synchronous=FULL")
        self._base.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, content BLOB)")
        self._waiting: deque[tuple[bytes, asyncio.Future[None]]] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._frontier = Frontier()

    async def append(self, entry_: Entry) -> None:
        """Durable on return."""
        heard = asyncio.get_running_loop().create_future()
        self._waiting.append((encode(entry_), heard))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await heard

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
            await loop.run_in_executor(self._thread, self._insert, [content for content, _ in batch])
            for content, heard in batch:
                self._frontier.append(leaf_hash(content))
                heard.set_result(None)

    def _insert(self, contents: list[bytes]) -> None:
        self._base.execute("BEGIN")
        self._base.executemany("INSERT INTO entries (content) VALUES (?)", [(content,) for content in contents])
        self._base.execute("COMMIT")

    def close(self) -> None:
        """Let go."""
        self._thread.shutdown()
        self._base.close()


async def writing(append: Append, writers: int, seconds: float) -> Measured:
    """So many writers, each waiting for its own entry."""
    waited: list[float] = []
    numbers = iter(range(10**9))
    ends = time.perf_counter() + seconds

    async def one() -> None:
        while (began := time.perf_counter()) < ends:
            await append(entry(next(numbers)))
            waited.append(time.perf_counter() - began)

    began, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(writers):
            group.create_task(one())
    count = len(waited)
    return count / (time.perf_counter() - began), waited, (time.process_time() - cpu) / count


async def ours(place: Path, writers: int, seconds: float) -> Measured:
    """Appends to an audit log; published afterwards, outside the clock."""
    async with await AuditLog.open(place / "audit", SIGNER.verifier.name, [SIGNER]) as audit:
        return await writing(audit.append, writers, seconds)


async def sqlites(place: Path, writers: int, seconds: float) -> Measured:
    """Appends to SQLite."""
    log = SqliteLog(place / "entries.sqlite")
    try:
        return await writing(log.append, writers, seconds)
    finally:
        log.close()


def sync_seconds(place: Path) -> float:
    """What one fdatasync of 512 bytes into reserved space takes here, the median."""
    descriptor = os.open(place / "sync", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, 2**20)
    os.fsync(descriptor)
    taken = []
    for at in range(500):
        os.pwrite(descriptor, bytes([at % 256]) * 512, at * 512)
        began = time.perf_counter()
        os.fdatasync(descriptor)
        taken.append(time.perf_counter() - began)
    os.close(descriptor)
    return median(taken)


def appends(chosen: argparse.Namespace) -> list[Row]:
    """Both, at each number of writers."""
    found: dict[tuple[str, int], list[Measured]] = {}
    syncs = []
    for _ in range(chosen.rounds):
        for writers in WRITERS:
            for name, run in (("plantgate", ours), ("SQLite WAL FULL", sqlites)):
                with tempfile.TemporaryDirectory(dir=chosen.folder) as place:
                    syncs.append(sync_seconds(Path(place)))
                    found.setdefault((name, writers), []).append(asyncio.run(run(Path(place), writers, chosen.seconds)))
    print(f"fdatasync of one sector: {median(syncs) * 1e3:.2f} ms")
    return [
        {
            "log": name,
            "writers": writers,
            "durable entries/s": round(median([rate for rate, _, _ in runs])),
            "p50 ms": median([percentile(waited, 0.5) * 1e3 for _, waited, _ in runs]),
            "p99 ms": median([percentile(waited, 0.99) * 1e3 for _, waited, _ in runs]),
            "CPU µs/entry": median([cpu * 1e6 for _, _, cpu in runs]),
        }
        for (name, writers), runs in found.items()
    ]


async def fill(place: Path, entries: int) -> float:
    """A published log of so many entries; how long publishing them at once took."""
    async with await AuditLog.open(place, SIGNER.verifier.name, [SIGNER]) as audit:
        for begin in range(0, entries, 1024):
            numbers = range(begin, min(entries, begin + 1024))
            await asyncio.gather(*(audit.append(entry(number)) for number in numbers))
        began = time.perf_counter()
        await audit.publish()
        return time.perf_counter() - began


def verified(public: Path) -> float:
    """By us: every signature, bit and entry."""
    began = time.perf_counter()
    report = verify(folder(public), Policy.of_key(str(SIGNER.verifier)))
    assert report.integrity.verdict is Verdict.YES, report.integrity.said
    assert report.completeness.verdict is Verdict.YES, report.completeness.said
    return time.perf_counter() - began


def verified_by(command: list[str | Path], said: str) -> float:
    """By a program of others; it must say so."""
    began = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said in run.stdout + run.stderr, run
    return time.perf_counter() - began


def verifications(chosen: argparse.Namespace) -> list[Row]:
    """Of one large log."""
    entries: int = chosen.entries
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        place = Path(name)
        publishing = asyncio.run(fill(place / "log", entries))
        public = place / "log" / "public"
        size = sum(path.stat().st_size for path in public.rglob("*") if path.is_file())
        print(f"{entries:,} entries, {size / 1e6:.0f} MB published at once in {publishing:.1f} s")
        (place / "key").write_text(str(SIGNER.verifier))
        bare = Path(sys.modules["plantgate.audit"].__path__[0]) / "bare_verifier.py"
        fsck = [f"--storage_url=file://{public}/", f"--public_key={place / 'key'}", "--ui=false", "-N=4"]
        work: dict[str, Callable[[], float]] = {
            "plantgate audit verify: signature, hashes, tiles, entries, intents and outcomes": lambda: verified(public),
            "Go sumdb/tlog + note: signature, hashes, tiles": lambda: verified_by(
                [find("tlog-verify"), public, str(SIGNER.verifier)], f"verified {entries} entries"
            ),
            "Tessera fsck: signature, hashes, tiles": lambda: verified_by(
                [find("tessera-fsck"), *fsck], f"Successfully fsck'd log with size {entries}"
            ),
            "verify.py of an export, Python alone: signature, hashes": lambda: verified_by(
                [sys.executable, "-I", bare, "--log", public, "--policy", place / "key"], f"all {entries} entries"
            ),
        }
        rows: list[Row] = []
        for what, run in work.items():
            seconds = median([run() for _ in range(chosen.rounds)])
            rows.append({"verified by": what, "seconds": seconds, "entries/s": round(entries / seconds)})
        return rows


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of appending in each row and round")
    parser.add_argument("--rounds", type=int, default=3, help="figures are medians over these")
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the log that is verified; an even number")
    parser.add_argument("--folder", type=Path, help="where to write; the disk to measure")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    chosen = parser.parse_args()
    print(machine())
    rows = appends(chosen)
    show("Durable appends", rows)
    more = verifications(chosen)
    show(f"Verifying {chosen.entries:,} entries", more)
    save(chosen.json, "audit", machine(), [*rows, *more])


if __name__ == "__main__":
    main()
