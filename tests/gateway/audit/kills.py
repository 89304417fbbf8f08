"""A real writer, killed again and again: no acknowledged entry is lost, and what was signed is never contradicted.

    python -m tests.gateway.audit.kills [--kills 200] [--seed 2026] [--folder DIR]

Ends with ``killed K, acknowledged A, checkpoints C, lost L, forked F``, and fails unless the last two are 0. A kill
leaves what the kernel has; power cuts, which do not, are simulated (test_log.py).
"""

import argparse
import asyncio
import itertools
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from plantgate.audit.entry import Entry, decode
from plantgate.audit.keep import keep_public
from plantgate.audit.log import AuditLog
from plantgate.audit.note import BadNote, Note
from plantgate.audit.tiles import Tiles, folder
from plantgate.audit.verify import Verdict, verify
from plantgate.flow.stop import Stop
from plantgate.sdk import SystemClock
from plantgate.testing.context import RecordedLog
from tests.gateway.audit.given import LOG, ORIGIN, POLICY, intent

WRITERS = 8


@dataclass(slots=True)
class Account:
    """What was heard before the kills, and what is there afterwards."""

    kills: int = 0
    acknowledged: dict[int, str] = field(default_factory=dict)
    """Id, by index."""
    seen: dict[bytes, Note] = field(default_factory=dict)
    """Checkpoints that were public at some time."""
    lost: int = 0
    forked: int = 0

    def hear(self, line: str) -> None:
        """An acknowledgement."""
        index, _, id_ = line.partition(" ")
        if self.acknowledged.setdefault(int(index), id_) != id_:
            self.forked += 1

    def look(self, place: Path) -> None:
        """Keep the checkpoint that is public now."""
        try:
            content = (place / "public" / "checkpoint").read_bytes()
            self.seen.setdefault(content, Note.parse(content))
        except (FileNotFoundError, BadNote):
            return

    def close(self, place: Path) -> None:
        """Open the log once more, and compare."""

        async def publish() -> int:
            async with await AuditLog.open(place, ORIGIN, [LOG]) as audit:
                await audit.publish()
                return audit.size

        size = asyncio.run(publish())
        stored = [decode(content).id for content in Tiles(folder(place / "public"), size)]
        self.lost = sum(index >= size or stored[index] != id_ for index, id_ in self.acknowledged.items())
        report = verify(folder(place / "public"), POLICY, seen=list(self.seen.values()))
        self.forked += report.forked or report.integrity.verdict is not Verdict.YES

    def __str__(self) -> str:
        return (
            f"killed {self.kills}, acknowledged {len(self.acknowledged)}, checkpoints {len(self.seen)}, "
            f"lost {self.lost}, forked {self.forked}"
        )


def campaign(place: Path, kills: int, seed: int, *, mutation: str = "none") -> Account:
    """Kill a writer so many times, at moments that the seed decides."""
    luck, account = random.Random(seed), Account()
    for number in range(kills):
        command = [sys.executable, "-m", __spec__.name, "--write", str(place), "--seed", f"{seed}{number:04d}"]
        process = subprocess.Popen([*command, "--mutation", mutation], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        opening = luck.random() < 0.25  # also while it opens
        if not opening:
            account.hear(process.stdout.readline().strip())
        time.sleep(luck.uniform(0.2, 0.9) if opening else luck.expovariate(4))
        account.look(place)
        process.send_signal(signal.SIGKILL)
        for line in process.stdout.read().split("\n")[:-1]:  # the last one may have been cut off
            account.hear(line)
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL, "the writer ended by itself"
        account.kills += 1
        account.look(place)
    account.close(place)
    return account


async def write(place: Path, seed: int, mutation: str) -> None:
    """Append until killed, and say of each entry that it is durable."""
    numbers = itertools.count()

    def acknowledge(index: int, entry: Entry) -> None:
        sys.stdout.write(f"{index} {entry.id}\n")
        sys.stdout.flush()

    async with await AuditLog.open(place, ORIGIN, [LOG]) as audit, asyncio.TaskGroup() as group:

        async def one() -> None:
            for number in numbers:
                entry = msgspec.structs.replace(intent(number), id=f"{seed}-{number}")
                if mutation == "acknowledged too early":
                    acknowledge(audit.size, entry)
                index = await audit.append(entry)
                if mutation == "none":
                    acknowledge(index, entry)

        keeping = keep_public(audit, [], stop=Stop(), clock=SystemClock(), log=RecordedLog(), gateway="box-1")
        group.create_task(keeping)
        for _ in range(WRITERS):
            group.create_task(one())


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--folder", type=Path, help="where to write")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--mutation", default="none", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.write is not None:
        asyncio.run(write(chosen.write, chosen.seed, chosen.mutation))
        return 1
    with tempfile.TemporaryDirectory(dir=chosen.folder) as place:
        account = campaign(Path(place) / "log", chosen.kills, chosen.seed)
    sys.stdout.write(f"{account}\n")
    return int(bool(account.lost or account.forked))


if __name__ == "__main__":
    sys.exit(main())
