"""Everything that can be done to a log, in any order, with the power going at any moment: what was said stays true.

Acknowledged entries are there; receipts and checkpoints of any time hold for good; what was erased stays erased, and
what was not can be read; whoever knows the root follows the keys.
"""

import random
from contextlib import suppress

import msgspec
import pytest

from plantgate.audit import archive as archiving
from plantgate.audit import erasure
from plantgate.audit.entry import Payload, encode
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Note, Signer
from plantgate.audit.policy import Policy
from plantgate.audit.receipt import Receipt
from plantgate.audit.rotation import Rotation, entry_of, hand_over_in
from plantgate.audit.tiles import Tiles, Unreadable
from plantgate.audit.tree import Frontier, NotProven, inclusion_proof
from plantgate.audit.vault import Erased, Vault
from plantgate.audit.verify import Verdict, verify
from plantgate.sdk import GatewayError, Rejected
from plantgate.store.recovery import JournalDamaged
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import PowerCut, SimulatedDisk
from plantgate.testing.simloop import simulate
from tests.gateway.audit.given import ORIGIN, intent, outcome
from tests.gateway.audit.test_archive import ARCHIVE, SMALL, reading_both
from tests.gateway.audit.test_log import HERE, LIMITS, reading
from tests.gateway.audit.test_rotation import ROOT
from tests.gateway.audit.test_vault import FOLDER, WRAPPING

KEYS = [Signer(ORIGIN, bytes((number,)) * 32) for number in range(1, 5)]
POLICY = Policy.parse(f"log {KEYS[0].verifier}\nroot {ROOT.verifier}\nquorum none\n")
_CAUGHT = (AssertionError, GatewayError, Unreadable, NotProven, JournalDamaged, pytest.fail.Exception)


