"""A log that keeps itself public: soon, every minute, and whatever its witnesses do."""

import asyncio
import errno
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plantgate.audit import keep
from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.cosign import Cosigner, WitnessDisagrees
from plantgate.audit.entry import Kind, decode
from plantgate.audit.keep import keep_public
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Note, Signer
from plantgate.audit.policy import Policy
from plantgate.audit.publish import Inconsistent
from plantgate.audit.tiles import Tiles, folder
from plantgate.audit.tree import Node, consistency_proof
from plantgate.audit.verify import Verdict, verify
from plantgate.audit.witness import Request, Witness
from plantgate.audit.witness_server import serving
from plantgate.flow.stop import Stop
from plantgate.sdk import GatewayError, SystemClock, Unavailable
from plantgate.store.disk import OsDisk
from plantgate.store.writer import JournalFailed
from plantgate.testing.clock import WallClock
from plantgate.testing.context import RecordedLog
from plantgate.testing.disk import SimulatedDisk
from plantgate.testing.simloop import simulate
from tests.gateway.audit.given import LOG, ORIGIN, WITNESS, intent
from tests.gateway.audit.test_log import HERE, opened, reading

POLICY = Policy.parse(f"log {LOG.verifier}\nwitness w1 {WITNESS.verifier}\nquorum w1\n")


@dataclass
class FarWitness:
    """A real witness at the end of a bad line."""

    signer: Signer = WITNESS
    seconds: float = 0.02
    """How long it takes to answer."""
    away: bool = False
    disagrees: bool = False
    seen: int = 0
    signed: list[int] = field(default_factory=list)
    name: str = "w1"

    def __post_init__(self) -> None:
        self._witness = Witness(Path("/witness"), self.signer, [LOG.verifier], SimulatedDisk(), WallClock())

    async def cosign(self, note: Note, node: Node) -> Note:
        await asyncio.sleep(self.seconds)
        if self.away:
            raise Unavailable("no answer from w1")
        if self.disagrees:
            raise WitnessDisagrees("w1 has seen another past")
        size = Checkpoint.parse(note.text).size
        signature = self._witness.add(Request(self.seen, tuple(consistency_proof(self.seen, size, node)), note))
        self.seen = size
        self.signed.append(size)
        return note.signed(signature)

    async def last(self, origin: str) -> Note | None:
        await asyncio.sleep(self.seconds)
        if self.away:
            raise Unavailable("no answer from w1")
        return self._witness.last(origin)


Story = Callable[[AuditLog], Coroutine[Any, Any, None]]


def kept(story: Story, *witnesses: FarWitness, disk: SimulatedDisk | None = None) -> tuple[SimulatedDisk, RecordedLog]:
    """Keep a log public while the story runs."""
    disk, log = disk or SimulatedDisk(), RecordedLog()

    async def main() -> None:
        stop = Stop()
        async with await opened(disk) as audit, asyncio.TaskGroup() as group:
            clock = WallClock()
            group.create_task(keep_public(audit, witnesses, stop=stop, clock=clock, log=log, gateway="box-1"))
            await asyncio.sleep(0)
            await story(audit)
            stop.set()

    simulate(main)
    return disk, log


def events(log: RecordedLog) -> list[str]:
    return [event for _, event, _ in log.lines]


def test_an_entry_is_public_within_a_second_and_a_heartbeat_every_minute() -> None:
    async def story(audit: AuditLog) -> None:
        await asyncio.sleep(5)
        await audit.append(intent(0))
        await asyncio.sleep(1.2)
        assert audit.published is not None
        assert audit.published.size == audit.size == 2
        await asyncio.sleep(600)

    disk, _ = kept(story)
    entries = [decode(content) for content in Tiles(reading(disk), 12)]
    beats = [entry for entry in entries if entry.kind is Kind.HEARTBEAT]
    assert len(beats) == 11
    assert beats[0].details == {}
    assert beats[1].details["size"] == "2"
    assert beats[1].details["checkpoint"].startswith("sha256:")
    assert beats[1].who.id == "box-1"


