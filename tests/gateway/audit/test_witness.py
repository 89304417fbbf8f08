"""A witness that signs for a log, and for none of its doubles; in memory, across power cuts, and over HTTP."""

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.cosign import Cosigner, WitnessDisagrees
from plantgate.audit.log import AuditLog
from plantgate.audit.note import BadNote, Note, Signer
from plantgate.audit.policy import Policy
from plantgate.audit.tiles import Tiles, folder
from plantgate.audit.tree import consistency_proof
from plantgate.audit.verify import Verdict, verify
from plantgate.audit.witness import Refusal, Refused, Request, Witness
from plantgate.audit.witness_server import LIMITS, serving
from plantgate.sdk import SystemClock, Unavailable
from plantgate.store.disk import Disk, OsDisk
from plantgate.testing.context import RecordedLog
from plantgate.testing.disk import PowerCut, SimulatedDisk, SimulatedFile
from tests.gateway.audit.given import LOG, ORIGIN, WITNESS, intent

POLICY = Policy.parse(f"log {LOG.verifier}\nwitness w1 {WITNESS.verifier}\nquorum w1\n")


def grown(place: Path, *sizes: int, first: int = 0) -> dict[int, Note]:
    """A log's checkpoints at these sizes."""

    async def main() -> dict[int, Note]:
        notes = {}
        async with await AuditLog.open(place, ORIGIN, [LOG]) as log:
            for size in sizes:
                for number in range(log.size, size):
                    await log.append(intent(first + number))
                note = await log.publish()
                assert note is not None
                notes[size] = note
        return notes

    return asyncio.run(main())


def witness(at: Path = Path("/witness"), disk: Disk | None = None) -> Witness:
    return Witness(at, WITNESS, [LOG.verifier], disk or SimulatedDisk(), SystemClock())


def request(place: Path, old: int, size: int, note: Note) -> Request:
    return Request(old, tuple(consistency_proof(old, size, Tiles(folder(place / "public"), size).node)), note)


def test_a_log_that_grows_is_signed_at_every_step(tmp_path: Path) -> None:
    notes = grown(tmp_path, 1, 7, 7 * 40, 300)
    seen, old = witness(), 0
    for size, note in notes.items():
        asked = request(tmp_path, old, size, note)
        signature = seen.add(Request.parse(bytes(asked)))
        assert POLICY.judge(note.signed(signature)).quorum
        old = size
    assert seen.add(request(tmp_path, 300, 300, notes[300])).name == WITNESS.verifier.name


def test_neither_a_fork_nor_a_roll_back_is_signed(tmp_path: Path) -> None:
    honest = grown(tmp_path / "honest", 5, 9)
    forked = grown(tmp_path / "forked", 5, 9, 12, first=1000)
    seen = witness()
    seen.add(request(tmp_path / "honest", 0, 5, honest[5]))
    for old, size in ((5, 9), (5, 12), (5, 5)):
        with pytest.raises(Refused) as refused:
            seen.add(request(tmp_path / "forked", old, size, forked[size]))
        assert refused.value.refusal is Refusal.NOT_CONSISTENT
    seen.add(request(tmp_path / "honest", 5, 9, honest[9]))
    with pytest.raises(Refused) as refused:
        seen.add(request(tmp_path / "honest", 0, 5, honest[5]))
    assert refused.value.refusal is Refusal.OTHER_SIZE
    assert refused.value.size == 9