class Story:
    """One log over several lives; remembers everything that was promised."""

    def __init__(self, seed: int) -> None:
        self.luck = random.Random(seed)
        self.disk = SimulatedDisk(seed=seed)
        self.told: dict[int, bytes] = {}
        self.receipts: list[tuple[bytes, Receipt]] = []
        self.notes: list[Note] = []
        self.payloads: dict[str, tuple[str, bytes]] = {}
        """Subject and content, by commitment."""
        self.gone: set[str] = set()
        """Commitments of what was erased."""
        self.erasing: set[str] = set()
        """Subjects of which an erasure was begun; the next call ends it."""
        self.numbers = iter(range(10**6))

    async def life(self) -> None:
        with Vault.open(FOLDER, WRAPPING, disk=self.disk) as vault:
            async with await AuditLog.open(HERE, ORIGIN, KEYS, disk=self.disk, limits=LIMITS) as audit:
                while True:
                    await self.luck.choices(
                        (self.append, self.publish, self.erase, self.archive, self.rotate), (40, 8, 2, 4, 3)
                    )[0](audit, vault)

    async def append(self, audit: AuditLog, vault: Vault) -> None:
        for _ in range(self.luck.randrange(1, 30)):
            number, payloads = next(self.numbers), tuple[Payload, ...]()
            if self.luck.random() < 0.2:
                subject, content = f"s:{self.luck.randrange(3)}", self.luck.randbytes(8)
                payloads = (vault.put(subject, "prompt", content),)
                if subject not in self.erasing:
                    self.payloads[payloads[0].commitment] = subject, content
            for entry in (msgspec.structs.replace(intent(number), payloads=payloads), outcome(number)):
                content = encode(entry)
                self.told[await audit.append_bytes(content)] = content

    async def publish(self, audit: AuditLog, vault: Vault) -> None:
        note = await audit.publish()
        if note is None or not audit.size:
            return
        self.notes.append(note)
        size = int(note.text.split("\n")[1])
        tiles = Tiles(reading(self.disk), size)
        index, content = self.luck.choice(list(tiles.kept()))
        self.receipts.append((content, Receipt(index, tuple(inclusion_proof(index, size, tiles.node)), note)))

    async def erase(self, audit: AuditLog, vault: Vault) -> None:
        subject = f"s:{self.luck.randrange(3)}"
        with suppress(Rejected):
            self.erasing.add(subject)
            await erasure.erase(audit, vault, erasure.Order(subject, "GDPR", "u:7", "u:8"), clock=WallClock())
        self.gone |= {each for each, about in self.payloads.items() if about[0] == subject}
        self.payloads = {each: about for each, about in self.payloads.items() if about[0] != subject}
        self.erasing.discard(subject)

    async def archive(self, audit: AuditLog, vault: Vault) -> None:
        order = archiving.Order(ARCHIVE, max(0, audit.size - 100), "SOP-12", "u:7", "u:8")
        with suppress(Rejected):
            await archiving.archive(audit, order, clock=WallClock(), disk=self.disk, volume=SMALL)

    async def rotate(self, audit: AuditLog, vault: Vault) -> None:
        done: set[int] = set()  # those in the archive are repeated

        def take(index: int, content: bytes) -> None:
            if (hand_over := hand_over_in(index, content)) is not None:
                done.add(hand_over.at)

        await audit.inspect(take)
        if len(done) + 1 < len(KEYS):
            rotation = Rotation(ORIGIN, KEYS[len(done)].verifier, KEYS[len(done) + 1].verifier, 50)
            await audit.append(entry_of(rotation.signed(ROOT), by="u:7", clock=WallClock()))

    async def end(self) -> None:
        with Vault.open(FOLDER, WRAPPING, disk=self.disk) as vault:
            async with await AuditLog.open(HERE, ORIGIN, KEYS, disk=self.disk, limits=LIMITS) as audit:
                for subject in list(self.erasing):
                    with suppress(Rejected):
                        order = erasure.Order(subject, "GDPR", "u:7", "u:8")
                        await erasure.erase(audit, vault, order, clock=WallClock())
                await self.archive(audit, vault)
                await audit.publish()
            for commitment in self.gone:
                with pytest.raises(Erased):
                    vault.disclose(commitment)
            for commitment, (subject, content) in self.payloads.items():
                try:
                    there = vault.disclose(commitment).content == content
                except Erased:
                    there = False
                assert there != (subject in self.erasing), f"{subject}: erased and not, or lost"

    def judge(self) -> None:
        report = verify(reading_both(self.disk), POLICY, seen=self.notes)
        assert report.integrity.verdict is Verdict.YES, report.integrity.said
        assert not report.forked
        assert report.policy is not None
        newer_half = verify(reading(self.disk), POLICY, seen=self.notes)
        assert newer_half.integrity.verdict is Verdict.YES, newer_half.integrity.said
        assert newer_half.policy == report.policy, "a hand-over that the archive alone tells of"
        assert report.checkpoint is not None
        stored = dict(Tiles(reading_both(self.disk), report.checkpoint.size).kept())
        assert self.told.items() <= stored.items(), "acknowledged and lost"
        for content, receipt in self.receipts:
            assert receipt.check(content, report.policy)


def told(seed: int) -> None:
    story = Story(seed)
    for number in range(5):
        story.disk.cut_after = story.disk.calls + story.luck.randrange(20, 1500)
        with suppress(PowerCut):
            simulate(story.life, seed=story.luck.random())
        story.disk = story.disk.restart() if story.luck.random() < 0.2 else story.disk.power_cut(f"{seed}/{number}")
    story.disk.cut_after = None
    simulate(story.end, seed=seed)
    story.judge()


@pytest.mark.parametrize(
    "mutation", ["none", "wrong hash", "the files go at once", "erased in the log only", "not repeated"]
)
def test_whatever_happens_to_a_log_what_was_said_stays_true(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The property, and proof that it can fail."""
    if mutation == "wrong hash":
        monkeypatch.setattr(Frontier, "root", lambda self: bytes(32))
    if mutation == "the files go at once":
        monkeypatch.setattr(archiving, "_copy", lambda *about: None)
    if mutation == "erased in the log only":
        monkeypatch.setattr(Vault, "erase", lambda self, subject: ())

    if mutation == "not repeated":
        monkeypatch.setattr(archiving._Standing, "hand_overs_before", lambda self, end: [])

    def every() -> None:
        for seed in range(12):
            told(seed)

    if mutation == "none":
        every()
    else:
        with pytest.raises(
            (AssertionError, GatewayError, Unreadable, NotProven, JournalDamaged, pytest.fail.Exception)
        ):
            every()