def test_a_tile_full_of_entries_is_not_made_to_wait_a_second() -> None:
    async def story(audit: AuditLog) -> None:
        await asyncio.sleep(10)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(audit.append(intent(number)) for number in range(256)))
        await asyncio.sleep(began + 0.9 - loop.time())
        assert audit.published is not None
        assert audit.published.size == 257

    kept(story)


@pytest.mark.parametrize("mutation", ["none", "beats all the time"])
def test_nothing_is_written_where_there_is_no_news(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The property, and proof that it can fail."""
    if mutation != "none":
        monkeypatch.setattr(keep, "HEARTBEAT_SECONDS", 1.0)

    async def story(audit: AuditLog) -> None:
        await asyncio.sleep(30)
        first = disk.calls
        await asyncio.sleep(25)
        assert disk.calls == first, "an idle log wrote something"

    disk = SimulatedDisk()
    if mutation == "none":
        kept(story, disk=disk)
    else:
        with pytest.raises(BaseExceptionGroup):
            kept(story, disk=disk)


def test_a_witness_that_is_there_has_signed_what_is_public_also_at_the_end() -> None:
    async def story(audit: AuditLog) -> None:
        for number in range(20):
            await audit.append(intent(number))
            await asyncio.sleep(0.7)
        await audit.append(intent(99))

    witness = FarWitness()
    disk, log = kept(story, witness)
    assert witness.signed[-1] == 22
    assert POLICY.judge(Note.parse(reading(disk)("checkpoint"))).quorum
    assert log.lines == []


def test_two_witnesses_are_both_below_the_checkpoint() -> None:
    async def story(audit: AuditLog) -> None:
        await asyncio.sleep(3)

    other = Signer("witness.example/w2", bytes(range(2, 34)), WITNESS.verifier.kind)
    disk, _ = kept(story, FarWitness(), FarWitness(other, seconds=0.5, name="w2"))
    names = [each.name for each in Note.parse(reading(disk)("checkpoint")).signatures]
    assert names == [ORIGIN, WITNESS.verifier.name, "witness.example/w2"]


@pytest.mark.parametrize("mutation", ["none", "publishing waits for the witness"])
def test_a_witness_that_goes_and_returns_is_told_once_each_and_delays_nothing(
    mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The property, and proof that it can fail."""
    if mutation != "none":
        publish = AuditLog.publish

        async def waiting(self: AuditLog) -> Note | None:
            note = await publish(self)
            if note is not None:
                await slow.cosign(note, self.node(0))
            return note

        monkeypatch.setattr(AuditLog, "publish", waiting)
    witness, slow = FarWitness(), FarWitness(seconds=3600.0, name="w2")

    async def story(audit: AuditLog) -> None:
        await asyncio.sleep(3)
        witness.away = True
        for number in range(300):
            before = asyncio.get_running_loop().time()
            await audit.append(intent(number))
            assert asyncio.get_running_loop().time() - before < 0.5
            await asyncio.sleep(1.2)
            assert audit.published is not None
            assert audit.published.size >= number + 1, "publishing waited"
        witness.away = False
        await asyncio.sleep(65)

    if mutation != "none":
        with pytest.raises(BaseExceptionGroup):
            kept(story, witness, slow)
        return
    disk, log = kept(story, witness, slow)
    assert events(log) == ["witness away, going on without it", "witness signs again"]
    assert POLICY.judge(Note.parse(reading(disk)("checkpoint"))).quorum


def test_stopping_waits_for_no_witness_that_is_away() -> None:
    witness = FarWitness(seconds=3600.0)

    async def main() -> float:
        stop = Stop()
        loop = asyncio.get_running_loop()
        async with await opened(SimulatedDisk()) as audit, asyncio.TaskGroup() as group:
            keeping = keep_public(audit, [witness], stop=stop, clock=WallClock(), log=RecordedLog(), gateway="box-1")
            kept = group.create_task(keeping)
            await asyncio.sleep(30)
            began = loop.time()
            stop.set()
            await kept
            return loop.time() - began

    assert simulate(main) < 3


def test_a_witness_that_has_seen_another_past_is_an_error_told_once() -> None:
    witness = FarWitness(disagrees=True)

    async def story(audit: AuditLog) -> None:
        await asyncio.sleep(300)

    _, log = kept(story, witness)
    assert [(level, event) for level, event, _ in log.lines] == [("error", "witness did not sign, a person must look")]


@pytest.mark.parametrize(
    ("call", "suffix", "error", "expected", "message"),
    [
        ("datasync", ".new", errno.ENOSPC, Unavailable, "cannot be published.*No space left.*entries are still taken"),
        ("datasync", "audit/entries/0", errno.EIO, JournalFailed, "must be opened again"),
        ("unlinked", "tile/entries/000.p/1", 0, Inconsistent, "was published and is gone"),
    ],
    ids=["the disk is full", "the journal fails", "a published file is gone"],
)
def test_what_ends_the_session_is_an_instruction(
    call: Any, suffix: str, error: int, expected: type[GatewayError], message: str
) -> None:
    disk = SimulatedDisk()

    async def story(audit: AuditLog) -> None:
        await asyncio.sleep(5)
        if call == "unlinked":
            disk.unlink(HERE / "public" / suffix)
        else:
            disk.fail(call, error, suffix=next((path.name for path in disk.paths() if suffix in str(path)), suffix))
        await asyncio.sleep(65)

    with pytest.raises(BaseExceptionGroup) as ended:
        kept(story, disk=disk)
    with pytest.raises(expected, match=message):
        raise ended.value.exceptions[0]


def test_over_http_the_good_witness_signs_whatever_the_others_do(tmp_path: Path) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
        await writer.drain()
        writer.close()

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    log = RecordedLog()

    async def main() -> None:
        babbling = await asyncio.start_server(nonsense, "127.0.0.1", 0)
        silent = await asyncio.start_server(silence, "127.0.0.1", 0)
        seen = Witness(tmp_path / "witness", WITNESS, [LOG.verifier], OsDisk(), SystemClock())
        async with babbling, silent, serving(seen, (ORIGIN,), "127.0.0.1", 0, RecordedLog()) as port:
            ports = [server.sockets[0].getsockname()[1] for server in (babbling, silent)]
            urls = [f"http://127.0.0.1:{each}" for each in (*ports, 1, port)]
            witnesses = [Cosigner(url, WITNESS.verifier, seconds=0.5) for url in urls]
            stop = Stop()
            async with await AuditLog.open(tmp_path / "log", ORIGIN, [LOG]) as audit, asyncio.TaskGroup() as group:
                clock = SystemClock()
                group.create_task(keep_public(audit, witnesses, stop=stop, clock=clock, log=log, gateway="box-1"))
                await audit.append(intent(1))
                async with asyncio.timeout(20):
                    while len(log.lines) < 3 or not seen.last(ORIGIN):  # noqa: ASYNC110  a witness' folder has no bell
                        await asyncio.sleep(0.01)
                stop.set()

    asyncio.run(main())
    report = verify(folder(tmp_path / "log" / "public"), POLICY)
    assert report.quorum.verdict is Verdict.YES
    assert sorted(level for level, _, _ in log.lines) == ["error", "warning", "warning"]


def test_a_gateway_killed_at_any_point_goes_on_where_it_was() -> None:
    async def story(audit: AuditLog) -> None:
        for number in range(5):
            await audit.append(intent(number))
            await asyncio.sleep(1)

    disk, _ = kept(story)
    disk, _ = kept(story, disk=disk.power_cut())
    report = verify(reading(disk, HERE / "public"), Policy.of_key(str(LOG.verifier)))
    assert report.integrity.verdict is Verdict.YES
    assert report.entries == 12