def test_a_log_nobody_named_and_a_checkpoint_nobody_signed_are_refused(tmp_path: Path) -> None:
    notes = grown(tmp_path, 3)
    other = Signer("gateway.example/other", bytes(32))
    text = str(Checkpoint("gateway.example/other", 3, bytes(32)))
    for note, refusal in (
        (Note(text, (other.sign(text),)), Refusal.UNKNOWN_LOG),
        (Note(notes[3].text, (other.sign(notes[3].text),)), Refusal.NOT_SIGNED),
        (Note(notes[3].text, (LOG.sign("another\n"),)), Refusal.NOT_SIGNED),
        (Note("no checkpoint\n", (LOG.sign("no checkpoint\n"),)), Refusal.MALFORMED),
    ):
        with pytest.raises(Refused) as refused:
            witness().add(Request(0, (), note))
        assert refused.value.refusal is refusal
    with pytest.raises(Refused, match="never one of 4"):
        witness().add(Request(4, (), notes[3]))
    with pytest.raises(BadNote, match="a log's key"):
        Witness(tmp_path, LOG, [], OsDisk(), SystemClock())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"old 1\n",
        b"old 01\n\na\n\n\xe2\x80\x94 a aaaaaaaa\n",
        b"new 1\n\na\n\n\xe2\x80\x94 a aaaaaaaa\n",
        b"old 1\nAAAA\n\na\n\n\xe2\x80\x94 a aaaaaaaa\n",
        b"old 1\n" + b"A\n" * 64 + b"\na\n\n\xe2\x80\x94 a aaaaaaaa\n",
        b"old 1\n\na\n",
        b"\xff\n\n",
    ],
)
def test_a_request_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(Refused) as refused:
        Request.parse(content)
    assert refused.value.refusal is Refusal.MALFORMED


