"""Reading a vault that somebody else has open: nothing is called gone or damaged that is not."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from plantgate.audit.entry import Payload
from plantgate.audit.vault import Erased, VaultReader
from plantgate.store.disk import Open
from plantgate.testing.disk import Call, SimulatedDisk, SimulatedFile
from tests.gateway.audit.test_vault import FOLDER, WRAPPING, opened


class Meanwhile(SimulatedDisk):
    """Something happens while somebody reads, before the call with a number."""

    def begin(self, at: int, does: Callable[[], object]) -> None:
        self.at, self.does = at, does

    def happen(self, call: Call, path: Path) -> None:
        if getattr(self, "at", -1) >= 0:
            self.at -= 1
            if self.at < 0:
                self.does()
        super().happen(call, path)


@pytest.mark.parametrize("opened_before", [True, False])
def test_an_erasure_while_somebody_reads_makes_nothing_of_others_gone_or_damaged(opened_before: bool) -> None:
    at, reached = 0, True
    while reached:
        disk = Meanwhile()
        with opened(disk) as vault:
            kept, gone = vault.put("s:1", "prompt", b"kept"), vault.put("s:2", "prompt", b"gone")
            reader = VaultReader(FOLDER, WRAPPING, disk) if opened_before else None
            disk.begin(at, lambda vault=vault: vault.erase("s:2"))  # type: ignore[misc]
            reader = reader or VaultReader(FOLDER, WRAPPING, disk)
            with suppress(Erased):
                assert reader.disclose(gone.commitment).content == b"gone"
            assert reader.disclose(kept.commitment).content == b"kept"
            reached, at = disk.at < 0, at + 1
    assert at > 4


def test_what_was_put_after_somebody_began_to_read_is_read_too() -> None:
    disk = SimulatedDisk()
    with opened(disk) as vault:
        vault.put("s:1", "prompt", b"old")
        reader = VaultReader(FOLDER, WRAPPING, disk)
        assert reader.disclose(vault.put("s:1", "prompt", b"new").commitment).content == b"new"
        vault.erase("s:1")
        again = vault.put("s:1", "prompt", b"again")  # under another key
        assert reader.disclose(again.commitment).content == b"again"


def test_a_subject_that_was_erased_and_came_again_between_two_looks_is_read_by_its_new_key() -> None:
    disk, payloads = Meanwhile(), list[Payload]()
    with opened(disk) as vault:
        vault.put("s:1", "prompt", b"old")

        def comes_again() -> None:
            vault.erase("s:1")
            payloads.append(vault.put("s:1", "prompt", b"again"))

        disk.begin(4, comes_again)  # the keys have been read, and the names have not
        reader = VaultReader(FOLDER, WRAPPING, disk)
        assert reader.disclose(payloads[0].commitment).content == b"again"


def test_what_was_erased_is_not_looked_for_again_and_again() -> None:
    disk, looks = SimulatedDisk(), 0
    with opened(disk) as vault:
        gone = [vault.put("s:1", "picture", bytes((number,))).commitment for number in range(9)]
        vault.erase("s:1")

        class Counting(SimulatedDisk):
            def names(self, directory: Path) -> list[str]:
                nonlocal looks
                looks += 1
                return disk.names(directory)

            def open(self, path: Path, purpose: Open) -> SimulatedFile:
                return disk.open(path, purpose)

        reader = VaultReader(FOLDER, WRAPPING, Counting())
        for commitment in gone:
            with pytest.raises(Erased):
                reader.disclose(commitment)
    assert looks == 2