@pytest.mark.parametrize("mutation", ["none", "answers before it is kept"])
def test_across_power_cuts_no_two_histories_are_ever_signed(
    mutation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The property, and proof that it can fail."""
    if mutation != "none":
        monkeypatch.setattr(SimulatedFile, "datasync", lambda self: None)
        monkeypatch.setattr(SimulatedDisk, "sync_directory", lambda self, directory: None)
    sizes = (3, 5, 9, 14)
    honest = grown(tmp_path / "honest", *sizes)
    forked = grown(tmp_path / "forked", *sizes, first=1000)

    def run(seed: int) -> None:
        luck = random.Random(seed)
        disk = SimulatedDisk(seed=seed)
        signed: dict[str, int] = {}
        for life in range(6):
            disk.cut_after = disk.calls + luck.randrange(1, 12)
            with suppress(PowerCut):
                seen = witness(disk=disk)
                for _ in range(4):
                    which, notes = luck.choice((("honest", honest), ("forked", forked)))
                    last = seen.last(ORIGIN)
                    old = Checkpoint.parse(last.text).size if last is not None else 0
                    size = luck.choice([each for each in sizes if each >= old])
                    with suppress(Refused):
                        seen.add(request(tmp_path / which, old, size, notes[size]))
                        signed[which] = size
            disk = disk.power_cut(f"{seed}/{life}")
        assert len(signed) <= 1, "both histories were signed"

    def every() -> None:
        for seed in range(60):
            run(seed)

    if mutation == "none":
        every()
    else:
        with pytest.raises((AssertionError, BadNote)):
            every()


# ---- over HTTP ----


def test_a_log_is_cosigned_over_http_and_then_has_its_quorum(tmp_path: Path) -> None:
    async def main() -> None:
        seen = witness(tmp_path / "witness", OsDisk())
        async with serving(seen, (ORIGIN,), "127.0.0.1", 0, RecordedLog()) as port:
            asked = Cosigner(f"http://127.0.0.1:{port}", WITNESS.verifier)
            async with await AuditLog.open(tmp_path / "log", ORIGIN, [LOG]) as log:
                for size in (2, 5, 300):
                    for number in range(log.size, size):
                        await log.append(intent(number))
                    note = await log.publish()
                    assert note is not None
                    signed = await asked.cosign(note, log.node(size))
                    assert await log.witnessed(signed)
                assert not await log.witnessed(Note(str(Checkpoint(ORIGIN, 5, bytes(32))), ()))
            fresh = Cosigner(f"http://127.0.0.1:{port}", WITNESS.verifier)  # after a restart, knowing nothing
            assert POLICY.judge(await fresh.cosign(note, log.node(300))).quorum
            assert fresh.seen == 300
            async with ClientSession() as session:
                for path, status in ((f"/{'0' * 64}/checkpoint", 404), (f"/{seen._file(ORIGIN).name}/checkpoint", 200)):
                    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                        assert answer.status == status

    asyncio.run(main())
    report = verify(folder(tmp_path / "log" / "public"), POLICY)
    assert report.integrity.verdict is Verdict.YES
    assert report.quorum.verdict is Verdict.YES


def test_a_log_that_was_rolled_back_learns_it_from_the_witness(tmp_path: Path) -> None:
    newer, older = grown(tmp_path / "newer", 9), grown(tmp_path / "older", 5, first=50)

    async def main() -> None:
        seen = witness(tmp_path / "witness", OsDisk())
        async with serving(seen, (ORIGIN,), "127.0.0.1", 0, RecordedLog()) as port:
            url = f"http://127.0.0.1:{port}"
            node = Tiles(folder(tmp_path / "newer" / "public"), 9).node
            await Cosigner(url, WITNESS.verifier).cosign(newer[9], node)
            old = Tiles(folder(tmp_path / "older" / "public"), 5).node
            with pytest.raises(WitnessDisagrees, match=r"has seen 9 entries .* which has 5: this log was rolled back"):
                await Cosigner(url, WITNESS.verifier).cosign(older[5], old)
            forked = await asyncio.to_thread(grown, tmp_path / "forked", 12, first=70)
            fork = Tiles(folder(tmp_path / "forked" / "public"), 12).node
            with pytest.raises(WitnessDisagrees, match="its past is another"):
                await Cosigner(url, WITNESS.verifier).cosign(forked[12], fork)

    asyncio.run(main())


def test_a_witness_that_is_not_there_is_named(tmp_path: Path) -> None:
    notes = grown(tmp_path / "log", 3)
    node = Tiles(folder(tmp_path / "log" / "public"), 3).node

    async def main() -> None:
        with pytest.raises(Unavailable, match="does not answer"):
            await Cosigner("http://127.0.0.1:1", WITNESS.verifier).cosign(notes[3], node)

    asyncio.run(main())


@pytest.mark.simulated(seeds=1)
@pytest.mark.parametrize("sent", [b"POST /add-checkpoint HTTP/1.1\r\nX: ", b"GET /x/checkpoint HTTP/1.1\r\nX: "])
async def test_whoever_holds_a_connection_without_a_request_is_turned_away(sent: bytes) -> None:
    """A letter a second, for ever: no silence that a time-out would notice."""
    async with serving(witness(), (ORIGIN,), "box2", 9490, RecordedLog()):
        reader, writer = await asyncio.open_connection("box2", 9490)
        writer.write(sent)

        async def trickle() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(1.0)

        async with asyncio.TaskGroup() as group:
            trickling = group.create_task(trickle())
            async with asyncio.timeout(3600):
                assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
            trickling.cancel()
        writer.close()


@pytest.mark.simulated(seeds=1)
async def test_connections_that_are_held_keep_nobody_else_from_the_witness() -> None:
    async with serving(witness(), (ORIGIN,), "box2", 9490, RecordedLog()):
        held = [await asyncio.open_connection("box2", 9490) for _ in range(LIMITS.per_peer_max)]
        reader, writer = await asyncio.open_connection("box2", 9490)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        await asyncio.sleep(LIMITS.head_seconds + 1)
        after, asking = await asyncio.open_connection("box2", 9490)
        asking.write(b"GET /nowhere HTTP/1.1\r\nHost: box2\r\nConnection: close\r\n\r\n")
        assert (await after.read()).startswith(b"HTTP/1.1 404 ")
        for _, closing in (*held, (reader, writer), (after, asking)):
            closing.close()


@pytest.mark.simulated(seeds=1)
async def test_a_request_whose_head_has_come_has_its_own_time_and_no_more() -> None:
    async with serving(witness(), (ORIGIN,), "box2", 9490, RecordedLog()):
        for pause, said in ((LIMITS.head_seconds + 2, b"HTTP/1.1 400 "), (3600.0, b"HTTP/1.1 408 ")):
            reader, writer = await asyncio.open_connection("box2", 9490)
            writer.write(
                b"POST /add-checkpoint HTTP/1.1\r\nHost: box2\r\nConnection: close\r\nContent-Length: 7\r\n\r\n"
            )
            await asyncio.sleep(pause)
            writer.write(b"old -1\n")
            assert (await reader.read()).startswith(said)
            writer.close()


@pytest.mark.simulated(seeds=1)
async def test_a_strangers_nonsense_is_answered_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(witness(), (ORIGIN,), "box2", 9490, RecordedLog()):
        for raw in (b"\x16\x03\x01nonsense\r\n\r\n", b"GET /\x1b[2J HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("box2", 9490)
            writer.write(raw)
            assert (await reader.read()).split(b" ")[1] == b"400"
            writer.close()
    assert not caplog.records
